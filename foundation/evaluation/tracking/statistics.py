"""Figures of flights along paths."""

from __future__ import annotations

from typing import Any

import numpy as np

from foundation.evaluation.tracking.flight import TrackedFlight

UNITS = {
    "rmse_m": ("RMSE", "m"),
    "rmse_xy_m": ("RMSE without z", "m"),
    "heading_rmse_deg": ("heading RMSE", "deg"),
    "mean_m": ("mean", "m"),
    "std_m": ("standard deviation", "m"),
    "median_m": ("median", "m"),
    "max_m": ("maximum", "m"),
    "p95_m": ("95th percentile", "m"),
    "largest_speed_mps": ("largest speed", "m/s"),
    "command_rate": ("command rate", ""),
    "survival": ("survival", ""),
}
"""Name and unit of each figure; those in m without another name are of the position error's length."""


def statistics(flight: TrackedFlight, first: int) -> dict[str, Any]:
    """Return the figures over all vehicles and of each one.

    Args:
        flight: The flight.
        first: Step from which on errors count.

    Returns:
        ``overall``, the figures by the names of :data:`UNITS`, and ``per_vehicle``, a list of the same with
        ``mass_kg``. Steps after a loss do not count; figures without any step are None.

    Raises:
        ValueError: If the flight has no step ``first``.
    """
    steps, count = flight.heading_error.shape
    if not 0 <= first < steps:
        raise ValueError(f"the first step that counts must lie in 0 ... {steps - 1}, got {first}")
    each = [{"mass_kg": float(flight.mass[i])} | _figures(flight, first, slice(i, i + 1)) for i in range(count)]
    return {"overall": _figures(flight, first, slice(None)), "per_vehicle": each}


def _figures(flight: TrackedFlight, first: int, vehicles: slice) -> dict[str, float | None]:
    error = flight.position_error[first:, vehicles]
    distance = _known(np.linalg.norm(error, axis=-1))
    across = _known(np.linalg.norm(error[..., :2], axis=-1))
    heading = np.degrees(_known(flight.heading_error[first:, vehicles]))
    speed = _known(np.linalg.norm(flight.actual_vel[first:, vehicles], axis=-1))
    change = _known(np.abs(np.diff(flight.actions[first:, vehicles], axis=0)))
    figures = {
        "rmse_m": _rms(distance),
        "rmse_xy_m": _rms(across),
        "heading_rmse_deg": _rms(heading),
        "mean_m": _of(np.mean, distance),
        "std_m": _of(np.std, distance),
        "median_m": _of(np.median, distance),
        "max_m": _of(np.max, distance),
        "p95_m": _of(lambda values: np.percentile(values, 95.0), distance),
        "largest_speed_mps": _of(np.max, speed),
        "command_rate": _of(np.mean, change),
        "survival": float(flight.survived[vehicles].mean()),
    }
    assert list(figures) == list(UNITS)
    return figures


def _known(values: np.ndarray) -> np.ndarray:
    return values[~np.isnan(values)].astype(np.float64)


def _rms(values: np.ndarray) -> float | None:
    return _of(lambda known: np.sqrt(np.mean(np.square(known))), values)


def _of(figure: Any, values: np.ndarray) -> float | None:
    return float(figure(values)) if len(values) else None
