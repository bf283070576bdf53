"""Bounds of the Crazyflie's controller are the same at every heading: the policy's frame turns with it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foundation.export.c_header import Origin
from foundation.export.crazyflie import Vehicle, flown_cfg
from foundation.export.errors import ExportError
from foundation.export.exporter import Source, export
from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg
from tests.export.firmware import BY_PID, HOVER, STILL, TARGET, index_of
from tests.export.models import policy

HEADINGS = np.radians([0.0, 30.0, 45.0, 90.0, 135.0, 200.0, -60.0])


def about_z(vector: np.ndarray, angle: float) -> np.ndarray:
    """Return a world vector, shape (3,), turned about z by an angle [rad]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1], vector[2]])


def whole_turned(state: np.ndarray, angle: float) -> np.ndarray:
    """Return a state, shape (10,), turned about z by an angle [rad]."""
    x, y, z, w = state[3:7]
    c, s = np.cos(0.5 * angle), np.sin(0.5 * angle)
    quat = np.array([c * x - s * y, c * y + s * x, c * z + s * w, c * w - s * z])
    return np.concatenate([about_z(state[:3], angle), quat, about_z(state[7:], angle)])


def forces(controller, state, gyro_deg, target, angle: float, yaw: bool = True) -> np.ndarray:
    """Return the forces of the first call of a flight in a world turned by an angle [rad]."""
    assert controller.init()
    yaw_deg = np.degrees(angle) if yaw else None
    return controller.control(whole_turned(state, angle), gyro_deg, about_z(target, angle), yaw_deg)


@pytest.mark.parametrize("yaw", [True, False], ids=["yaw setpoint", "held heading"])
def test_turning_the_whole_state_about_z_changes_neither_a_command_nor_a_stop(controller, vehicle, yaw):
    rng = np.random.default_rng(5)
    stopped = []
    for _ in range(60):
        # Fast enough that about half of the vehicles leave a bound.
        quat = rng.normal(size=4) * [0.2, 0.2, 0.1, 0.0] + [0.0, 0.0, 0.0, 1.0]
        velocity = rng.uniform(-1.2, 1.2, 3) * vehicle.max_velocity
        gyro_deg = np.degrees(rng.uniform(-1.1, 1.1, 3) * vehicle.max_angular_velocity)
        state = np.concatenate([TARGET + rng.uniform(-1.0, 1.0, 3), quat / np.linalg.norm(quat), velocity])
        level = forces(controller, state, gyro_deg, TARGET, 0.0, yaw)
        stopped.append(not level.any())
        for angle in HEADINGS:
            turned = forces(controller, state, gyro_deg, TARGET, angle, yaw)
            assert (not turned.any()) == stopped[-1]
            np.testing.assert_allclose(turned, level, atol=2e-5)
    assert 5 < sum(stopped) < 55


@pytest.mark.parametrize("angle", HEADINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_velocity_is_bounded_per_axis_of_the_policys_frame(controller, vehicle, angle, axis, sign):
    bound = vehicle.max_velocity
    # All three axes close to the bound are within it, though the vehicle is 1.7 times as fast.
    inside = index_of({7: 0.99 * bound, 8: 0.99 * bound, 9: 0.99 * bound}, HOVER)
    inside[7 + axis] *= sign
    outside = index_of({7 + axis: 1.01 * sign * bound}, HOVER)
    assert forces(controller, inside, STILL, TARGET, angle).any()
    assert not forces(controller, outside, STILL, TARGET, angle).any()


def test_the_same_velocity_along_the_diagonal_of_the_policys_frame_and_along_its_axis_differ(controller, vehicle):
    speed = 1.3 * vehicle.max_velocity
    along_axis = index_of({7: speed}, HOVER)
    diagonal = index_of({7: speed / np.sqrt(2.0), 8: speed / np.sqrt(2.0)}, HOVER)
    assert not forces(controller, along_axis, STILL, TARGET, 0.0).any()
    assert forces(controller, diagonal, STILL, TARGET, 0.0).any()


@pytest.mark.parametrize("angle", HEADINGS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_angular_velocity_is_bounded_per_axis_of_the_body(controller, vehicle, angle, axis):
    bound_deg = np.degrees(vehicle.max_angular_velocity)
    for sign in (-1.0, 1.0):
        inside, outside = np.full(3, 0.99 * sign * bound_deg), np.zeros(3)
        outside[axis] = 1.01 * sign * bound_deg
        assert forces(controller, HOVER, inside, TARGET, angle).any()
        assert not forces(controller, HOVER, outside, TARGET, angle).any()


@pytest.mark.parametrize("angle", HEADINGS)
def test_the_other_cut_offs_are_the_same_at_every_heading(controller, angle):
    for size, flies in ((0.96, True), (0.94, False), (1.04, True), (1.06, False)):
        scaled = HOVER.copy()
        scaled[3:7] *= size
        # The squared norm of the quaternion may be 0.9 to 1.1.
        assert forces(controller, scaled, STILL, TARGET, angle).any() == flies
    low = index_of({2: 0.29}, HOVER)
    np.testing.assert_array_equal(forces(controller, low, STILL, TARGET, angle), BY_PID)
    assert (forces(controller, index_of({2: 0.31}, HOVER), STILL, TARGET, angle) > -1.0).all()
    np.testing.assert_array_equal(forces(controller, HOVER, STILL, TARGET * [1, 1, 0.2], angle), BY_PID)
    assert not forces(controller, HOVER, STILL, TARGET * [1, np.nan, 1], angle).any()


@pytest.mark.parametrize("angle", HEADINGS)
def test_the_limit_of_the_distance_acts_in_the_policys_frame(controller, vehicle, angle):
    target = np.array([9.0, -0.2, 1.1])
    turned = whole_turned(HOVER, angle)
    obs = controller.observe(turned, STILL, about_z(target, angle), np.degrees(angle), np.zeros(4))
    np.testing.assert_allclose(obs[:3], [-vehicle.reach, 0.2, -0.1], atol=1e-6)


@pytest.mark.parametrize("angle", HEADINGS)
def test_the_largest_turn_at_once_is_the_same_at_every_heading(controller, vehicle, angle):
    state = whole_turned(HOVER, angle)
    for turn in (-2.0, -0.1, 0.2, 2.0):
        expected = np.clip(turn, -vehicle.heading_reach, vehicle.heading_reach)
        flown = controller.next_heading(state, angle + turn) - angle
        assert (flown - expected + np.pi) % (2.0 * np.pi) - np.pi == pytest.approx(0.0, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "message"), [("max_velocity", "velocity"), ("max_angular_velocity", "angular velocity")]
)
def test_a_policy_that_leaves_the_bounds_is_reported_as_that_and_not_as_a_wrong_export(name, message, tmp_path):
    cfg = flown_cfg(PointCtrlEnvCfg(num_envs=3))
    made = Vehicle.of(cfg, PointCtrlEnv(cfg).nominal)
    # A controller that is stricter than the task: the task lets the policy fly on where the controller stops it.
    source = Source(policy("gru"), Origin("run", 100.0), lambda: PointCtrlEnv(cfg), replace(made, **{name: 0.4}))
    with pytest.raises(
        ExportError, match=rf"leaves the bounds of its controller.*: {message} \S+, bound 0.4"
    ) as caught:
        export(source, "crazyflie", tmp_path)
    assert f"env.termination.{message.replace(' ', '_')}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_episodes_that_leave_the_tasks_bounds_are_counted(tmp_path):
    cfg = flown_cfg(PointCtrlEnvCfg(num_envs=3))
    source = Source(
        policy("gru"), Origin("run", 100.0), lambda: PointCtrlEnv(cfg), Vehicle.of(cfg, PointCtrlEnv(cfg).nominal)
    )
    made = export(source, "crazyflie", tmp_path)
    # Oracle: the same policy in the same task.
    env, model, left = PointCtrlEnv(cfg), policy("gru"), 0
    obs = env.get_observations()
    for _ in range(1000):
        obs, _, dones, extras = env.step(model(obs).detach())
        model.reset(dones)
        left += int(((dones > 0) & ~extras["time_outs"]).sum())
    assert left > 0
    assert made.agreement.terminated == left
    assert f"left its bounds {left} times, where the controller stops the motors" in made.facts
