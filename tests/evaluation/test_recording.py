"""Recordings against states kept by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

import foundation
from foundation.evaluation.charts import draw_flight
from foundation.evaluation.flights import fly
from foundation.evaluation.recording import Recorder, record
from foundation.evaluation.report import Context, report_html
from foundation.evaluation.seeds import evaluate
from foundation.evaluation.tracking.setup import make_paths, reference_table
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


def on_a_figure_of_eight(num_envs=8):
    env = make(num_envs)
    env.follow(reference_table(make_paths("figure_eight", {"speed": 1.5, "heading": "along"}, num_envs), env, 0))
    return env


def test_the_distance_is_that_of_the_teachers_observed_position_error():
    flight, env = record(on_a_figure_of_eight(), wobble, 40), on_a_figure_of_eight()
    obs, alive = env.get_observations(), torch.ones(8, dtype=torch.bool)
    for step in range(40):
        # Turned by the heading, which changes no length.
        observed = obs["teacher"][:, :3].norm(dim=1).numpy()
        np.testing.assert_allclose(flight.distance[step][alive], observed[alive], atol=2e-6)
        obs, _, dones, _ = env.step(wobble(obs))
        alive &= dones == 0
    # Negative control: the target is not the origin.
    assert np.nanmax(np.abs(flight.distance - np.linalg.norm(flight.pos_w, axis=-1))) > 0.5
    assert (np.isnan(flight.target_w) == np.isnan(flight.pos_w)).all()


def test_without_paths_there_is_no_reference_and_the_error_is_the_position():
    flight = record(make(4), hover, 3)
    assert flight.target_w is None
    assert flight.error_w is flight.pos_w


def test_lost_vehicles_are_drawn_where_they_were_relative_to_their_reference():
    result = evaluate({"teacher": wobble}, lambda seed: on_a_figure_of_eight(64), [0])
    flight, places = result.flights["teacher"], result.deaths["teacher"]
    lost = np.flatnonzero(flight.length < 60)
    assert len(places) == len(lost) > 0
    last = flight.length[lost] - 1
    np.testing.assert_array_equal(places, (flight.pos_w - flight.target_w)[last, lost])
    html = report_html(result, Context())
    assert "grey lines are the references that they follow" in html


@pytest.mark.parametrize("is_moving", [True, False])
def test_a_drawn_flight_has_the_lines_of_what_it_follows_and_the_star_of_what_stands(is_moving):
    flight = record(on_a_figure_of_eight(3) if is_moving else make(3), hover, 30)
    axes = Figure().add_subplot(projection="3d")
    draw_flight(axes, flight)
    drawn = [np.array(line.get_data_3d()) for line in axes.lines]
    names = {text.get_text() for text in axes.get_legend().get_texts()}
    assert names == ({"reference"} if is_moving else {"target"})
    expected = [] if flight.target_w is None else list(flight.target_w.transpose(1, 2, 0))
    found = [any(line.shape == e.shape and np.array_equal(line, e) for line in drawn) for e in expected]
    assert found == [True] * (3 * is_moving)


def test_tilt_is_the_angle_of_the_body_axis_to_the_vertical():
    env = make(4)
    half = torch.tensor([0.0, 0.2, 0.8, 1.5])
    env.sim.quat_wb.zero_()
    env.sim.quat_wb[:, 0], env.sim.quat_wb[:, 3] = torch.sin(half), torch.cos(half)
    np.testing.assert_allclose(record(env, hover, 1).tilt[0], 2.0 * half, atol=1e-3)
