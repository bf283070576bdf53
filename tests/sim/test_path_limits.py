"""The thrust that paths need, against closed forms, and what the errors advise."""

from __future__ import annotations

import re

import numpy as np
import pytest

from foundation.sim.params import GRAVITY, QuadParams
from foundation.sim.paths import (
    Circle,
    FigureEight,
    Hover,
    Langevin,
    Lissajous,
    PathSamples,
    check_path,
    required_thrust,
)
from foundation.sim.vehicles import VEHICLES

RNG = np.random.default_rng(0)
CRAZYFLIE, RACER = VEHICLES["crazyflie"](), VEHICLES["flightmare"]()
LIMIT = float(CRAZYFLIE.thrust_to_weight[0])


def sampled(path, duration=None):
    return path.sample(np.linspace(0.0, duration or path.period, 2001), RNG)


def advised(message):
    return float(re.search(r"could fly this shape at ([\d.]+) m/s", message)[1])


def test_a_circle_needs_the_root_of_one_plus_its_centripetal_acceleration_in_g_squared():
    need = required_thrust(sampled(Circle(2.0, speed=4.0)))
    assert need == pytest.approx(np.sqrt(1.0 + (4.0**2 / 2.0 / GRAVITY) ** 2), rel=1e-12)


def test_hovering_and_jumps_need_the_weight_alone():
    assert required_thrust(sampled(Hover(steps=3.0), 10.0)) == 1.0
    check_path(sampled(Hover(steps=3.0), 10.0), CRAZYFLIE, "hover")


def test_a_vertical_oscillation_needs_its_largest_upward_acceleration():
    path = Lissajous((0.0, 0.0, 0.5), period=2.0)
    assert required_thrust(sampled(path)) == pytest.approx(1.0 + 0.5 * np.pi**2 / GRAVITY, rel=1e-5)


def test_a_circle_at_the_limit_flies_and_one_percent_faster_is_an_error_with_the_numbers():
    limit = np.sqrt(1.5 * GRAVITY * np.sqrt(LIMIT**2 - 1.0))
    check_path(sampled(Circle(1.5, speed=0.999 * limit)), CRAZYFLIE, "circle")
    fast = sampled(Circle(1.5, speed=1.01 * limit))
    with pytest.raises(ValueError, match="path 'circle' is too fast") as error:
        check_path(fast, CRAZYFLIE, "circle")
    assert f"largest speed of {1.01 * limit:.3g} m/s" in str(error.value)
    assert f"thrust-to-weight of {required_thrust(fast):.3f}, and vehicle 0 of 1 has {LIMIT:.3f}" in str(
        error.value
    )
    assert 0.99 * limit < advised(str(error.value)) <= limit


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [(FigureEight, {}), (Lissajous, {"amplitude": (1.0, 0.5, 0.8), "ratio": (1, 2, 3)})],
)
def test_the_advised_speed_flies_and_two_percent_more_does_not(kind, parameters):
    with pytest.raises(ValueError, match="could fly") as error:
        check_path(sampled(kind(speed=20.0, **parameters)), CRAZYFLIE, "figure_eight")
    speed = advised(str(error.value))
    check_path(sampled(kind(speed=speed, **parameters)), CRAZYFLIE, "figure_eight")
    with pytest.raises(ValueError, match="could fly"):
        check_path(sampled(kind(speed=1.02 * speed, **parameters)), CRAZYFLIE, "figure_eight")


def test_falling_faster_than_freely_is_an_error_also_for_strong_vehicles():
    path = Lissajous((0.0, 0.0, 1.0), speed=3.5)  # accelerates with 3.5^2 = 12.25 m/s^2, and freely with 3.13 m/s
    assert required_thrust(sampled(path)) < RACER.thrust_to_weight[0]
    with pytest.raises(ValueError, match=r"accelerates downwards at 12.25 m/s\^2, at least g = 9.81") as error:
        check_path(sampled(path), RACER, "lissajous")
    assert advised(str(error.value)) == pytest.approx(np.sqrt(GRAVITY), abs=0.01)
    check_path(sampled(Lissajous((0.0, 0.0, 1.0), speed=3.1)), RACER, "lissajous")


def test_the_weakest_vehicle_of_a_table_is_named():
    table = [RACER, CRAZYFLIE, RACER]
    vehicles = QuadParams(
        **{name: np.concatenate([getattr(v, name) for v in table]) for name in QuadParams.__dataclass_fields__}
    )
    with pytest.raises(ValueError, match="vehicle 1 of 3"):
        check_path(sampled(Circle(speed=5.0)), vehicles, "circle")
    check_path(sampled(Circle(speed=5.0)), RACER, "circle")


def test_a_langevin_path_is_advised_a_speed_in_proportion_to_its_accelerations():
    wild = Langevin(sigma=20.0).sample(np.arange(1000) * 0.01, np.random.default_rng(3))
    with pytest.raises(ValueError, match="could fly") as error:
        check_path(wild, CRAZYFLIE, "langevin")
    factor = advised(str(error.value)) / np.linalg.norm(wild.velocity, axis=-1).max()
    tame = Langevin(sigma=20.0 * factor).sample(np.arange(1000) * 0.01, np.random.default_rng(3))
    check_path(tame, CRAZYFLIE, "langevin")
    assert required_thrust(tame) > 0.98 * LIMIT or -tame.acceleration[:, 2].min() > 0.95 * GRAVITY


def test_in_wind_the_drag_counts_against_the_thrust():
    vehicle = VEHICLES["cf2x_T350"]()
    mass, drag, limit = vehicle.mass[0], vehicle.drag[0, 0], vehicle.thrust_to_weight[0]
    standing = sampled(Hover(), 1.0)
    # Level drag and weight add at a right angle: thrust suffices up to this wind.
    largest = mass * GRAVITY * np.sqrt(limit**2 - 1.0) / drag
    check_path(standing, vehicle, "hover", wind=np.array([0.0, 0.999 * largest, 0.0]))
    with pytest.raises(ValueError, match="could not even hover in this wind"):
        check_path(standing, vehicle, "hover", wind=np.array([0.0, 1.001 * largest, 0.0]))


def test_a_path_that_flies_with_the_wind_has_no_drag_and_against_it_that_of_both_speeds():
    vehicle = VEHICLES["cf2x_T350"]()
    limit = vehicle.mass[0] * GRAVITY * np.sqrt(vehicle.thrust_to_weight[0] ** 2 - 1.0) / vehicle.drag[0, 0]
    velocity, still = np.tile([0.6 * limit, 0.0, 0.0], (10, 1)), np.zeros((10, 3))
    straight = PathSamples(np.cumsum(velocity, 0), velocity, still, np.zeros(10))
    check_path(straight, vehicle, "file", wind=velocity[0])
    check_path(straight, vehicle, "file", wind=-0.39 / 0.6 * velocity[0])
    with pytest.raises(ValueError, match="too fast in this wind"):
        check_path(straight, vehicle, "file", wind=-0.41 / 0.6 * velocity[0])


def test_a_path_that_flies_in_still_air_can_be_too_fast_in_wind():
    vehicle, path = VEHICLES["cf2x_T350"](), Circle(2.0, speed=5.0)
    check_path(sampled(path), vehicle, "circle")
    with pytest.raises(ValueError, match="too fast in this wind") as error:
        check_path(sampled(path), vehicle, "circle", wind=np.array([12.0, 0.0, 0.0]))
    slower = Circle(2.0, speed=advised(str(error.value)))
    check_path(sampled(slower), vehicle, "circle", wind=np.array([12.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match=r"wind must have shape \(3,\)"):
        check_path(sampled(path), vehicle, "circle", wind=np.zeros(2))
