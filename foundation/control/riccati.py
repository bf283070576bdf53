"""Batched solution of the discrete algebraic Riccati equation."""

from __future__ import annotations

import numpy as np

MOST_DOUBLINGS = 64
"""Each iteration doubles the horizon, so that 64 of them are more steps than any flight has."""


def lqr_gain(a: np.ndarray, b: np.ndarray, q: np.ndarray, r: np.ndarray, tolerance: float = 1e-12) -> np.ndarray:
    """Return the gain K of the linear-quadratic regulator u = -K x for each of V systems.

    Solves P = Q + A' P A - A' P B (R + B' P B)^-1 B' P A with the structure-preserving doubling algorithm (Chu,
    Fan and Lin, 2005, "A structure-preserving doubling algorithm for periodic discrete-time algebraic Riccati
    equations"), which converges quadratically, in float64.

    Args:
        a: Dynamics of the state, shape (V, n, n).
        b: Effect of the input, shape (V, n, m).
        q: Cost of the state, symmetric, positive semi-definite, shape (V, n, n).
        r: Cost of the input, symmetric, positive definite, shape (V, m, m).
        tolerance: Largest relative change of P in the last iteration.

    Returns:
        The gains, shape (V, m, n).

    Raises:
        ValueError: If the iteration does not converge: a mode that the input cannot reach does not decay.
    """
    eye = np.eye(a.shape[-1])
    forward, control, cost = a, b @ np.linalg.solve(r, _transposed(b)), q
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(MOST_DOUBLINGS):
            solved = np.linalg.solve(eye + control @ cost, np.concatenate([forward, control], axis=-1))
            step, reach = np.split(solved, [a.shape[-1]], axis=-1)
            change = _transposed(forward) @ cost @ step
            control = control + forward @ reach @ _transposed(forward)
            forward, cost = forward @ step, cost + change
            size = np.abs(cost).max((-2, -1))
            if not np.isfinite(size).all():
                break
            if (np.abs(change).max((-2, -1)) <= tolerance * size).all():
                return np.linalg.solve(r + _transposed(b) @ cost @ b, _transposed(b) @ cost @ a)
    raise ValueError(
        f"the Riccati equation has not converged within {MOST_DOUBLINGS} doublings; a state that the input cannot "
        "reach does not decay, or a cost is not positive"
    )


def _transposed(matrix: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrix, -1, -2)
