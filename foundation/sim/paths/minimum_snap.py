"""Minimum-snap polynomials through points (Mellinger and Kumar 2011; Richter, Bry and Roy 2013)."""

from __future__ import annotations

import math

import numpy as np

ORDER = 8
"""Coefficients of a polynomial of degree 7, the lowest that minimises the integral of the squared snap."""

_EXPONENTS = np.arange(ORDER)


def minimum_snap(points: np.ndarray, durations: np.ndarray) -> np.ndarray:
    """Return the path with the least integral of squared snap through points, from rest to rest.

    The optimum of this quadratic programme with equality constraints is a polynomial of degree 7 on each segment,
    and at inner points its derivatives of order 1 to 6 are continuous: 1 to 3 because the snap must be finite, 4
    to 6 because velocity, acceleration and jerk are free there. With the points, and with velocity, acceleration
    and jerk zero at both ends, these are as many equations as coefficients: one linear system.

    Args:
        points: Points [m], shape (S + 1, D).
        durations: Durations of the segments [s], shape (S,).

    Returns:
        Coefficients of 1, tau, ..., tau^7, where tau is the share of the segment's duration, shape (S, 8, D).
    """
    count = len(durations)
    start, end = _derivatives(0.0), _derivatives(1.0)
    matrix, right = np.zeros((ORDER * count, ORDER * count)), np.zeros((ORDER * count, points.shape[1]))
    row = 0

    def require(block: np.ndarray, segment: int, value: np.ndarray | float = 0.0) -> None:
        nonlocal row
        matrix[row : row + len(block), ORDER * segment : ORDER * (segment + 1)] = block
        right[row : row + len(block)] = value
        row += len(block)

    require(start[1:4], 0)
    for segment in range(count):
        require(start[:1], segment, points[segment])
        require(end[:1], segment, points[segment + 1])
        if segment + 1 < count:
            # Derivatives by tau are those by time, times a power of the duration.
            ratio = (durations[segment] / durations[segment + 1]) ** np.arange(1, 7)[:, None]
            matrix[row : row + 6, ORDER * (segment + 1) : ORDER * (segment + 2)] = -ratio * start[1:7]
            require(end[1:7], segment)
    require(end[1:4], count - 1)
    return np.linalg.solve(matrix, right).reshape(count, ORDER, -1)


def evaluate(coefficients: np.ndarray, durations: np.ndarray, times: np.ndarray, order: int) -> np.ndarray:
    """Return a derivative of the path.

    Args:
        coefficients: Of :func:`minimum_snap`, shape (S, 8, D).
        durations: Durations of the segments [s], shape (S,).
        times: Times since the start [s], clipped to the path, shape (T,).
        order: 0 for the position [m], 1 for the velocity [m/s], and so on.

    Returns:
        The derivative, shape (T, D).
    """
    knots = np.concatenate([[0.0], np.cumsum(durations)])
    segment = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, len(durations) - 1)
    tau = np.clip((times - knots[segment]) / durations[segment], 0.0, 1.0)
    derived = (coefficients * _factors(order)[:, None])[:, order:] / durations[:, None, None] ** order
    value = derived[segment, -1]
    for exponent in range(ORDER - order - 2, -1, -1):
        value = value * tau[:, None] + derived[segment, exponent]
    return value


def largest_speed(coefficients: np.ndarray, durations: np.ndarray) -> float:
    """Return the largest speed [m/s], from the roots of the squared speed's derivative.

    Args:
        coefficients: Of :func:`minimum_snap`, shape (S, 8, D).
        durations: Durations of the segments [s], shape (S,).
    """
    largest = 0.0
    for polynomials, duration in zip(coefficients, durations, strict=True):
        velocities = [np.polynomial.Polynomial(one).deriv() for one in polynomials.T]
        squared = sum((one**2 for one in velocities), start=np.polynomial.Polynomial([0.0]))
        # Only a share of the roots is real; the others add points where the speed is not extremal.
        tau = np.concatenate([[0.0, 1.0], np.clip(squared.deriv().roots().real, 0.0, 1.0)])
        largest = max(largest, math.sqrt(max(squared(tau).max(), 0.0)) / duration)
    return largest


def _factors(order: int) -> np.ndarray:
    """Return the factors e (e - 1) ... that ``order`` derivatives of tau^e bring, shape (8,)."""
    return np.prod([np.maximum(_EXPONENTS - k, 0) for k in range(order)], axis=0) * np.ones(ORDER)


def _derivatives(tau: float) -> np.ndarray:
    """Return the derivatives of order 0 to 6 of 1, tau, ..., tau^7, shape (7, 8)."""
    return np.stack([_factors(order) * tau ** np.maximum(_EXPONENTS - order, 0) for order in range(7)])
