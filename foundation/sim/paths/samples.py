"""What a path is: position, velocity, acceleration and heading at given times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class PathSamples:
    """A path at T times, relative to its origin; paths that were sampled together have a leading dimension P."""

    position: np.ndarray
    """Position, world frame [m], shape (T, 3) or (P, T, 3)."""
    velocity: np.ndarray
    """Velocity, world frame [m/s], shape (T, 3) or (P, T, 3)."""
    acceleration: np.ndarray
    """Acceleration, world frame [m/s^2], shape (T, 3) or (P, T, 3)."""
    heading: np.ndarray
    """Heading about world z, 0 along world x [rad], shape (T,) or (P, T)."""


class Path(Protocol):
    """A moving reference, a pure function of time, its parameters and the generator."""

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Return the path at ``times``.

        Args:
            times: Equally spaced, rising [s], shape (T,).
            rng: Draws what is random about the path; deterministic paths leave it untouched.
        """
        ...

    @property
    def period(self) -> float | None:
        """Time of one repetition [s]; None if the path does not repeat."""
        ...


def checked_times(times: np.ndarray) -> np.ndarray:
    """Return ``times`` [s] as float64, shape (T,).

    Raises:
        ValueError: If they are not a row of finite, rising, equally spaced numbers.
    """
    times = np.asarray(times, dtype=np.float64)
    if times.ndim != 1 or not len(times):
        raise ValueError(f"times must have shape (T,) with at least one time, got {times.shape}")
    if not np.isfinite(times).all():
        raise ValueError(f"times must be finite, got {times[~np.isfinite(times)][0]} s")
    steps = np.diff(times)
    # The tolerance admits times that were computed in float32.
    if len(steps) and not (steps[0] > 0.0 and np.allclose(steps, steps.mean(), rtol=1e-3, atol=0.0)):
        raise ValueError(
            f"times must rise in equal steps, got steps from {steps.min()} to {steps.max()} s; "
            "take np.arange(T) * dt"
        )
    return times
