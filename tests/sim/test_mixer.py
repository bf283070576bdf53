"""Vehicles that cannot be turned about an axis, or cannot hover level, are refused."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from foundation.sim.mixer import mixer, require_control
from foundation.sim.reference import derivative
from tests.sim.test_reference import at_rest


def test_the_mixer_gives_the_wrench_of_the_reference(nominal):
    vehicle = replace(nominal, drag=np.zeros((1, 3)))
    rotor = np.array([[0.3, 0.5, 0.8, 0.6]])
    c0, c1, c2 = vehicle.thrust_curve[0]
    wrench = mixer(vehicle)[0] @ (c0 + c1 * rotor[0] + c2 * rotor[0] ** 2)
    rates = derivative(replace(at_rest(), rotor=rotor), rotor, vehicle, np.zeros((1, 3)))
    np.testing.assert_allclose(rates.vel_w[0, 2], wrench[0] / vehicle.mass[0] - 9.81, rtol=1e-12)
    np.testing.assert_allclose(vehicle.inertia[0] @ rates.ang_vel_b[0], wrench[1:], rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("spin", itertools.product([1, -1], repeat=4))
def test_only_alternating_spins_are_taken(nominal, spin):
    vehicle = replace(nominal, rotor_spin=np.array([spin]))
    if spin in ((1, -1, 1, -1), (-1, 1, -1, 1)):
        require_control(vehicle)
    else:
        with pytest.raises(ValueError, match="yaw cannot be turned alone"):
            require_control(vehicle)


@pytest.mark.parametrize(
    ("places", "axis"),
    [
        ([[0.03, 0], [-0.03, 0], [-0.02, 0], [0.04, 0]], "roll cannot be turned:"),
        ([[0, -0.03], [0, -0.02], [0, 0.02], [0, 0.03]], "pitch cannot be turned:"),
        ([[0.03, 0.03], [-0.03, -0.03], [-0.02, -0.02], [0.04, 0.04]], "pitch cannot be turned without roll"),
        # Neighbours in a circle spin alike here, as the second and third rotor have changed places.
        ([[0.03, -0.03], [-0.03, -0.03], [0.03, 0.03], [-0.03, 0.03]], "yaw cannot be turned without pitch"),
    ],
)
def test_rotors_that_leave_an_axis_uncontrolled_are_refused_with_its_name(nominal, places, axis):
    rotor_pos_b = np.column_stack([places, np.zeros(4)])[None]
    with pytest.raises(ValueError, match=axis):
        require_control(replace(nominal, rotor_pos_b=rotor_pos_b))


def test_a_centre_of_mass_outside_of_the_rotors_is_refused(nominal):
    near, far = (replace(nominal, rotor_pos_b=nominal.rotor_pos_b - [shift, 0, 0]) for shift in (0.01, 0.035))
    require_control(near)
    with pytest.raises(ValueError, match=r"hovering level takes thrusts of .* centre of mass is too far"):
        require_control(far)
