"""Minimum-snap paths: what defines them, and that nothing feasible beats them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.sim.paths import Waypoints
from foundation.sim.paths.minimum_snap import evaluate, minimum_snap

RNG = np.random.default_rng(0)
POINTS = np.array([[0.0, 0.0, 0.0], [2.0, 0.0, 1.0], [2.0, 3.0, 0.5], [-1.0, 3.0, 0.0]])
DURATIONS = np.array([1.0, 2.5, 1.5])
KNOTS = np.array([0.0, 1.0, 3.5, 5.0])


def squared_snap(coefficients):
    """Integral of the squared snap [m^2/s^7], exact: Gauss quadrature of polynomials of degree 6."""
    nodes, weights = np.polynomial.legendre.leggauss(8)
    total = 0.0
    for polynomials, duration in zip(coefficients, DURATIONS, strict=True):
        snap = np.stack([np.polynomial.Polynomial(p).deriv(4)((nodes + 1.0) / 2.0) for p in polynomials.T])
        total += (weights / 2.0 * snap**2).sum() * duration ** (1 - 8)
    return total


def hermite(left, right, duration):
    """Coefficients by share of the duration with given derivatives of order 0 to 3 by time at both ends."""
    rows, values = [], []
    for share, derivatives in ((0.0, left), (1.0, right)):
        for order, value in enumerate(derivatives):
            basis = [np.polynomial.Polynomial.basis(e).deriv(order)(share) for e in range(8)]
            rows.append(basis)
            values.append(value * duration**order)
    return np.linalg.solve(np.array(rows), np.array(values))


def detour(knot, derivatives):
    """A path that is zero in all points and at rest, but for derivatives of order 1 to 3 in one inner point."""
    change, rest, there = np.zeros((3, 8, 3)), np.zeros((4, 3)), np.concatenate([np.zeros((1, 3)), derivatives])
    change[knot - 1] = hermite(rest, there, DURATIONS[knot - 1])
    change[knot] = hermite(there, rest, DURATIONS[knot])
    return change


def test_the_path_meets_its_points_and_rests_at_both_ends():
    coefficients = minimum_snap(POINTS, DURATIONS)
    np.testing.assert_allclose(evaluate(coefficients, DURATIONS, KNOTS, 0), POINTS, atol=1e-10)
    for order in (1, 2, 3):
        np.testing.assert_allclose(evaluate(coefficients, DURATIONS, KNOTS[[0, 3]], order), 0.0, atol=1e-9)


def test_derivatives_up_to_the_sixth_are_continuous_and_the_seventh_is_not():
    coefficients = minimum_snap(POINTS, DURATIONS)
    for segment in (0, 1):
        jumps = []
        for order in range(8):
            before, after = (
                np.stack([np.polynomial.Polynomial(p).deriv(order)(share) for p in coefficients[s].T])
                / DURATIONS[s] ** order
                for s, share in ((segment, 1.0), (segment + 1, 0.0))
            )
            jumps.append(np.abs(before - after).max() / np.abs(before).max())
        assert max(jumps[:7]) < 1e-9
        assert jumps[7] > 0.1


@settings(max_examples=15, deadline=None)
@given(
    knot=st.sampled_from([1, 2]),
    derivatives=st.lists(st.floats(-10.0, 10.0), min_size=9, max_size=9).filter(lambda v: max(map(abs, v)) > 0.1),
)
def test_every_detour_through_the_same_points_has_more_snap(knot, derivatives):
    best, change = minimum_snap(POINTS, DURATIONS), detour(knot, np.reshape(derivatives, (3, 3)))
    least, extra = squared_snap(best), squared_snap(change)
    # Where the first variation vanishes, a detour costs exactly its own integral, whatever its sign.
    for sign in (-1.0, 1.0):
        assert squared_snap(best + sign * change) == pytest.approx(least + extra, rel=1e-8)
    assert extra > 0.0


def test_a_path_that_stops_in_its_points_is_noticed_by_the_check_of_detours():
    stops = np.stack(
        [
            hermite(
                np.vstack([POINTS[s], np.zeros((3, 3))]),
                np.vstack([POINTS[s + 1], np.zeros((3, 3))]),
                DURATIONS[s],
            )
            for s in range(3)
        ]
    )
    change = 0.1 * detour(1, np.eye(3))
    both = [squared_snap(stops + sign * change) for sign in (-1.0, 1.0)]
    assert min(both) < squared_snap(stops)
    assert squared_snap(minimum_snap(POINTS, DURATIONS)) < 0.5 * squared_snap(stops)


@settings(max_examples=12, deadline=None)
@given(
    points=st.lists(st.tuples(*[st.integers(-5, 5)] * 3), min_size=2, max_size=6),
    speed=st.floats(0.1, 10.0),
)
def test_velocity_and_acceleration_are_derivatives_and_the_largest_speed_is_the_given_one(points, speed):
    points = [points[0], *(b for a, b in pairwise(points) if a != b)]
    if len(points) < 2:
        return
    path = Waypoints(points, speed=speed)
    duration = sum(path.durations)
    times = np.linspace(0.0, duration, 40_001)
    samples = path.sample(times, RNG)
    # Between times, the speed is at most its second derivative times (dt / 2)^2 / 2 larger.
    assert np.linalg.norm(samples.velocity, axis=-1).max() == pytest.approx(speed, rel=1e-6)
    for values, exact in ((samples.position, samples.velocity), (samples.velocity, samples.acceleration)):
        differences = (values[2:] - values[:-2]) / (2.0 * times[1])
        np.testing.assert_allclose(differences, exact[1:-1], atol=1e-5 * np.abs(exact).max())
    shares = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    np.testing.assert_allclose(np.array(path.durations) / duration, shares / shares.sum(), rtol=1e-9)


def test_a_straight_segment_has_the_closed_form_of_degree_seven():
    # From rest to rest 35 s^4 - 84 s^5 + 70 s^6 - 20 s^7, fastest in the middle with 35/16 of the mean speed.
    path = Waypoints(((0, 0, 0), (2, 0, 0)), durations=(4.0,))
    share = np.linspace(0.0, 1.0, 21)
    expected = 2.0 * (35 * share**4 - 84 * share**5 + 70 * share**6 - 20 * share**7)
    np.testing.assert_allclose(path.sample(4.0 * share, RNG).position[:, 0], expected, atol=1e-12)
    assert path.speed == pytest.approx(2.0 / 4.0 * 35.0 / 16.0, rel=1e-12)


def test_before_and_after_the_path_rests_in_its_ends():
    path = Waypoints(((1, 0, 0), (2, 0, 0)), durations=(1.0,))
    samples = path.sample(np.array([-1.0, 0.5, 2.0]), RNG)
    np.testing.assert_allclose(samples.position[[0, 2], 0], [1.0, 2.0], rtol=1e-12)
    assert not samples.velocity[[0, 2]].any()
    assert not samples.acceleration[[0, 2]].any()
    assert samples.velocity[1, 0] > 1.0
