"""Named vehicles against the figures of their sources."""

from __future__ import annotations

import numpy as np
import pytest

from foundation.sim.mixer import require_control
from foundation.sim.params import MotorParams
from foundation.sim.vehicles import VEHICLES


@pytest.mark.parametrize(
    ("name", "mass", "thrust_to_weight"),
    [
        ("crazyflie", 0.0306, 1.469),
        ("cf2x_L250", 0.0328, 1.49),
        ("cf2x_P250", 0.0318, 1.54),
        ("cf2x_T350", 0.0379, 1.94),
        ("x500", 2.0, 1.782),
        ("flightmare", 0.73, 12.12),
    ],
)
def test_mass_and_thrust_to_weight(name, mass, thrust_to_weight):
    vehicle = VEHICLES[name]()
    assert vehicle.mass[0] == mass
    assert vehicle.thrust_to_weight[0] == pytest.approx(thrust_to_weight, rel=5e-3)
    assert vehicle.force_std[0] == 0.0
    require_control(vehicle)


def test_all_vehicles_are_listed():
    assert list(VEHICLES) == ["crazyflie", "cf2x_L250", "cf2x_P250", "cf2x_T350", "x500", "flightmare"]


def test_the_thrust_upgrade_has_the_curves_that_the_packaged_motors_are_scaled_from():
    vehicle, motor = VEHICLES["cf2x_T350"](), MotorParams()
    np.testing.assert_allclose(vehicle.thrust_curve[0], motor.thrust_curve, rtol=1e-3, atol=1e-6)
    assert vehicle.torque_constant[0] == pytest.approx(motor.torque_constant, rel=2e-3)
    assert vehicle.tau_up[0] == pytest.approx(motor.tau_up, rel=2e-3)
    np.testing.assert_allclose(vehicle.drag[0], motor.drag, rtol=1e-3)


def test_the_motors_of_identified_crazyflies_have_the_published_range_of_time_constants():
    named = [VEHICLES[name]() for name in ("cf2x_L250", "cf2x_P250", "cf2x_T350")]
    rising, falling = [v.tau_up[0] for v in named], [v.tau_down[0] for v in named]
    assert (min(rising), max(rising)) == (pytest.approx(0.088, abs=1e-3), pytest.approx(0.136, abs=1e-3))
    assert (min(falling), max(falling)) == (pytest.approx(0.069, abs=1e-3), pytest.approx(0.106, abs=1e-3))
