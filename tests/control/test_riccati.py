"""The batched Riccati solution against SciPy's solver."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_discrete_are

from foundation.control.riccati import lqr_gain


def scipy_gain(a, b, q, r):
    cost = solve_discrete_are(a, b, q, r)
    return np.linalg.solve(r + b.T @ cost @ b, b.T @ cost @ a)


def test_gains_of_random_systems_are_scipys(rng):
    a = np.eye(5) + 0.3 * rng.normal(size=(40, 5, 5))
    b = rng.normal(size=(40, 5, 2))
    q, r = np.tile(np.diag([1.0, 0.1, 0.0, 0.0, 2.0]), (40, 1, 1)), np.tile(np.diag([0.5, 3.0]), (40, 1, 1))
    gains = lqr_gain(a, b, q, r)
    expected = np.array([scipy_gain(*system) for system in zip(a, b, q, r, strict=True)])
    np.testing.assert_allclose(gains, expected, rtol=1e-8, atol=1e-9)


def test_an_integrator_has_the_golden_ratio_as_its_gain():
    # Scalar system x' = x + u, q = r = 1: P is the golden ratio, K its inverse.
    one = np.ones((1, 1, 1))
    assert lqr_gain(one, one, one, one)[0, 0, 0] == pytest.approx((np.sqrt(5) - 1) / 2, abs=1e-15)


def test_a_state_that_grows_out_of_reach_has_no_gain():
    a, b = np.diag([1.1, 0.5])[None], np.array([[[0.0], [1.0]]])
    with pytest.raises(ValueError, match=r"has not converged .* cannot reach does not decay"):
        lqr_gain(a, b, np.eye(2)[None], np.eye(1)[None])
    lqr_gain(np.diag([0.9, 0.5])[None], b, np.eye(2)[None], np.eye(1)[None])
