"""Metrics of flights against sums kept by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import foundation
from foundation.evaluation.flights import FlightMetrics, fly
from foundation.evaluation.recording import record

OVERRIDES = ["env.episode_steps=60", "env.metrics.window=0.2", "env.metrics.settle_radius=0.5"]


def make(num_envs=128):
    return foundation.make_env("distillation", num_envs, seed=4, overrides=OVERRIDES)


def hover(obs):
    return obs["teacher"][:, 29:30].expand(-1, 4)


def wobble(obs):
    """Fly some vehicles to a crash and leave others in the air."""
    return hover(obs) + 0.5 * (obs["teacher"][:, 33:34] > 0) * torch.tensor([1.0, -1.0, 1.0, -1.0])


def test_only_the_first_episode_of_each_environment_counts():
    env = make()
    running = torch.ones(128, dtype=torch.bool)
    returns = torch.zeros(128)
    survived = torch.zeros(128, dtype=torch.bool)
    obs = env.get_observations()
    restarted = 0
    for _ in range(60):
        obs, reward, done, extras = env.step(wobble(obs))
        returns += reward * running
        survived |= running & extras["time_outs"]
        restarted += int((done > 0).sum())
        running &= done == 0
    metrics = fly(make(), wobble)
    assert 0.1 < metrics.survival < 0.97
    assert restarted > 128 * metrics.survival  # some episodes ended early
    assert metrics.survival == pytest.approx(survived.double().mean().item())
    assert metrics.mean_return == pytest.approx(returns.mean().item(), rel=1e-5)


def test_errors_are_taken_over_survivors_and_settle_times_over_the_settled():
    flight = record(make(), wobble, 60)
    metrics = fly(make(), wobble)
    distance = np.linalg.norm(flight.pos_w, axis=-1)  # before each step, NaN after an episode's end
    survivors = ~np.isnan(distance[-1])
    # The recorded distances are one step older than the measured ones; at hover that is a small shift.
    expected = np.sqrt(np.mean(distance[-20:, survivors] ** 2))
    assert metrics.position_rmse_m == pytest.approx(expected, rel=0.03)
    settled = distance[-1] <= 0.5
    assert metrics.settled == pytest.approx(settled.mean(), abs=0.03)
    assert 0 <= metrics.settle_time_s < 0.6


def test_undefined_metrics_become_null():
    metrics = FlightMetrics(0.0, -1.0, float("nan"), float("nan"), 0.0, float("nan"))
    assert metrics.to_dict() == {
        "survival": 0.0,
        "mean_return": -1.0,
        "position_rmse_m": None,
        "settle_time_s": None,
        "settled": 0.0,
        "command_rate": None,
    }


def test_a_recording_starts_at_the_first_state_and_ends_with_the_episode():
    env = make()
    start = env.sim.pos_w.clone()
    flight = record(env, lambda obs: torch.full((128, 4), -1.0), 60)
    np.testing.assert_array_equal(flight.pos_w[0], start.numpy())
    gone = np.isnan(flight.pos_w).any(axis=(0, 2))
    assert gone.any()  # falling vehicles leave the bounds
    assert not np.isnan(flight.pos_w[:5]).any()
    assert flight.time[1] == pytest.approx(0.01)
