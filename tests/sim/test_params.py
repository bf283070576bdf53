"""Vehicles that cannot exist are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest


def test_hover_speed_makes_thrust_equal_weight(nominal):
    u = nominal.hover_speed
    c0, c1, c2 = nominal.thrust_curve.T
    np.testing.assert_allclose(4 * (c0 + c1 * u + c2 * u**2), nominal.mass * 9.81, rtol=1e-12)


def test_hover_speed_covers_a_linear_thrust_curve(nominal):
    linear = replace(nominal, thrust_curve=np.array([[0.0, 0.12, 0.0]]))
    np.testing.assert_allclose(linear.hover_speed, nominal.mass * 9.81 / 4 / 0.12, rtol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mass": np.array([-0.1])}, "mass must be positive, got -0.1"),
        ({"mass": np.array([np.nan])}, "mass must be finite"),
        ({"mass": np.array([0.5])}, "thrust-to-weight above 1"),
        ({"tau_up": np.zeros(1)}, "tau_up must be positive, got 0.0"),
        ({"drag": np.array([[0.1, -0.1, 0.0]])}, "drag must be zero or positive, got -0.1"),
        ({"rotor_spin": np.array([[1, -1, 0, -1]])}, r"rotor_spin must be \+1 or -1, got 0.0"),
        ({"inertia": np.diag([1.0, 1.0, 3.0])[None]}, "triangle inequality"),
        ({"inertia": np.triu(np.ones((3, 3)))[None]}, "symmetric"),
        ({"rotor_pos_b": np.zeros((1, 3, 3))}, r"rotor_pos_b must have shape \(1, 4, 3\), got \(1, 3, 3\)"),
        ({"thrust_curve": np.array([[0.3, 0.0, -0.1]])}, "rising at full speed"),
        # More than the weight at rest and at full speed, and at every speed between.
        ({"thrust_curve": np.array([[0.3, -0.4, 0.25]])}, r"the weight at a rotor speed in \[0, 1\], got nan"),
        ({"mass": np.array([1e-45]), "inertia": np.eye(3)[None] * 1e-45}, "the weight at a rotor speed"),
    ],
)
def test_an_unphysical_vehicle_is_refused_with_name_and_value(nominal, change, message):
    with pytest.raises(ValueError, match=message):
        replace(nominal, **change)
