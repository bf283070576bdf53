"""The expert against the float64 dynamics, its own linear model, and the symmetries of flight."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from foundation.control.allocation import YAW_RESERVE, allocate
from foundation.control.expert import LqrExpert
from foundation.control.lqr import LqrCfg, axis_gains
from foundation.control.modes import COLLECTIVE, PITCH, ROLL, YAW, rotor_modes
from foundation.control.rotations import product
from foundation.sim import reference
from foundation.sim.mixer import mixer
from foundation.sim.params import GRAVITY, QuadParams
from foundation.sim.randomization import RaptorFamilyCfg, sample_raptor
from foundation.sim.vehicles import VEHICLES
from tests.support.vehicles import random_state, random_vehicles

DT = 0.01


@pytest.fixture(scope="module")
def fleet():
    return sample_raptor(RaptorFamilyCfg(), 24, np.random.default_rng(3))


def doubles(*arrays):
    return [torch.as_tensor(array, dtype=torch.float64) for array in arrays]


def commands(expert, state, last, force_w, vehicle=None):
    vehicle = torch.arange(len(last)) if vehicle is None else vehicle
    given = doubles(state.pos_w, state.quat_wb, state.vel_w, state.ang_vel_b, state.rotor, last, force_w)
    return expert(vehicle, *given).numpy()


def fly(vehicles, state, force_w, seconds, told_force=None):
    """Return the states of a flight of the expert in the float64 dynamics."""
    expert, last, states = LqrExpert(vehicles, dtype=torch.float64), state.rotor, [state]
    told = force_w if told_force is None else told_force
    for _ in range(round(seconds / DT)):
        last = commands(expert, states[-1], last, told)
        states.append(reference.step(states[-1], last, vehicles, force_w, DT))
    return states


def near_hover(vehicles, rng, tilt=0.3):
    state = random_state(len(vehicles), rng)
    quat = np.column_stack([rng.normal(size=(len(vehicles), 3)) * tilt / 2, np.ones(len(vehicles))])
    return replace(
        state,
        pos_w=0.3 * state.pos_w,
        quat_wb=quat / np.linalg.norm(quat, axis=1, keepdims=True),
        vel_w=0.3 * state.vel_w,
        ang_vel_b=0.3 * state.ang_vel_b,
        rotor=np.tile(vehicles.hover_speed[:, None], 4),
    )


def test_the_position_error_under_a_constant_force_vanishes_to_rounding(fleet, rng):
    force = rng.normal(size=(24, 3)) * fleet.force_std[:, None]
    errors = [np.linalg.norm(state.pos_w, axis=1) for state in fly(fleet, near_hover(fleet, rng), force, 9.0)]
    assert errors[-1].max() < 1e-3
    # Still shrinking by a constant factor: there is no offset.
    assert np.median(errors[-1]) < 1e-2 * np.median(errors[len(errors) // 2])
    # Without knowing the force, the error stays.
    unaware = fly(fleet, near_hover(fleet, rng), force, 4.0, told_force=np.zeros_like(force))[-1]
    assert np.median(np.linalg.norm(unaware.pos_w, axis=1)) > 1e-3


def test_every_named_vehicle_comes_to_rest_on_the_target(rng):
    named = [make() for make in VEHICLES.values()]
    vehicles = QuadParams(
        **{f.name: np.concatenate([getattr(v, f.name) for v in named]) for f in fields(QuadParams)}
    )
    last = fly(vehicles, near_hover(vehicles, rng), np.zeros((len(named), 3)), 8.0)[-1]
    assert np.abs(last.pos_w).max() < 1e-3
    assert np.abs(last.vel_w).max() < 1e-3


def test_each_mode_accelerates_one_axis_alone_by_what_the_model_says(rng):
    vehicles = replace(random_vehicles(8, rng), drag=np.zeros((8, 3)))
    # A centre of mass beside the middle: the four rotors hover at different speeds.
    vehicles = replace(vehicles, rotor_pos_b=vehicles.rotor_pos_b + np.array([0.004, -0.002, 0.0]))
    modes, strength = rotor_modes(vehicles)
    thrust = np.linalg.inv(mixer(vehicles))[..., 0] * (vehicles.mass * GRAVITY)[:, None]
    c1, c2 = vehicles.thrust_curve[:, 1, None], vehicles.thrust_curve[:, 2, None]
    hover = (-c1 + np.sqrt(c1**2 + 4 * c2 * (thrust - vehicles.thrust_curve[:, :1]))) / (2 * c2)
    level = np.tile([0.0, 0.0, 0.0, 1.0], (8, 1))
    small = 1e-5
    for mode in (COLLECTIVE, ROLL, PITCH, YAW):
        rates = []
        for sign in (1.0, -1.0):
            state = reference.QuadState(
                np.zeros((8, 3)),
                level,
                np.zeros((8, 3)),
                np.zeros((8, 3)),
                hover + sign * small * modes[:, :, mode],
            )
            rate = reference.derivative(state, state.rotor, vehicles, np.zeros((8, 3)))
            rates.append(np.column_stack([rate.vel_w[:, 2], rate.ang_vel_b]))
        measured = (rates[0] - rates[1]) / (2 * small)
        expected = np.zeros((8, 4))
        expected[:, mode] = strength[:, mode]
        np.testing.assert_allclose(measured, expected, rtol=1e-6, atol=1e-6 * strength.max())


def test_near_hover_the_command_changes_by_the_gains_times_the_state(fleet):
    expert, gains = LqrExpert(fleet, dtype=torch.float64), axis_gains(fleet, LqrCfg(), DT)
    modes, _ = rotor_modes(fleet)
    hover = np.tile(fleet.hover_speed[:, None], 4)
    small = 1e-6
    zero, level = np.zeros((24, 3)), np.tile([0.0, 0.0, 0.0, 1.0], (24, 1))
    still = reference.QuadState(zero, level, zero, zero, hover)
    ahead = replace(still, pos_w=zero + np.array([small, 0.0, 0.0]))
    np.testing.assert_allclose(commands(expert, still, hover, zero), hover, atol=1e-12)
    change = (commands(expert, ahead, hover, zero) - hover) / small
    np.testing.assert_allclose(change, -gains["near_x"][:, :1] * modes[:, :, PITCH], rtol=1e-5, atol=1e-8)
    aside = replace(still, vel_w=zero + np.array([0.0, small, 0.0]))
    change = (commands(expert, aside, hover, zero) - hover) / small
    np.testing.assert_allclose(change, gains["near_y"][:, 1:2] * modes[:, :, ROLL], rtol=1e-5, atol=1e-8)
    turned = replace(still, ang_vel_b=zero + np.array([0.0, 0.0, small]))
    change = (commands(expert, turned, hover, zero) - hover) / small
    np.testing.assert_allclose(change, -gains["near_heading"][:, 1:2] * modes[:, :, YAW], rtol=1e-5, atol=1e-8)


def test_far_from_the_target_or_in_motion_the_gains_are_the_calm_ones(fleet):
    cfg = LqrCfg(near_command=0.1, near_radius=0.2)
    expert, gains = LqrExpert(fleet, cfg, dtype=torch.float64), axis_gains(fleet, cfg, DT)
    modes, _ = rotor_modes(fleet)
    hover, small, zero = np.tile(fleet.hover_speed[:, None], 4), 1e-6, np.zeros((24, 3))
    still = reference.QuadState(zero, np.tile([0.0, 0.0, 0.0, 1.0], (24, 1)), zero, zero, hover)
    up = np.array([0.0, 0.0, 1.0])
    for begin in (replace(still, pos_w=zero + 1.2 * up), replace(still, vel_w=zero + 4.0 * up)):
        turned = replace(begin, ang_vel_b=zero + small * up)
        change = (
            np.linalg.inv(modes)
            @ (commands(expert, turned, hover, zero) - commands(expert, begin, hover, zero))[..., None]
        )
        inside = (commands(expert, begin, hover, zero) > 0.0).all(1)
        np.testing.assert_allclose(change[inside, YAW, 0] / small, -gains["heading"][inside, 1], rtol=1e-5)
        assert inside.sum() > 5
    assert (gains["near_heading"][:, 1] > 1.5 * gains["heading"][:, 1]).all()


def test_gains_blend_with_the_distance_and_with_what_the_velocity_covers_in_three_tenths_of_a_second(fleet):
    cfg = LqrCfg(near_command=0.1, near_radius=0.06)
    expert, gains = LqrExpert(fleet, cfg, dtype=torch.float64), axis_gains(fleet, cfg, DT)
    modes, _ = rotor_modes(fleet)
    hover, small, zero = np.tile(fleet.hover_speed[:, None], 4), 1e-7, np.zeros((24, 3))
    still = reference.QuadState(zero, np.tile([0.0, 0.0, 0.0, 1.0], (24, 1)), zero, zero, hover)
    up = np.array([0.0, 0.0, 1.0])
    share = np.exp(-1.0)
    for begin in (replace(still, pos_w=zero + 0.06 * up), replace(still, vel_w=zero + 0.2 * up)):
        turned = replace(begin, ang_vel_b=zero + small * np.array([0.0, 1.0, 1.0]))
        before = commands(expert, begin, hover, zero)
        change = (np.linalg.inv(modes) @ (commands(expert, turned, hover, zero) - before)[..., None])[..., 0]
        inside = ((before > 0.0) & (before < 1.0)).all(1)
        for axis, mode, column in (("x", PITCH, 3), ("heading", YAW, 1)):
            calm, stiff = gains[axis][inside, column], gains[f"near_{axis}"][inside, column]
            blended = calm + share * (stiff - calm)
            np.testing.assert_allclose(change[inside, mode] / small, -blended, rtol=1e-4)
        assert inside.sum() > 5


def test_a_factor_of_one_makes_the_gains_at_the_target_those_far_from_it(fleet):
    gains = axis_gains(fleet, LqrCfg(near_command=1.0), DT)
    for axis in ("x", "y", "z", "heading"):
        np.testing.assert_array_equal(gains[axis], gains[f"near_{axis}"])


def test_roll_and_pitch_do_not_depend_on_the_heading_and_yaw_does(fleet, rng):
    expert = LqrExpert(fleet, dtype=torch.float64)
    state, force = near_hover(fleet, rng), rng.normal(size=(24, 3)) * fleet.force_std[:, None]
    angle = 1.1
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
    quat = torch.tensor([[0, 0, np.sin(angle / 2), np.cos(angle / 2)]], dtype=torch.float64).expand(24, 4)
    turned = replace(
        state,
        pos_w=state.pos_w @ turn.T,
        vel_w=state.vel_w @ turn.T,
        quat_wb=product(quat, torch.as_tensor(state.quat_wb)).numpy(),
    )
    to_modes = np.linalg.inv(rotor_modes(fleet)[0])

    def mode(of, force_w):
        return np.einsum("nij,nj->ni", to_modes, commands(expert, of, state.rotor, force_w))

    before, after = mode(state, force), mode(turned, force @ turn.T)
    np.testing.assert_allclose(after[:, ROLL : PITCH + 1], before[:, ROLL : PITCH + 1], atol=1e-9)
    assert np.abs(after[:, YAW] - before[:, YAW]).max() > 1e-3


def test_commands_are_the_wanted_modes_unless_the_rotors_saturate(rng):
    modes = torch.as_tensor(rotor_modes(random_vehicles(32, rng))[0])
    wanted, trim = torch.as_tensor(rng.normal(size=(32, 4))), torch.full((32, 4), 0.5, dtype=torch.float64)
    free = allocate(0.05 * wanted, modes, trim)
    torch.testing.assert_close(free, trim + (modes @ (0.05 * wanted)[..., None])[..., 0])
    hard = allocate(20.0 * wanted, modes, trim)
    assert 0.0 <= hard.min() <= hard.max() <= 1.0


def test_a_full_climb_gives_way_to_roll_and_pitch_and_yaw_gives_way_to_both(rng):
    modes = torch.as_tensor(rotor_modes(random_vehicles(16, rng))[0])
    trim, zero = torch.full((16, 4), 0.5, dtype=torch.float64), torch.zeros(16, dtype=torch.float64)
    wanted = torch.stack([zero + 2.0, zero + 0.2, zero - 0.1, zero], dim=1)
    got = torch.linalg.solve(modes, allocate(wanted, modes, trim) - trim)
    torch.testing.assert_close(got[:, ROLL : PITCH + 1], wanted[:, ROLL : PITCH + 1])
    assert (got[:, COLLECTIVE] < 0.5).all()
    crowded = torch.stack([zero, zero + 0.3, zero + 0.15, zero + 5.0], dim=1)
    turning = (modes @ crowded[..., None])[..., 0] - modes[:, :, YAW] * crowded[:, YAW, None]
    spread = turning.amax(1) - turning.amin(1)
    got = torch.linalg.solve(modes, allocate(crowded, modes, trim) - trim)
    assert (got[:, YAW] <= (1.0 - spread) / 2.0 + YAW_RESERVE + 1e-9).all()


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_weights_that_no_cost_can_have_are_refused(value):
    with pytest.raises(ValueError, match=r"LqrCfg\.heading must be positive"):
        LqrCfg(heading=value)


def test_gains_of_equal_tables_are_computed_once_and_of_others_anew(fleet):
    same, heavier = replace(fleet, mass=fleet.mass.copy()), replace(fleet, mass=1.01 * fleet.mass)
    first = axis_gains(fleet, LqrCfg(), DT)
    assert axis_gains(same, LqrCfg(), DT)["x"] is first["x"]
    for other in (
        axis_gains(heavier, LqrCfg(), DT),
        axis_gains(fleet, LqrCfg(tilt=0.1), DT),
        axis_gains(fleet, LqrCfg(), 2.0 * DT),
    ):
        assert np.abs(other["x"] - first["x"]).max() > 1e-6
