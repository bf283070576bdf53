"""Validation that the kinds of paths share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

DEFAULT_SPEED = 1.0
"""Largest speed of a path whose speed and period are not given [m/s]."""

ALONG = "along"
"""Heading that follows the horizontal velocity."""


def number(where: str, value: Any) -> float:
    """Return a finite number.

    Raises:
        ValueError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise ValueError(f"{where} must be a number, got {value!r}")
    if not np.isfinite(value):
        raise ValueError(f"{where} must be finite, got {value}")
    return float(value)


def positive(where: str, value: Any, advice: str) -> float:
    """Return a number above 0.

    Raises:
        ValueError: If it is none; ``advice`` says what to do.
    """
    if not number(where, value) > 0.0:
        raise ValueError(f"{where} must be above 0, got {value}; {advice}")
    return float(value)


def share(where: str, value: Any) -> float:
    """Return a number in [0, 1).

    Raises:
        ValueError: If it is none.
    """
    if not 0.0 <= number(where, value) < 1.0:
        raise ValueError(f"{where} must lie in [0, 1), got {value}; 0.25 is a quarter of the period")
    return float(value)


def triple(where: str, values: Any) -> tuple[float, float, float]:
    """Return three finite numbers, for x, y and z.

    Raises:
        ValueError: If they are none.
    """
    if isinstance(values, str) or not isinstance(values, Iterable) or len(listed := list(values)) != 3:
        raise ValueError(f"{where} must be three numbers, for x, y and z, got {values!r}")
    x, y, z = (number(f"{where}[{axis}]", value) for axis, value in enumerate(listed))
    return x, y, z


def heading_or_along(where: str, value: Any) -> float | str:
    """Return a heading [rad] or :data:`ALONG`.

    Raises:
        ValueError: If it is neither.
    """
    if isinstance(value, str) and value != ALONG:
        raise ValueError(f"{where} must be an angle [rad] or {ALONG!r}, got {value!r}")
    return value if isinstance(value, str) else number(where, value)


def fixed_heading(where: str, value: Any) -> float:
    """Return a heading [rad] of a path whose direction is not defined at every time.

    Raises:
        ValueError: If it is no angle.
    """
    if value == ALONG:
        raise ValueError(
            f"{where} cannot be {ALONG!r}, because the velocity of such a path has no direction at some times; "
            "give an angle [rad]"
        )
    return number(where, value)


def speed_and_period(kind: str, speed: Any, period: Any, speed_at_unit_rate: float) -> tuple[float, float]:
    """Return the largest speed [m/s] and the period [s] of a periodic path from one of them.

    Args:
        kind: Name of the class, for messages.
        speed: Largest speed [m/s], or None.
        period: Time of one repetition [s], or None.
        speed_at_unit_rate: Largest speed for a period of 2 pi seconds [m/s].

    Raises:
        ValueError: If both are given, or one is not above 0.
    """
    if speed is not None and period is not None:
        raise ValueError(
            f"{kind}.speed and {kind}.period exclude each other, got {speed} m/s and {period} s; "
            "give one, the other follows from the amplitude"
        )
    if period is not None:
        period = positive(f"{kind}.period", period, "it is the time of one repetition [s]")
        return 2.0 * np.pi * speed_at_unit_rate / period, period
    speed = (
        DEFAULT_SPEED if speed is None else positive(f"{kind}.speed", speed, "for a standing target take Hover")
    )
    return speed, 2.0 * np.pi * speed_at_unit_rate / speed
