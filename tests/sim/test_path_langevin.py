"""Langevin paths against the theory of the damped oscillator that noise drives."""

from __future__ import annotations

import numpy as np
import pytest

from foundation.sim.paths import Langevin, sample_langevin

COUNT = 3000
"""Paths; with three axes each, 9000 independent values at a time."""
BAND = 5.0 * np.sqrt(2.0 / (3 * COUNT))
"""Five standard deviations of a variance estimated from as many normal values, relative: 7.5 %."""


def drawn(times, seed=0, **parameters):
    return sample_langevin([Langevin(**parameters)] * COUNT, np.asarray(times), np.random.default_rng(seed))


@pytest.mark.parametrize(("friction", "omega", "sigma"), [(1.0, 2.0, 1.0), (4.0, 1.0, 0.5)])
def test_variances_are_those_of_theory_at_the_start_and_after_two_seconds(friction, omega, sigma):
    samples = drawn([0.0, 2.0], friction=friction, omega=omega, sigma=sigma)
    position, velocity = sigma**2 / (2.0 * friction * omega**2), sigma**2 / (2.0 * friction)
    # The recursion with step dt adds a relative error of the order of friction dt / 2.
    band = BAND + friction * 0.01
    for time in (0, 1):
        assert samples.position[:, time].var() == pytest.approx(position, rel=band)
        assert samples.velocity[:, time].var() == pytest.approx(velocity, rel=band)
        covariance = (samples.position[:, time] * samples.velocity[:, time]).mean()
        assert abs(covariance) < (BAND + friction * 0.01) * np.sqrt(position * velocity)
    # Twice the friction would be noticed.
    assert samples.position[:, 1].var() != pytest.approx(position / 2.0, rel=band)


def test_positions_are_correlated_over_time_like_a_damped_oscillation():
    times = np.array([0.0, 0.8, 1.6])
    position = drawn(times).position
    rate = np.sqrt(2.0**2 - 0.5**2)
    expected = np.exp(-0.5 * times) * (np.cos(rate * times) + 0.5 / rate * np.sin(rate * times))
    correlation = (position * position[:, :1]).mean((0, 2)) / position[:, 0].var()
    np.testing.assert_allclose(correlation, expected, atol=BAND + 0.01)
    assert expected[2] < -0.3  # not a pure decay


@pytest.mark.parametrize("smoothing", [1.0, 0.3, 0.01])
def test_the_start_is_stationary_also_for_smoothed_paths(smoothing):
    # A wrong start would be forgotten by and by: its variance with exp(-friction t) or exp(-2 t smoothing / dt).
    samples = drawn([0.0, 2.5, 5.0], smoothing=smoothing)
    for values in (samples.position, samples.velocity):
        start, later, last = values.var((0, 2))
        assert start == pytest.approx(last, rel=2.0 * BAND)
        assert later == pytest.approx(last, rel=2.0 * BAND)


def test_smoothing_is_the_exponential_one_of_the_unsmoothed_path_with_the_same_noise():
    times, alpha = np.arange(1500) * 0.01, 0.05
    rough, smooth = (
        sample_langevin([Langevin(friction=4.0, smoothing=s)] * 5, times, np.random.default_rng(0)).velocity
        for s in (1.0, alpha)
    )
    expected = smooth.copy()
    for index in range(1, len(times)):
        expected[:, index] = alpha * rough[:, index] + (1.0 - alpha) * expected[:, index - 1]
    # The starts differ, and are forgotten with the oscillator's time constant of 0.5 s: by exp(-30) at the end.
    np.testing.assert_allclose(smooth[:, -1], expected[:, -1], atol=1e-10)
    assert np.abs(smooth[:, 1] - expected[:, 1]).max() > 1e-3


@pytest.mark.parametrize("smoothing", [1.0, 0.1])
@pytest.mark.parametrize("step", [0.01, 0.004])
def test_positions_are_the_sum_of_velocities_times_the_step(smoothing, step):
    samples = Langevin(smoothing=smoothing).sample(np.arange(300) * step, np.random.default_rng(0))
    sums = samples.position[0] + step * np.cumsum(samples.velocity[1:], axis=0)
    np.testing.assert_allclose(samples.position[1:], sums, atol=1e-7)


@pytest.mark.parametrize("smoothing", [1.0, 0.1])
def test_the_acceleration_is_the_expected_change_of_the_velocity(smoothing):
    samples = drawn(np.arange(40) * 0.01, smoothing=smoothing)
    change = np.diff(samples.velocity, axis=1) / 0.01
    expected = samples.acceleration[:, :-1]
    noise = change - expected
    # Each change has noise of the deviation smoothing * sigma / sqrt(dt), which neither state nor time explains.
    deviation = smoothing / np.sqrt(0.01)
    assert noise.std() == pytest.approx(deviation, rel=0.01)
    assert abs(noise.mean()) < 5.0 * deviation / np.sqrt(noise.size)
    slope = (noise * expected).mean() / (expected**2).mean()
    assert abs(slope) < 5.0 * deviation / np.sqrt(noise.size) / expected.std()
    if smoothing == 1.0:
        drift = -1.0 * samples.velocity - 4.0 * samples.position
        np.testing.assert_allclose(samples.acceleration, drift, atol=1e-5)


@pytest.mark.parametrize("smoothing", [1.0, 0.01])
def test_speed_is_the_root_mean_square_speed(smoothing):
    velocity = drawn([0.0, 3.0], smoothing=smoothing, speed=1.7).velocity
    mean_square = (velocity**2).sum(-1).mean(0)
    np.testing.assert_allclose(mean_square, 1.7**2, rtol=BAND)


def test_the_time_constant_of_the_smoothing_does_not_depend_on_the_step_of_the_times():
    coarse, fine = (drawn([0.0, step], smoothing=0.01, seed=2).velocity.var() for step in (0.01, 0.0025))
    assert coarse == pytest.approx(fine, rel=2.0 * BAND)


def test_paths_of_different_parameters_keep_them_when_drawn_together():
    quiet, loud = Langevin(sigma=0.1), Langevin(sigma=10.0, friction=2.0)
    samples = sample_langevin([quiet, loud] * 1500, np.array([0.0, 1.0]), np.random.default_rng(0))
    band = 0.02 + 5.0 * np.sqrt(2.0 / 4500)
    assert samples.velocity[0::2, 1].var() == pytest.approx(0.1**2 / 2.0, rel=band)
    assert samples.velocity[1::2, 1].var() == pytest.approx(10.0**2 / 4.0, rel=band)
