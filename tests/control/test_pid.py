"""The cascaded PID controller against closed forms, the firmware's numbers and flights in the float64 dynamics."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from foundation.control.pid import CascadedPid, vehicle_columns
from foundation.control.pid_cfg import PidCfg
from foundation.control.pid_loop import PidLoop
from foundation.control.rotations import product, roll_pitch_yaw
from foundation.sim import reference
from foundation.sim.params import GRAVITY, QuadParams
from foundation.sim.vehicles import VEHICLES, cf2x_p250

DT = 0.01
LEVEL = [0.0, 0.0, 0.0, 1.0]
NAMED = [make() for make in VEHICLES.values()]
VEHICLE = QuadParams(**{f.name: np.concatenate([getattr(v, f.name) for v in NAMED]) for f in fields(QuadParams)})
"""All named vehicles in one table."""
P250 = list(VEHICLES).index("cf2x_P250")


def hovering(vehicles, pos_w=(0.0, 0.0, 0.0)):
    count = len(vehicles)
    zero, level = np.zeros((count, 3)), np.tile(LEVEL, (count, 1))
    return reference.QuadState(zero + pos_w, level, zero, zero, np.tile(vehicles.hover_speed[:, None], 4))


def commands(pid, state, vehicle=None, heading=None):
    count = len(state.pos_w)
    vehicle = torch.arange(count) if vehicle is None else vehicle
    given = [
        state.pos_w,
        state.quat_wb,
        state.vel_w,
        state.ang_vel_b,
        state.rotor,
        state.rotor,
        np.zeros((count, 3)),
    ]
    given = [torch.as_tensor(array, dtype=torch.float64) for array in given]
    return pid(vehicle, *given, heading=heading).numpy()


def controller(vehicles, cfg=None):
    return CascadedPid(vehicles, len(vehicles), cfg, dtype=torch.float64)


def fly(vehicles, state, seconds, force_w=0.0, cfg=None, heading=None):
    """Return the states of a flight in the float64 dynamics."""
    pid, force, states = controller(vehicles, cfg), np.zeros((len(vehicles), 3)) + force_w, [state]
    for _ in range(round(seconds / DT)):
        command = commands(pid, states[-1], heading=heading)
        states.append(reference.step(states[-1], command, vehicles, force, DT))
    return states


def accelerations(state, command, vehicles):
    """Return linear and angular acceleration once the rotors have followed the command, shape (N, 6)."""
    rate = reference.derivative(replace(state, rotor=command), command, vehicles, np.zeros((len(vehicles), 3)))
    return np.concatenate([rate.vel_w, rate.ang_vel_b], axis=1)


def shares(command, vehicles):
    """Return each rotor's thrust as a share of its full one, shape (N, 4)."""
    return reference.rotor_thrust(command, vehicles.thrust_curve) / (vehicles.max_thrust / 4)[:, None]


def test_the_gains_of_a_crazyflie_are_those_of_the_firmware_in_its_units():
    cfg, own = PidCfg(), {name: row[0] for name, row in vehicle_columns(cf2x_p250()).items()}
    degree, unit = math.radians(1.0), 1.0 / 65535.0
    roll, pitch, yaw = own["turn_share"]
    for share in (roll, pitch):
        # The firmware halves roll and pitch before it adds them to a rotor.
        for gain, expected in (
            (cfg.tilt_rate, 250.0),
            (cfg.tilt_rate_integral, 500.0),
            (cfg.tilt_rate_derivative, 2.5),
        ):
            assert gain * share * degree / unit * 2.0 == pytest.approx(expected, rel=1e-12)
    assert cfg.yaw_rate * yaw * degree / unit == pytest.approx(120.0, rel=1e-12)
    assert cfg.yaw_rate_integral * yaw * degree / unit == pytest.approx(16.7, rel=1e-12)
    assert cfg.vertical_velocity * own["lift_share"][0] / unit / 1000.0 == pytest.approx(25.0, rel=1e-12)
    assert cfg.vertical_velocity_integral * own["lift_share"][0] / unit / 1000.0 == pytest.approx(15.0, rel=1e-12)
    assert cfg.lateral_velocity / degree == pytest.approx(25.0)
    assert cfg.lateral_velocity_integral / degree == pytest.approx(1.0)


def test_the_share_of_an_acceleration_gives_that_acceleration_in_the_dynamics():
    own = vehicle_columns(VEHICLE)
    signs = own["signs"].reshape(-1, 4, 3)
    for axis in range(3):
        thrust = (own["hover_share"] + 0.5 * signs[:, :, axis] * own["turn_share"][:, axis, None]) * own[
            "full_thrust"
        ]
        np.testing.assert_allclose(
            reference.rotor_torque_b(thrust, VEHICLE) / np.diagonal(VEHICLE.inertia, axis1=1, axis2=2),
            np.tile(0.5 * np.eye(3)[axis], (len(VEHICLE), 1)),
            atol=1e-12,
        )
    lifted = 4.0 * (own["hover_share"] + 0.5 * own["lift_share"]) * own["full_thrust"]
    np.testing.assert_allclose(lifted[:, 0] / VEHICLE.mass, GRAVITY + 0.5)


def test_each_loop_acts_against_its_error_on_its_own_axis():
    vehicles = replace(VEHICLE, drag=0.0 * VEHICLE.drag)

    def answered(state):
        return accelerations(state, commands(controller(vehicles), state), vehicles)

    still = hovering(vehicles)
    rest = answered(still)
    np.testing.assert_allclose(rest, 0.0, atol=1e-9)
    small, turns = 0.01, {"x": 4, "y": 3, "z": 2}
    # What moves along +x must pitch backwards about -y; what moves along +y must roll about +x.
    for field in ("pos_w", "vel_w"):
        for column, (axis, sign) in enumerate(((turns["x"], -1.0), (turns["y"], 1.0), (turns["z"], -1.0))):
            moved = replace(still, **{field: getattr(still, field) + small * np.eye(3)[column]})
            answer = answered(moved)
            assert (sign * answer[:, axis] > 0.0).all()
            np.testing.assert_allclose(np.delete(answer, axis, axis=1), 0.0, atol=1e-9)
    for column in range(3):
        direction = np.eye(3)[column]
        spinning = replace(still, ang_vel_b=still.ang_vel_b + small * direction)
        answer = answered(spinning)
        assert (answer[:, 3 + column] < 0.0).all()
        np.testing.assert_allclose(np.delete(answer[:, 3:], column, axis=1), 0.0, atol=1e-2 * small)
        tilted = replace(still, quat_wb=still.quat_wb + np.append(small / 2 * direction, 0.0))
        answer = answered(tilted)
        assert (answer[:, 3 + column] < 0.0).all()


def test_a_small_displacement_passes_all_four_loops_with_the_product_of_their_gains():
    cfg, small, own = PidCfg(), 1e-4, vehicle_columns(VEHICLE)
    moved = hovering(VEHICLE, (small, 0.0, 0.0))
    pitch = -small * cfg.lateral_position * (cfg.lateral_velocity + DT * cfg.lateral_velocity_integral)
    rate = pitch * (cfg.attitude + DT * cfg.attitude_integral)
    turning = rate * (cfg.tilt_rate + DT * cfg.tilt_rate_integral) * own["turn_share"][:, 1]
    expected = own["hover_share"] + turning[:, None] * np.array([-1.0, 1.0, 1.0, -1.0])
    np.testing.assert_allclose(
        shares(commands(controller(VEHICLE), moved), VEHICLE), expected, rtol=0.0, atol=1e-12
    )


def test_every_named_vehicle_is_within_a_centimetre_five_seconds_after_starting_30_cm_away():
    states = fly(VEHICLE, hovering(VEHICLE, (0.2, -0.15, 0.165)), 5.0)
    assert np.linalg.norm(states[-1].pos_w, axis=1).max() < 0.01
    assert np.linalg.norm(states[-1].vel_w, axis=1).max() < 0.01
    assert max(np.linalg.norm(state.pos_w, axis=1).max() for state in states) < 0.31


def test_twice_the_rate_gains_still_fly_at_100_hz_and_eight_times_do_not():
    begin, rates = hovering(VEHICLE, (0.1, 0.1, 0.0)), {}
    for factor in (1.0, 2.0, 8.0):
        names = ("tilt_rate", "tilt_rate_integral", "tilt_rate_derivative")
        cfg = replace(PidCfg(), **{name: factor * getattr(PidCfg(), name) for name in names})
        last = fly(VEHICLE, begin, 2.0, cfg=cfg)[-30:]
        rates[factor] = max(np.abs(state.ang_vel_b[:, :2]).max() for state in last)
    assert max(rates[1.0], rates[2.0]) < 0.1
    assert rates[8.0] > 0.3


def test_the_integral_removes_the_error_of_a_constant_force_and_without_it_force_over_stiffness_stays():
    vehicles, tilt = VEHICLE[[P250, 4]], 0.05
    weight = vehicles.mass * GRAVITY
    # This force across leans the vehicle by the tilt; upwards, a tenth of the weight.
    force = np.column_stack([weight * math.tan(tilt), 0.0 * weight, 0.1 * weight])
    stiff = PidCfg(lateral_velocity_integral=0.3)
    errors = fly(vehicles, hovering(vehicles), 14.0, force, stiff)[-1].pos_w
    assert np.abs(errors).max() < 2e-3
    names = [f.name for f in fields(PidCfg) if f.name.endswith("_integral")]
    without = PidCfg(**dict.fromkeys(names, 0.0))
    errors = fly(vehicles, hovering(vehicles), 6.0, force, without)[-1].pos_w
    # The force upwards takes a tenth off the weight that the leaning thrust must carry.
    lean = math.atan(math.tan(tilt) / 0.9)
    np.testing.assert_allclose(
        errors[:, 0], lean / (without.lateral_velocity * without.lateral_position), rtol=1e-3
    )
    lift = GRAVITY * (0.9 / math.cos(lean) - 1.0)
    expected = -lift / (without.vertical_velocity * without.vertical_position)
    np.testing.assert_allclose(errors[:, 2], expected, rtol=1e-3)


def test_a_flight_turned_about_the_vertical_with_its_heading_is_the_turned_flight():
    vehicles, angle = VEHICLE[[P250, P250, P250]], np.array([0.7, -2.0, 3.1])
    heading = torch.as_tensor(angle)
    quat = np.column_stack([0 * angle, 0 * angle, np.sin(angle / 2), np.cos(angle / 2)])
    begin = replace(
        hovering(vehicles, (0.3, -0.2, 0.1)),
        quat_wb=np.tile(np.array([0.1, -0.05, 0.2, 1.0]) / np.linalg.norm([0.1, -0.05, 0.2, 1.0]), (3, 1)),
    )

    def turned(vectors):
        x, y, z = vectors.T
        cosine, sine = np.cos(angle), np.sin(angle)
        return np.column_stack([cosine * x - sine * y, sine * x + cosine * y, z])

    quat_wb = product(torch.as_tensor(quat), torch.as_tensor(begin.quat_wb)).numpy()
    other = replace(begin, pos_w=turned(begin.pos_w), quat_wb=quat_wb)
    plain, along = fly(vehicles, begin, 1.0)[-1], fly(vehicles, other, 1.0, heading=heading)[-1]
    np.testing.assert_allclose(along.pos_w, turned(plain.pos_w), atol=1e-9)
    np.testing.assert_allclose(along.ang_vel_b, plain.ang_vel_b, atol=1e-8)
    # With the heading left at zero it turns back.
    back = fly(vehicles, other, 1.0)[-1]
    assert np.abs(back.ang_vel_b - plain.ang_vel_b).max() > 1e-2


def test_an_environment_that_was_reset_flies_as_a_new_one_bit_for_bit_and_the_others_go_on():
    moved = hovering(VEHICLE, (0.3, 0.1, -0.2))
    moved = replace(moved, ang_vel_b=moved.ang_vel_b + 0.3)
    used, untouched = controller(VEHICLE), controller(VEHICLE)
    for _ in range(5):
        commands(used, moved), commands(untouched, moved)
    dones = torch.tensor([1, 0, 1, 0, 0, 0])
    used.reset(dones)
    after = replace(moved, ang_vel_b=moved.ang_vel_b - 0.1)
    new, old, got = (commands(pid, after) for pid in (controller(VEHICLE), untouched, used))
    done = dones.bool().numpy()
    np.testing.assert_array_equal(got[done], new[done])
    np.testing.assert_array_equal(got[~done], old[~done])
    assert (new != old).any(axis=1).all()
    used.reset()
    np.testing.assert_array_equal(commands(used, after), new)


def test_an_environment_flies_with_the_gains_of_its_own_row():
    moved, rows = hovering(VEHICLE, (0.02, 0.03, -0.02)), torch.tensor([4, 0, 3, 3, 5, 1])
    mixed = commands(controller(VEHICLE), moved, vehicle=rows)
    for env, row in enumerate(rows.tolist()):
        alone = commands(controller(VEHICLE[[row]]), hovering(VEHICLE[[row]], (0.02, 0.03, -0.02)))
        np.testing.assert_array_equal(mixed[env], alone[0])


def test_a_target_ten_times_as_far_is_not_answered_to_more():
    near, far = (commands(controller(VEHICLE), hovering(VEHICLE, (x, -x, 0.0))) for x in (5.0, 50.0))
    np.testing.assert_array_equal(near, far)


def test_a_velocity_error_that_stays_leans_every_vehicle_to_the_limit_and_no_further():
    pid, state, limit = controller(VEHICLE), hovering(VEHICLE), PidCfg().tilt_limit
    for _ in range(400):
        told = replace(state, pos_w=np.zeros((6, 3)), vel_w=np.tile([-3.0, 3.0, 0.0], (6, 1)))
        state = reference.step(state, commands(pid, told), VEHICLE, np.zeros((6, 3)), DT)
    angles = roll_pitch_yaw(torch.as_tensor(state.quat_wb)).numpy()
    # Forwards and to the right: positive pitch and roll.
    np.testing.assert_allclose(angles, np.tile([limit, limit, 0.0], (6, 1)), atol=0.03 * limit)


def test_no_command_leaves_the_range_and_none_is_undefined_in_any_attitude():
    rng = np.random.default_rng(5)
    rows, count = torch.arange(600) % 6, 600
    quat = rng.normal(size=(count, 4))
    state = reference.QuadState(
        5 * rng.normal(size=(count, 3)),
        quat / np.linalg.norm(quat, axis=1, keepdims=True),
        3 * rng.normal(size=(count, 3)),
        9 * rng.normal(size=(count, 3)),
        rng.uniform(size=(count, 4)),
    )
    pid = CascadedPid(VEHICLE, count, dtype=torch.float64)
    for _ in range(3):
        command = commands(pid, state, vehicle=rows)
        assert 0.0 <= command.min() < command.max() == 1.0


def test_the_integral_of_a_loop_grows_to_its_limit_and_leaves_it_at_once():
    loop = PidLoop(1, DT, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.5, 0.5, 0.5), dtype=torch.float64)
    one = torch.ones(1, 3, dtype=torch.float64)
    for step in range(1, 200):
        np.testing.assert_allclose(loop(one), min(step * DT, 0.5))
    np.testing.assert_allclose(loop(-one), 0.5 - DT)


def test_a_derivative_is_of_the_measurement_over_a_step_and_does_not_see_a_whole_turn():
    gains = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (2.0, 2.0, 2.0))
    loop = PidLoop(1, DT, *gains, wraps=True, dtype=torch.float64)
    angle = torch.full((1, 3), math.pi - 0.01, dtype=torch.float64)
    np.testing.assert_array_equal(loop(angle, angle), 0.0)
    np.testing.assert_allclose(loop(0.0 * angle, angle + 0.03 - 2.0 * math.pi), -2.0 * 0.03 / DT, rtol=1e-9)


@pytest.mark.parametrize("name", ["lateral_velocity", "tilt_limit", "attitude_integral_limit"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_gains_and_limits_that_cannot_fly_are_refused(name, value):
    with pytest.raises(ValueError, match=rf"PidCfg\.{name} must be finite and positive, got"):
        PidCfg(**{name: value})


def test_an_integral_may_be_left_out_and_a_share_is_at_most_one():
    assert PidCfg(lateral_velocity_integral=0.0).lateral_velocity_integral == 0.0
    with pytest.raises(ValueError, match=r"PidCfg\.least_thrust is a share and must be at most 1, got 1\.5"):
        PidCfg(least_thrust=1.5)
    with pytest.raises(ValueError, match=r"CascadedPid\.num_envs must be positive, got 0"):
        CascadedPid(cf2x_p250(), 0)
