"""The float64 reference against closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foundation.sim import reference
from foundation.sim.params import GRAVITY, QuadParams
from foundation.sim.reference import QuadState
from tests.support.vehicles import random_state, random_vehicles


def at_rest(count: int = 1, rotor: float = 0.0) -> QuadState:
    quat = np.tile([0.0, 0.0, 0.0, 1.0], (count, 1))
    zeros = np.zeros((count, 3))
    return QuadState(zeros, quat, zeros, zeros, np.full((count, 4), rotor))


def without_drag(params: QuadParams) -> QuadParams:
    return replace(params, drag=np.zeros_like(params.drag))


def fly(state, command, params, seconds, dt=0.01, force=None, substeps=1):
    force = np.zeros((len(params), 3)) if force is None else force
    for _ in range(round(seconds / dt)):
        state = reference.step(state, command, params, force, dt, substeps)
    return state


def test_a_level_vehicle_at_hover_speed_stays_where_it_is(nominal):
    hover = nominal.hover_speed[0]
    after = fly(at_rest(rotor=hover), np.full((1, 4), hover), nominal, 1.0)
    # Weight and thrust cancel to rounding: 1e-16 of 9.81 m/s^2 over one second.
    np.testing.assert_allclose(after.pos_w, 0.0, atol=1e-13)
    np.testing.assert_allclose(after.ang_vel_b, 0.0, atol=1e-13)


def test_a_vehicle_one_percent_above_hover_speed_climbs(nominal):
    command = np.full((1, 4), 1.01 * nominal.hover_speed[0])
    after = fly(at_rest(rotor=command[0, 0]), command, nominal, 1.0)
    assert after.pos_w[0, 2] > 0.05


def test_free_fall_follows_half_g_t_squared(nominal):
    after = fly(at_rest(), np.zeros((1, 4)), without_drag(nominal), 1.0)
    # RK4 is exact for a quadratic; what is left is rounding.
    np.testing.assert_allclose(after.pos_w[0], [0.0, 0.0, -GRAVITY / 2.0], atol=1e-12)


def test_falling_with_drag_follows_the_exponential_solution(nominal):
    after = fly(at_rest(), np.zeros((1, 4)), nominal, 1.0)
    rate = nominal.drag[0, 2] / nominal.mass[0]
    terminal = GRAVITY / rate
    np.testing.assert_allclose(after.vel_w[0, 2], -terminal * (1 - np.exp(-rate)), rtol=1e-10)


@pytest.mark.parametrize(("start", "command", "tau"), [(0.2, 0.9, "tau_up"), (0.9, 0.2, "tau_down")])
def test_a_rotor_approaches_its_command_exponentially_with_the_time_constant_of_its_direction(
    nominal, start, command, tau
):
    after = fly(at_rest(rotor=start), np.full((1, 4), command), nominal, 0.2)
    expected = command + (start - command) * np.exp(-0.2 / getattr(nominal, tau)[0])
    # RK4's local error is (dt/tau)^5/120 = 2e-8 a step, over 20 steps.
    np.testing.assert_allclose(after.rotor, expected, atol=5e-7)


def test_torque_free_spin_conserves_energy_and_angular_momentum(nominal):
    inertia = np.diag([1.0, 2.0, 2.9])[None] * 1e-5
    params = replace(without_drag(nominal), inertia=inertia)
    spin = np.array([[8.0, 0.1, 5.0]])
    start = replace(at_rest(), ang_vel_b=spin)
    after = fly(start, np.zeros((1, 4)), params, 1.0)

    def momentum_w(state):
        return (reference.rotation_matrix(state.quat_wb) @ inertia @ state.ang_vel_b[..., None])[0, :, 0]

    def energy(state):
        return (state.ang_vel_b @ inertia[0] @ state.ang_vel_b[0]).item()

    assert not np.allclose(after.ang_vel_b, spin, rtol=0.1)  # the spin is not a steady one
    np.testing.assert_allclose(energy(after), energy(start), rtol=1e-6)
    np.testing.assert_allclose(momentum_w(after), momentum_w(start), rtol=1e-5, atol=1e-10)


def test_rotation_matrix_agrees_with_rotating_by_the_quaternion(rng):
    quat = rng.normal(size=(50, 4))
    vector = rng.normal(size=(50, 3))
    unit = quat / np.linalg.norm(quat, axis=-1, keepdims=True)
    xyz, w = unit[:, :3], unit[:, 3:]
    twice = 2.0 * np.cross(xyz, vector)
    expected = vector + w * twice + np.cross(xyz, twice)
    got = np.einsum("nij,nj->ni", reference.rotation_matrix(quat), vector)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_a_clockwise_yaw_command_turns_the_vehicle_by_its_reaction_torque(nominal):
    hover = nominal.hover_speed[0]
    # Counter-clockwise rotors faster: the body is pushed clockwise, about -z.
    command = np.array([[hover + 0.05, hover - 0.05, hover + 0.05, hover - 0.05]])
    after = fly(at_rest(rotor=hover), command, nominal, 0.2)
    assert after.ang_vel_b[0, 2] < -0.1
    np.testing.assert_allclose(after.ang_vel_b[0, :2], 0.0, atol=1e-9)


def test_faster_left_rotors_roll_the_vehicle_to_the_right(nominal):
    hover = nominal.hover_speed[0]
    command = np.array([[hover, hover, hover + 0.05, hover + 0.05]])
    after = fly(at_rest(rotor=hover), command, nominal, 0.2)
    assert after.ang_vel_b[0, 0] > 0.1  # about +x, forward: right side down
    assert after.vel_w[0, 1] < 0.0  # so it drifts to the right, -y


def test_the_integrator_is_of_fourth_order(rng):
    params, start = random_vehicles(8, rng), random_state(8, rng)
    command = rng.uniform(0, 1, (8, 4))
    force = rng.normal(scale=0.01, size=(8, 3))
    truth = fly(start, command, params, 0.5, dt=0.05, force=force, substeps=64)
    errors = [
        np.abs(
            fly(start, command, params, 0.5, dt=0.05, force=force, substeps=n).ang_vel_b - truth.ang_vel_b
        ).max()
        for n in (2, 4, 8)
    ]
    orders = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert (orders > 3.7).all(), orders
    assert (orders < 4.5).all(), orders
