"""Paths against closed forms and their own derivatives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundation.sim.paths import PATHS, Circle, FigureEight, Hover, Lissajous, Waypoints, make_path, sample_many

RNG = np.random.default_rng(0)
lengths = st.floats(0.1, 10.0)
speeds = st.floats(0.1, 10.0)
shares = st.floats(0.0, 0.99)
frequencies = st.integers(1, 6)


def assert_derivatives(path, duration, tolerance=1e-5):
    """Central differences of step h are off by h^2/6 times the third derivative.

    Their error must be below ``tolerance`` of the largest value, and fall fourfold with half the step.
    """
    errors = []
    for count in (4001, 8001):
        times = np.linspace(0.0, duration, count)
        step, samples = times[1], path.sample(times, RNG)
        for of, derivative in (("position", "velocity"), ("velocity", "acceleration")):
            values, exact = getattr(samples, of), getattr(samples, derivative)
            differences = (values[2:] - values[:-2]) / (2.0 * step)
            scale = max(np.abs(exact).max(), 1e-12)
            errors.append(np.abs(differences - exact[1:-1]).max() / scale)
    coarse, fine = np.array(errors[:2]), np.array(errors[2:])
    assert (coarse < tolerance).all()
    assert (fine < np.maximum(coarse / 3.5, 1e-9)).all()


def largest_speed(path, duration, count=100_001):
    velocity = path.sample(np.linspace(0.0, duration, count), RNG).velocity
    return np.linalg.norm(velocity, axis=-1).max()


@settings(max_examples=20, deadline=None)
@given(kind=st.sampled_from([Circle, FigureEight]), amplitude=lengths, speed=speeds, phase=shares)
def test_velocity_and_acceleration_are_derivatives_of_circles_and_eights(kind, amplitude, speed, phase):
    path = kind(amplitude, speed=speed, phase=phase)
    assert_derivatives(path, path.period)


@settings(max_examples=20, deadline=None)
@given(
    ratio=st.tuples(frequencies, frequencies, frequencies), phases=st.tuples(shares, shares, shares), period=speeds
)
def test_velocity_and_acceleration_are_derivatives_of_lissajous_curves(ratio, phases, period):
    path = Lissajous((1.0, 0.5, 2.0), ratio=ratio, phases=phases, period=period)
    assert_derivatives(path, path.period, tolerance=(2.0 * np.pi * 6.0 / 4000.0) ** 2 / 6.0 * 1.5)


def test_the_check_of_derivatives_notices_a_velocity_that_is_one_percent_too_large():
    class Wrong(Circle):
        def sample(self, times, rng):
            samples = super().sample(times, rng)
            samples.velocity[:] *= 1.01
            return samples

    with pytest.raises(AssertionError):
        assert_derivatives(Wrong(), Wrong().period)


@settings(max_examples=25, deadline=None)
@given(amplitude=lengths, speed=speeds, phase=shares)
def test_a_circle_has_radius_speed_and_centripetal_acceleration_of_the_closed_form(amplitude, speed, phase):
    path = Circle(amplitude, speed=speed, phase=phase)
    samples = path.sample(np.arange(50) * 0.1, RNG)
    np.testing.assert_allclose(np.linalg.norm(samples.position, axis=-1), amplitude, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(samples.velocity, axis=-1), speed, rtol=1e-12)
    inward = -samples.position / amplitude * speed**2 / amplitude
    np.testing.assert_allclose(samples.acceleration, inward, rtol=1e-9, atol=1e-12 * speed**2 / amplitude)
    assert (np.cross(samples.position, samples.velocity)[:, 2] > 0.0).all()  # counter-clockwise
    assert path.period == pytest.approx(2.0 * np.pi * amplitude / speed, rel=1e-12)


def test_a_figure_of_eight_is_the_lissajous_curve_of_one_to_two_and_crosses_its_centre():
    eight = FigureEight(3.0, period=4.0)
    times = np.linspace(0.0, 4.0, 33)
    position = eight.sample(times, RNG).position
    angle = 2.0 * np.pi * times / 4.0
    expected = np.stack([3.0 * np.sin(angle), 1.5 * np.sin(2.0 * angle), 0.0 * angle], axis=-1)
    np.testing.assert_allclose(position, expected, atol=1e-12)
    np.testing.assert_allclose(position[[0, 16, 32]], 0.0, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(
    ratio=st.tuples(frequencies, frequencies, frequencies), phases=st.tuples(shares, shares, shares), speed=speeds
)
def test_the_largest_speed_of_a_lissajous_curve_is_the_given_one(ratio, phases, speed):
    path = Lissajous((1.0, 0.5, 2.0), ratio=ratio, phases=phases, speed=speed)
    # Of 100 000 times one is within half a step of the largest; the speed falls by (r w dt)^2 / 2 at most there.
    assert largest_speed(path, path.period) == pytest.approx(speed, rel=1e-6)


def test_a_lissajous_curve_finds_the_speeds_that_circle_and_eight_have_in_closed_form():
    circle = Lissajous((2.0, 2.0, 0.0), (1, 1, 1), (0.25, 0.0, 0.0), speed=3.0)
    assert circle.period == pytest.approx(Circle(2.0, speed=3.0).period, rel=1e-12)
    eight = Lissajous((2.0, 1.0, 0.0), (1, 2, 1), speed=3.0)
    assert eight.period == pytest.approx(FigureEight(2.0, speed=3.0).period, rel=1e-12)
    assert FigureEight(2.0, speed=3.0).period == pytest.approx(2.0 * np.pi * np.sqrt(2.0) * 2.0 / 3.0, rel=1e-12)


@pytest.mark.parametrize("ratio", [(2, 4, 5), (2, 4, 6), (3, 6, 3)])
def test_a_curve_is_back_after_its_period_and_not_after_a_half_or_a_third_of_it(ratio):
    path = Lissajous((1.0, 1.0, 0.0), ratio, (0.1, 0.2, 0.3), period=6.0)
    times = np.arange(0.0, 12.0, 0.5)
    position = path.sample(times, RNG).position
    np.testing.assert_allclose(position[:12], position[12:], atol=1e-12)
    for share in (4, 6):
        assert np.abs(position[:12] - np.roll(position[:12], share, axis=0)).max() > 0.1


@pytest.mark.parametrize(
    "path",
    [Circle(speed=2.0), FigureEight(period=3.0), Lissajous(phases=(0.1, 0.0, 0.0))],
    ids=lambda path: type(path).__name__,
)
def test_the_phase_is_a_share_of_the_period_that_the_path_is_ahead(path):
    ahead = replace(path, speed=None, phase=0.25)
    times = np.arange(40) * 0.05
    np.testing.assert_allclose(
        ahead.sample(times, RNG).position, path.sample(times + 0.25 * path.period, RNG).position, atol=1e-9
    )


@pytest.mark.parametrize(
    "path", [Circle(heading="along"), FigureEight(heading="along"), Lissajous((1, 1, 1), heading="along")]
)
def test_a_heading_along_the_path_points_where_small_steps_go(path):
    times = np.arange(1, 4000) * 1e-3
    samples = path.sample(times, RNG)
    steps = np.diff(samples.position[:, :2], axis=0)
    middle = np.exp(1j * samples.heading)
    middle = middle[1:] + middle[:-1]
    angle = np.angle((steps[:, 0] + 1j * steps[:, 1]) / middle)
    assert np.abs(angle).max() < 1e-4


def test_a_curve_whose_horizontal_velocity_vanishes_has_no_heading_along_it():
    with pytest.raises(ValueError, match="horizontal velocity vanishes"):
        Lissajous((1.0, 1.0, 1.0), (1, 1, 2), heading="along")  # a line, flown back and forth
    with pytest.raises(ValueError, match="horizontal velocity vanishes"):
        Lissajous((0.0, 0.0, 1.0), heading="along")


def test_hovering_stays_in_the_origin_without_steps():
    samples = Hover(heading=0.5).sample(np.arange(100) * 0.1, RNG)
    assert not samples.position.any()
    assert not samples.velocity.any()
    assert (samples.heading == 0.5).all()


def test_targets_jump_when_they_should_and_are_uniform_in_the_cube():
    times = np.arange(400_000) * 0.01
    samples = Hover(steps=0.5, every=0.1).sample(times, np.random.default_rng(1))
    targets = samples.position.reshape(-1, 10, 3)
    assert (targets == targets[:, :1]).all()  # constant from jump to jump, ten steps each
    assert not targets[0].any()
    assert not samples.velocity.any()
    assert not samples.acceleration.any()
    drawn = targets[1:, 0]
    assert np.abs(drawn).max() <= 0.5
    # The mean of 119 997 draws has the deviation sqrt(1/12 / n), their mean square 1/12 that of sqrt(1/180 / n).
    assert abs(drawn.mean()) < 5.0 * np.sqrt(1.0 / 12.0 / drawn.size)
    assert abs((drawn**2).mean() - 1.0 / 12.0) < 5.0 * np.sqrt(1.0 / 180.0 / drawn.size)


def test_the_same_generator_draws_the_same_targets_and_another_one_does_not():
    times = np.arange(100) * 0.1
    first, again, other = (Hover(steps=1.0).sample(times, np.random.default_rng(s)).position for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first[times >= 2.0] != other[times >= 2.0]).all()


def test_many_paths_at_once_are_those_paths():
    times = np.arange(50) * 0.02
    paths = [
        Circle(2.0),
        make_path("langevin"),
        Waypoints(((0, 0, 0), (1, 0, 0))),
        make_path("langevin", sigma=2.0),
    ]
    many = sample_many(paths, times, np.random.default_rng(0))
    for index in (0, 2):
        one = paths[index].sample(times, RNG)
        for name in ("position", "velocity", "acceleration", "heading"):
            np.testing.assert_array_equal(getattr(many, name)[index], getattr(one, name))
    alone = sample_many([paths[1], paths[3]], times, np.random.default_rng(0))
    np.testing.assert_array_equal(many.position[[1, 3]], alone.position)


def test_a_random_path_that_is_listed_twice_is_drawn_twice_and_others_repeat():
    hover, circle = Hover(steps=1.0, every=0.1), Circle()
    position = sample_many([hover, circle, hover, circle], np.arange(50) * 0.02, np.random.default_rng(0)).position
    assert (position[0, 5:] != position[2, 5:]).all()
    np.testing.assert_array_equal(position[1], position[3])


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("circel", {}, "unknown path 'circel', expected one of hover.*did you mean 'circle'"),
        (
            "circle",
            {"amplitud": 1.0},
            "no parameter 'amplitud', it has amplitude, speed.*did you mean 'amplitude'",
        ),
        ("lissajous", {"_curve": None}, "no parameter '_curve', it has amplitude, ratio, phases"),
        ("waypoints", {}, "path 'waypoints' needs the parameter 'points'"),
        ("file", {}, "path 'file' needs the parameter 'file'"),
        (
            "circle",
            {"speed": 1.0, "period": 2.0},
            "speed and Circle.period exclude each other, got 1.0 m/s and 2.0 s",
        ),
        ("circle", {"speed": 0.0}, "speed must be above 0, got 0.0; for a standing target take Hover"),
        ("circle", {"amplitude": float("nan")}, "amplitude must be finite, got nan"),
        ("circle", {"amplitude": "2"}, "amplitude must be a number, got '2'"),
        ("circle", {"phase": 1.0}, r"phase must lie in \[0, 1\), got 1.0"),
        ("circle", {"heading": "across"}, "heading must be an angle .* or 'along', got 'across'"),
        ("hover", {"steps": -1.0}, "steps must be 0 or above, got -1.0"),
        ("hover", {"heading": "along"}, "heading cannot be 'along'.*give an angle"),
        ("lissajous", {"ratio": (1, 2.5, 3)}, "ratio must be integers from 1 to 50, got"),
        ("lissajous", {"amplitude": (0, 0, 0)}, "above 0 on one axis, got"),
        ("lissajous", {"amplitude": (1, 2)}, "must be three numbers, for x, y and z, got"),
        ("langevin", {"sigma": 1.0, "speed": 1.0}, "sigma and Langevin.speed exclude each other"),
        ("langevin", {"dt": 0.1}, r"dt must be at most.*got 0.1 s.*take at most 0.0667 s"),
        ("langevin", {"smoothing": 0.0}, r"smoothing must lie in \(0, 1\], got 0.0"),
        ("waypoints", {"points": ((0, 0, 0),)}, "at least two points"),
        ("waypoints", {"points": ((0, 0, 0), (0, 0, 0))}, r"\[0\] and \[1\] must differ.*remove one, or give dur"),
        ("waypoints", {"points": ((0, 0, 0), (1, 0, 0)), "durations": (1.0, 2.0)}, "durations must be 1, one for"),
        ("waypoints", {"points": ((0, 0, 0), (1, 0, 0)), "durations": (1.0,), "speed": 1.0}, "exclude each other"),
    ],
)
def test_bad_parameters_are_one_error_that_says_what_to_do(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        make_path(name, **parameters)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.array([0.0, 0.1, 0.3]), "equal steps"),
        (np.array([0.0, -0.1]), "must rise"),
        (np.array([0.0, np.nan]), "finite"),
        (np.zeros((2, 2)), r"shape \(T,\)"),
    ],
)
def test_times_that_do_not_rise_in_equal_steps_are_an_error(times, message):
    with pytest.raises(ValueError, match=message):
        Circle().sample(times, RNG)


def test_all_kinds_are_listed():
    assert list(PATHS) == ["hover", "circle", "figure_eight", "lissajous", "langevin", "waypoints", "file"]
