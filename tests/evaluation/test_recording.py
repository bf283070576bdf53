"""Recordings against states kept by hand."""

from __future__ import annotations

import numpy as np
import torch

import foundation
from foundation.evaluation.flights import fly
from foundation.evaluation.recording import Recorder, record
from tests.evaluation.test_flights import OVERRIDES, hover, wobble


def make(num_envs=64):
    return foundation.make_env("distillation", num_envs, seed=4, overrides=OVERRIDES)


def test_states_are_those_before_each_step_and_nan_after_the_first_episode():
    flight, env = record(make(), wobble, 60), make()
    obs, alive = env.get_observations(), torch.ones(64, dtype=torch.bool)
    for step in range(60):
        seen = torch.as_tensor(flight.pos_w[step])
        torch.testing.assert_close(seen[alive], env.sim.pos_w[alive], rtol=0, atol=0)
        assert seen[~alive].isnan().all()
        actions = wobble(obs)
        np.testing.assert_array_equal(flight.actions[step][alive], actions[alive].clamp(-1, 1))
        obs, _, dones, _ = env.step(actions)
        alive &= dones == 0
    assert 0 < (flight.length < 60).sum() < 64


def test_labels_are_what_the_other_policy_would_have_done_in_the_same_states():
    env = make()
    recorder = Recorder(env, 16, label=hover)
    fly(env, wobble, recorder=recorder)
    flight, unlabelled = recorder.recording(), record(make(), wobble, 60)
    np.testing.assert_array_equal(flight.pos_w, unlabelled.pos_w[:, :16])
    flown = ~np.isnan(flight.labels)
    assert (flown == ~np.isnan(flight.actions)).all()
    # The hover action is a trait of the vehicle: constant along a flight, and not what wobble does.
    labels = np.where(flown, flight.labels, 0.0)
    np.testing.assert_allclose(labels[flight.length - 1, np.arange(16)], flight.labels[0], rtol=1e-6)
    assert np.nanmax(np.abs(flight.labels - flight.actions)) > 0.4


def test_tilt_is_the_angle_of_the_body_axis_to_the_vertical():
    env = make(4)
    half = torch.tensor([0.0, 0.2, 0.8, 1.5])
    env.sim.quat_wb.zero_()
    env.sim.quat_wb[:, 0], env.sim.quat_wb[:, 3] = torch.sin(half), torch.cos(half)
    np.testing.assert_allclose(record(env, hover, 1).tilt[0], 2.0 * half, atol=1e-3)
