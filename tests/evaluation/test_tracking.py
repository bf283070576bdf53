"""Figures of flights along paths, from flights that were made up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import foundation
from foundation.evaluation.tracking.baselines import PidPolicy, quaternion
from foundation.evaluation.tracking.flight import TrackedFlight, joined, track
from foundation.evaluation.tracking.setup import make_paths, reference_table, tracking_cfg
from foundation.evaluation.tracking.statistics import statistics
from foundation.sim import reference
from foundation.tasks import create_env

STEPS, DT = 400, 0.01
rng = np.random.default_rng(0)


def made_up(error, heading=0.0, velocity=(0.3, 0.0, 0.4), actions=0.0, lost=None):
    """Return a flight that is off by ``error`` (T, N, 3), or by the same in every step."""
    desired = rng.normal(size=(STEPS, 2, 3))
    actual = desired + np.broadcast_to(error, desired.shape)
    columns = {
        "desired_pos": desired,
        "actual_pos": actual,
        "desired_vel": np.zeros_like(desired),
        "actual_vel": np.broadcast_to(velocity, desired.shape).copy(),
        "heading_error": np.full((STEPS, 2), heading),
        "actions": np.broadcast_to(np.asarray(actions, dtype=float), (STEPS, 2, 4)).copy(),
    }
    survived = np.ones(2, dtype=bool)
    if lost is not None:
        vehicle, step = lost
        survived[vehicle] = False
        for values in columns.values():
            values[step:, vehicle] = np.nan
    return TrackedFlight(DT, **columns, mass=np.array([0.03, 2.0]), survived=survived, path=np.arange(2))


def test_a_constant_error_is_its_own_mean_median_and_maximum_without_deviation():
    figures = statistics(made_up((0.3, 0.4, 1.2), heading=0.1), 0)["overall"]
    assert figures["rmse_m"] == pytest.approx(1.3)
    assert figures["rmse_xy_m"] == pytest.approx(0.5)
    assert figures["mean_m"] == figures["median_m"] == pytest.approx(1.3)
    assert figures["max_m"] == figures["p95_m"] == pytest.approx(1.3)
    assert figures["std_m"] == pytest.approx(0.0, abs=1e-12)
    assert figures["heading_rmse_deg"] == pytest.approx(np.degrees(0.1))
    assert figures["largest_speed_mps"] == pytest.approx(0.5)
    assert figures["survival"] == 1.0


def test_the_figures_of_random_errors_are_those_of_their_distribution():
    error = rng.normal(scale=0.02, size=(STEPS, 2, 3))
    figures = statistics(made_up(error), 0)["overall"]
    distance = np.linalg.norm(error, axis=-1)
    assert figures["rmse_m"] == pytest.approx(np.sqrt(np.mean(distance**2)))
    assert figures["p95_m"] == pytest.approx(np.percentile(distance, 95))
    assert figures["median_m"] == pytest.approx(np.median(distance))
    # Maxwell's distribution: the mean of three normal components' length is 2 sigma sqrt(2 / pi).
    assert figures["mean_m"] == pytest.approx(0.02 * 2.0 * np.sqrt(2.0 / np.pi), rel=0.05)


def test_errors_before_the_first_step_that_counts_do_not_count():
    error = np.full((STEPS, 2, 3), 0.0)
    error[:100] = 9.0
    flight = made_up(error)
    assert statistics(flight, 100)["overall"]["max_m"] == pytest.approx(0.0, abs=1e-12)
    assert statistics(flight, 99)["overall"]["max_m"] > 9.0
    with pytest.raises(ValueError, match=r"0 \.\.\. 399, got 400"):
        statistics(flight, STEPS)


def test_a_lost_vehicle_counts_until_it_is_lost_and_lowers_survival():
    error = np.zeros((STEPS, 2, 3))
    error[:, 1, 0] = 0.2
    result = statistics(made_up(error, lost=(1, 100)), 0)
    assert result["overall"]["survival"] == 0.5
    assert result["overall"]["rmse_m"] == pytest.approx(0.2 * np.sqrt(100 / (STEPS + 100)))
    assert result["per_vehicle"][1]["rmse_m"] == pytest.approx(0.2)
    assert [one["survival"] for one in result["per_vehicle"]] == [1.0, 0.0]
    late = statistics(made_up(error, lost=(1, 100)), 150)
    assert late["per_vehicle"][1]["rmse_m"] is None


def test_the_command_rate_is_the_mean_change_of_an_action_per_step():
    ramp = np.linspace(-1.0, 1.0, STEPS)[:, None, None] * np.array([1.0, 0.0, -1.0, 0.0])
    assert statistics(made_up(0.0, actions=ramp), 0)["overall"]["command_rate"] == pytest.approx(1.0 / (STEPS - 1))


def test_joined_flights_hold_all_vehicles_side_by_side():
    first, second = made_up(0.1), made_up(0.2, lost=(0, 50))
    both = joined([first, second])
    assert both.actual_pos.shape == (STEPS, 4, 3)
    assert both.survived.tolist() == [True, True, False, True]
    np.testing.assert_array_equal(both.position_error[:, 2:], second.position_error)


def test_a_quaternion_of_a_rotation_matrix_rotates_alike():
    quats = np.random.default_rng(1).normal(size=(500, 4))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    # Half turns about each axis, where the naive formula divides by zero.
    quats[:4] = np.eye(4)
    matrices = reference.rotation_matrix(quats)
    found = quaternion(torch.as_tensor(matrices).reshape(-1, 9))
    np.testing.assert_allclose(reference.rotation_matrix(found.numpy()), matrices, atol=1e-12)


def flown(policy_of, name, parameters, overrides=(), num_envs=4):
    env = foundation.make_env("distillation", num_envs, overrides=["env.randomization.family=none", *overrides])
    env = create_env("distillation", tracking_cfg(env.cfg), "cpu", 0)
    table = reference_table(make_paths(name, parameters, num_envs), env, 0)
    return env, track(env, policy_of(env), table)


def test_a_policy_that_stops_the_rotors_loses_every_vehicle_two_metres_below_the_path():
    _, flight = flown(lambda env: lambda obs: torch.full((4, 4), -1.0), "hover", {})
    assert not flight.survived.any()
    length = (~np.isnan(flight.heading_error)).sum(axis=0)
    # Free fall of 2 m takes 0.64 s, rotors that run down and drag make it longer.
    assert ((length > 64) & (length < 100)).all()
    lowest = np.nanmin(flight.position_error[..., 2], axis=0)
    assert ((lowest < -1.85) & (lowest > -2.0)).all()


def test_flights_begin_on_the_path_with_its_velocity():
    _, flight = flown(lambda env: PidPolicy(env), "circle", {"speed": 1.0})
    np.testing.assert_allclose(flight.position_error[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(flight.velocity_error[0], 0.0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(flight.desired_vel, axis=-1), 1.0, rtol=1e-5)


def test_paths_that_repeat_begin_at_phases_spread_evenly_unless_one_is_given():
    _, spread = flown(lambda env: PidPolicy(env), "circle", {"speed": 1.0})
    angles = np.sort(np.arctan2(spread.desired_pos[0, :, 1], spread.desired_pos[0, :, 0]) % (2 * np.pi))
    # Each episode draws one of the four phases.
    assert np.allclose(angles / (np.pi / 2), np.round(angles / (np.pi / 2)), atol=1e-5)
    assert len(np.unique(np.round(angles, 3))) > 1
    _, given = flown(lambda env: PidPolicy(env), "circle", {"speed": 1.0, "phase": 0.25})
    np.testing.assert_allclose(given.desired_pos[0], [[0.0, 1.0, 0.0]] * 4, atol=1e-6)


def test_the_pid_turns_with_the_path():
    _, straight = flown(lambda env: PidPolicy(env), "circle", {"speed": 0.5, "phase": 0.0})
    _, turned = flown(lambda env: PidPolicy(env), "circle", {"speed": 0.5, "phase": 0.0, "heading": 2.0})
    assert abs(np.nanmean(turned.heading_error[200:])) < 0.1
    error = [np.sqrt(np.nanmean(flight.position_error[100:] ** 2)) for flight in (straight, turned)]
    assert error[1] == pytest.approx(error[0], rel=0.2)


def test_the_environments_of_two_policies_follow_the_same_references():
    _, first = flown(lambda env: PidPolicy(env), "langevin", {})
    _, second = flown(lambda env: lambda obs: torch.full((4, 4), 0.5), "langevin", {})
    known = ~np.isnan(second.desired_pos)
    np.testing.assert_array_equal(first.desired_pos[known], second.desired_pos[known])
