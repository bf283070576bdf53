"""The reference against crazyflow's first-principles model, written by others, on one set of parameters."""

from __future__ import annotations

import os

import numpy as np
import pytest

from foundation.sim import reference
from tests.support.vehicles import random_state, random_vehicles

os.environ.setdefault("SCIPY_ARRAY_API", "1")
crazyflow_dynamics = pytest.importorskip(
    "crazyflow.dynamics.first_principles", reason="crazyflow is not installed: pip install -e '.[oracle]'"
).dynamics


def crazyflow_rates(state, command, params, force_w, index):
    """Return crazyflow's derivative of one vehicle; rotor speeds share our unit instead of RPM."""
    x, y = params.rotor_pos_b[index, :, 0], params.rotor_pos_b[index, :, 1]
    inertia = params.inertia[index]
    curve = params.thrust_curve[index][None]
    taus = [1.0 / params.tau_up[index], 0.0, 1.0 / params.tau_down[index], 0.0]
    return crazyflow_dynamics(
        state.pos_w[index],
        state.quat_wb[index],
        state.vel_w[index],
        state.ang_vel_b[index],
        command[index],
        state.rotor[index],
        dist_f=force_w[index],
        mass=np.asarray(params.mass[index]),
        L=np.ones(1),
        prop_inertia=np.zeros(1),
        gravity_vec=np.array([0.0, 0.0, -9.81]),
        J=inertia,
        J_inv=np.linalg.inv(inertia),
        rpm2thrust=curve,
        rpm2torque=params.torque_constant[index] * curve,
        mixing_matrix=np.stack([y, -x, -params.rotor_spin[index]]),
        drag_matrix=-np.diag(params.drag[index]),
        rotor_dyn_coef=np.array([taus]),
    )


def test_accelerations_equal_those_of_crazyflow_to_rounding(rng):
    count = 50
    params, state = random_vehicles(count, rng), random_state(count, rng)
    command, force_w = rng.uniform(0, 1, (count, 4)), rng.normal(scale=0.02, size=(count, 3))
    ours = reference.derivative(state, command, params, force_w)
    for index in range(count):
        pos_dot, quat_dot, vel_dot, ang_vel_dot, rotor_dot = crazyflow_rates(
            state, command, params, force_w, index
        )
        np.testing.assert_allclose(ours.pos_w[index], pos_dot, rtol=1e-12)
        np.testing.assert_allclose(ours.quat_wb[index], quat_dot, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(ours.vel_w[index], vel_dot, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(ours.ang_vel_b[index], ang_vel_dot, rtol=1e-8, atol=1e-8)
        np.testing.assert_allclose(ours.rotor[index], rotor_dot, rtol=1e-12)
