"""The Crazyflie's controller against the simulator: every conversion, the loop's rate, and when motors stop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foundation.export.c_header import Origin
from foundation.export.crazyflie import Vehicle, flown_cfg, write_crazyflie
from foundation.export.crazyflie_stepper import Controller, firmware_state, quaternion
from foundation.export.errors import ExportError
from foundation.sim.simulator import Simulator
from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg, SimCfg
from tests.export.firmware import BY_PID, HOVER, STILL, TARGET, index_of, turned


def flying_env() -> PointCtrlEnv:
    """Vehicles in any attitude, within the reach of a setpoint."""
    cfg = flown_cfg(PointCtrlEnvCfg(num_envs=64))
    cfg.init.tilt, cfg.init.position = 3.0, 0.4
    return PointCtrlEnv(cfg, seed=3)


@pytest.mark.parametrize("yaw_deg", [0.0, 40.0, -170.0])
def test_what_the_simulator_observes_is_what_the_controller_makes_of_the_estimate(controller, vehicle, yaw_deg):
    env = flying_env()
    obs = env.get_observations()["student"].numpy().astype(np.float64)
    for row in obs:
        state, gyro_deg = firmware_state(row, TARGET, yaw_deg)
        np.testing.assert_allclose(controller.observe(state, gyro_deg, TARGET, yaw_deg, row[18:]), row, atol=2e-6)


def test_the_estimate_is_the_simulators_state_where_target_and_heading_are_zero(controller):
    env = flying_env()
    obs = env.get_observations()["student"].numpy().astype(np.float64)
    for index, row in enumerate(obs):
        state, gyro_deg = firmware_state(row, np.zeros(3), 0.0)
        np.testing.assert_allclose(state[:3], env.sim.pos_w[index], atol=1e-6)
        np.testing.assert_allclose(state[7:], env.sim.vel_w[index], atol=1e-6)
        np.testing.assert_allclose(np.radians(gyro_deg), env.sim.ang_vel_b[index], atol=1e-6)
        assert abs(state[3:7] @ env.sim.quat_wb[index].double().numpy()) == pytest.approx(1.0, abs=1e-6)


def test_quaternions_of_half_turns_about_every_axis_are_found():
    for axis in range(3):
        matrix = -np.eye(3)
        matrix[axis, axis] = 1.0
        np.testing.assert_allclose(np.abs(quaternion(matrix)), np.eye(4)[axis], atol=1e-15)


def test_a_target_far_away_is_observed_at_the_reach_of_the_training_and_no_farther(controller, vehicle):
    far = controller.observe(HOVER, STILL, np.array([9.0, -9.0, 1.1]), 0.0, np.zeros(4))
    np.testing.assert_allclose(far[:3], [-vehicle.reach, vehicle.reach, -0.1], atol=1e-7)


@pytest.mark.parametrize("action", [-0.5, 0.0, 0.3, 1.0])
def test_the_commanded_force_is_the_thrust_of_the_simulators_rotors_at_that_action(
    controller, vehicle, nominal, action
):
    sim = Simulator(nominal, 1, dt=1e-4)
    speed = 0.5 * (action + 1.0)
    sim.rotor[:] = speed
    sim.step(torch.full((1, 4), speed))
    # Level, with rotors in their steady state and too early for drag, all acceleration is thrust less weight.
    acceleration = sim.vel_w[0, 2].item() / sim.dt
    thrust = nominal.mass[0] * (acceleration + 9.81) / 4.0
    assert controller.normalized_force(action) * vehicle.full_thrust == pytest.approx(thrust, rel=1e-3)
    inverse = 2.0 * vehicle.speed(np.array(controller.normalized_force(action) * vehicle.full_thrust)) - 1.0
    assert inverse == pytest.approx(action, abs=1e-5)


def test_at_the_hover_action_four_rotors_carry_the_nominal_weight(controller, vehicle, nominal):
    force = controller.normalized_force(controller.hover_action()) * vehicle.full_thrust
    assert 4.0 * force == pytest.approx(nominal.mass[0] * 9.81, rel=1e-5)


def test_motors_are_numbered_as_the_simulators_rotors(nominal):
    # Crazyflie: M1 front-right, M2 back-right, M3 back-left, M4 front-left; M1 and M3 turn counter-clockwise.
    np.testing.assert_array_equal(np.sign(nominal.rotor_pos_b[0, :, :2]), [[1, -1], [-1, -1], [-1, 1], [1, 1]])
    np.testing.assert_array_equal(nominal.rotor_spin[0], [1, -1, 1, -1])


def test_the_policy_steps_at_a_hundred_hertz_and_its_command_is_held_in_between(controller):
    forces = np.stack([controller.control(HOVER, STILL, TARGET) for _ in range(40)])
    blocks = forces.reshape(4, 10, 4)
    np.testing.assert_array_equal(blocks, np.broadcast_to(blocks[:, :1], blocks.shape))
    # From the first call on, and a recurrent policy answers the same observation differently the next time.
    assert (blocks > 0.0).all()
    assert (np.abs(np.diff(blocks[:, 0], axis=0)).max(axis=1) > 0.0).all()


@pytest.mark.parametrize("state", [{"enabled": False}, {"has_position": False}])
def test_the_firmwares_own_controller_flies_until_it_is_enabled_and_whenever_there_is_no_position(
    controller, state
):
    first = controller.control(HOVER, STILL, TARGET)
    for _ in range(10):
        controller.control(HOVER, STILL, TARGET)
    np.testing.assert_array_equal(controller.control(HOVER, STILL, TARGET, **state), BY_PID)
    # The policy forgot: it begins its next flight as the first one.
    np.testing.assert_array_equal(controller.control(HOVER, STILL, TARGET), first)


def test_nothing_is_flown_by_the_policy_before_it_is_enabled(controller):
    np.testing.assert_array_equal(controller.control(HOVER, STILL, TARGET, enabled=False), BY_PID)


BAD = {
    "position that is NaN": {"state": index_of({0: np.nan}, HOVER)},
    "height that is infinite": {"state": index_of({2: np.inf}, HOVER)},
    "attitude that is none": {"state": index_of({6: 0.2}, HOVER)},
    "velocity beyond the bound": {"state": index_of({7: 5.1}, HOVER)},
    "velocity that is NaN": {"state": index_of({9: np.nan}, HOVER)},
    "rate beyond the bound": {"gyro_deg": np.array([0.0, 2100.0, 0.0])},
    "rate that is NaN": {"gyro_deg": np.array([0.0, 0.0, np.nan])},
    "target that is NaN": {"target": np.array([np.nan, 0.0, 1.3])},
    "target that is infinite": {"target": np.array([0.0, 0.0, np.inf])},
    "heading that is NaN": {"yaw_deg": np.nan},
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_not_sane_stops_the_motors_until_the_policy_is_disabled(controller, what):
    good = {"state": HOVER, "gyro_deg": STILL, "target": TARGET}
    assert controller.control(**good).max() > 0.0
    np.testing.assert_array_equal(controller.control(**(good | BAD[what])), 0.0)
    for _ in range(20):
        np.testing.assert_array_equal(controller.control(**good), 0.0)
    # Losing the link for a moment does not start them again.
    np.testing.assert_array_equal(controller.control(**good, has_position=False), 0.0)
    np.testing.assert_array_equal(controller.control(**good), 0.0)
    np.testing.assert_array_equal(controller.control(**good, enabled=False), BY_PID)
    assert controller.control(**good).max() > 0.0


@pytest.mark.parametrize("here", [0.0, 1.0, 3.0, -3.0])
def test_a_far_heading_is_approached_step_by_step_the_short_way_round(controller, vehicle, here):
    reach = vehicle.heading_reach
    assert 0.0 < reach < 0.5
    for wanted in (here, here + 0.5 * reach, here + 7.0 * reach, here - 2.0, here + 3.0, here + 2.0 * np.pi):
        turn = (wanted - here + np.pi) % (2.0 * np.pi) - np.pi
        expected = here + np.clip(turn, -reach, reach)
        assert controller.next_heading(turned(here), wanted) == pytest.approx(expected, abs=1e-5)


def test_pid_flies_close_to_the_ground_which_the_policy_has_never_seen(controller):
    low_target, low = np.array([0.1, -0.2, 0.1]), index_of({2: 0.1}, HOVER)
    np.testing.assert_array_equal(controller.control(HOVER, STILL, low_target), BY_PID)
    np.testing.assert_array_equal(controller.control(low, STILL, TARGET), BY_PID)
    assert controller.control(HOVER, STILL, TARGET).max() > 0.0
    # Once it flies it may sink, but it lands nowhere.
    assert controller.control(low, STILL, TARGET).max() > 0.0
    np.testing.assert_array_equal(controller.control(low, STILL, low_target), BY_PID)


@pytest.mark.parametrize("change", [{"enabled": False}, {"has_position": False}, {"target": np.zeros(3)}])
def test_pid_is_reset_whenever_the_policy_hands_back_and_at_no_other_time(controller, change):
    flown = {"state": HOVER, "gyro_deg": STILL, "target": TARGET}
    before = controller.pid_resets()
    for _ in range(3):
        controller.control(**flown)
    assert controller.pid_resets() == before
    for _ in range(3):
        # A setpoint with thrust, so that PID by itself has no reason to.
        np.testing.assert_array_equal(controller.control(**(flown | change)), BY_PID)
    assert controller.pid_resets() == before + 1


def test_a_yaw_setpoint_that_ends_leaves_the_heading_where_it_was(controller):
    for _ in range(10):
        controller.control(HOVER, STILL, TARGET, yaw_deg=90.0)
    kept = controller.control(HOVER, STILL, TARGET, yaw_deg=None)
    controller.control(HOVER, STILL, TARGET, enabled=False)
    for _ in range(10):
        controller.control(HOVER, STILL, TARGET, yaw_deg=90.0)
    np.testing.assert_array_equal(controller.control(HOVER, STILL, TARGET, yaw_deg=90.0), kept)
    controller.control(HOVER, STILL, TARGET, enabled=False)
    for _ in range(11):
        other = controller.control(HOVER, STILL, TARGET, yaw_deg=0.0)
    assert np.abs(other - kept).max() > 1e-4


def test_without_a_yaw_setpoint_the_heading_at_the_beginning_is_held(controller):
    fresh = controller.control(turned(2.0), STILL, TARGET, yaw_deg=None)
    controller.control(HOVER, STILL, TARGET, enabled=False)
    same = controller.control(turned(2.0), STILL, TARGET, yaw_deg=np.degrees(2.0))
    np.testing.assert_allclose(fresh, same, atol=1e-6)
    controller.control(HOVER, STILL, TARGET, enabled=False)
    assert np.abs(controller.control(turned(2.0), STILL, TARGET, yaw_deg=0.0) - fresh).max() > 1e-4


def test_motors_too_weak_for_the_policy_fail_the_self_test_and_leave_the_flight_to_pid(library, vehicle):
    # The firmware's full thrust with the thrust-upgrade kit and with standard motors.
    assert Controller(library, 0.18).init()
    weak = Controller(library, 0.12)
    assert not weak.init()
    np.testing.assert_array_equal(weak.control(HOVER, STILL, TARGET), BY_PID)


def test_the_app_configures_the_propellers_that_the_vehicle_needs(tmp_path, vehicle):
    for name, curve in (("upgraded", vehicle.thrust_curve), ("standard", (0.0, 0.0, 0.12))):
        (tmp_path / name).mkdir()
        write_crazyflie("", replace(vehicle, thrust_curve=curve), Origin("run", 100.0), tmp_path / name)
    assert "CONFIG_CRAZYFLIE_THRUST_UPGRADE_KIT=y" in (tmp_path / "upgraded" / "app-config").read_text()
    assert "UPGRADE" not in (tmp_path / "standard" / "app-config").read_text()


def test_a_rate_that_the_firmware_has_no_loop_for_is_refused():
    cfg = PointCtrlEnvCfg(num_envs=1, sim=SimCfg(dt=0.007))
    with pytest.raises(
        ExportError, match=r"env.sim.dt=0.007 fits no loop of the firmware; it has 1000, 500, 250, 100"
    ):
        Vehicle.of(cfg, PointCtrlEnv(PointCtrlEnvCfg(num_envs=1)).nominal)
