"""The number in each row leads to the iteration, the environment and the step that it came from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from foundation.distill.checkpoint import load_checkpoint
from foundation.distill.datasets.recording import recorded
from foundation.distill.datasets.saved_history import saved_history
from foundation.distill.history.origins import Origins, as_field, from_field
from foundation.distill.tensors import tensors_of
from tests.support.recorded import NumberedEnv, make_runner, trained
from tests.support.runners import aggregate, collect, make, student

OLD_RUN = Path(__file__).parents[2] / "golden" / "run"
WINDOWS = {"student": student("gru"), "gradient_length": 4, "burn_in": 3}
KINDS = {
    "transitions": {},
    "a full ring": {"max_buffer_size": 150},
    "reservoir": {"eviction": "reservoir", "max_buffer_size": 100},
    "windows": WINDOWS,
    "a full ring of windows": WINDOWS | {"max_buffer_size": 160},
    "a reservoir of windows": WINDOWS | {"eviction": "reservoir", "max_buffer_size": 120},
}


def recording_of(runner):
    dataset = runner.alg.dataset
    return recorded(tensors_of(runner.alg.history[:]), dataset.origins.state_dict(), dataset.layout.burn_in)


@pytest.mark.parametrize("kind", KINDS)
def test_every_step_is_told_by_iteration_and_environment_and_comes_once_and_in_order(kind):
    runner = make(NumberedEnv(), **KINDS[kind])
    for _ in range(5):
        collect(runner)
        aggregate(runner)
    recording = recording_of(runner)
    iteration, step, env = recording.fields["obs/student"].astype(int).T
    assert np.array_equal(recording.versions, iteration)
    assert np.array_equal(recording.environments, env)
    time = iteration * NumberedEnv.STEPS + step
    assert len(set(zip(env, time, strict=True))) == len(time)
    inside = np.ones(len(time), bool)
    inside[recording.begins] = False
    assert (np.diff(time)[inside[1:]] == 1).all()
    assert (np.diff(env)[inside[1:]] == 0).all()
    assert not recording.fields["dones"][:-1][inside[1:]].any()
    # An episode begins behind a done, or where the step before is not in the history.
    before = set(zip(env, time + 1, strict=True))
    for first in recording.begins:
        known = (env[first], time[first]) in before
        assert not known or recording.fields["dones"][first - 1]
    if "reservoir" not in kind and "ring" not in kind:
        assert len(time) == 5 * NumberedEnv.STEPS * 6


def test_numbers_are_right_also_behind_four_billion_transitions():
    first = 2**32 - 50
    numbers = torch.arange(first, first + 120)
    assert as_field(numbers).dtype == torch.int32
    assert np.array_equal(from_field(as_field(numbers), first + 120), numbers.numpy())
    assert not np.array_equal(from_field(as_field(numbers), first + 120 + 2**32), numbers.numpy())


def test_an_interruption_ends_every_stretch_and_the_iteration_is_the_one_given():
    origins = Origins()
    origins.add_rollout(10, 6, phase=1)
    second = origins.add_rollout(10, 6, phase=2)
    assert origins.spans[1].first == second == origins.spans[0].end
    assert [span.iteration for span in origins.spans] == [0, 1]
    origins.interrupt()
    assert origins.add_rollout(10, 6, phase=2, iteration=7) > origins.spans[1].end
    assert origins.spans[2].iteration == 7


def test_the_driver_of_each_step_and_the_phase_of_the_training_are_two_things(tmp_path):
    trained("mixed drivers", tmp_path)
    recording = saved_history(tmp_path / "model_3.pt")
    assert set(recording.phases) == {2}
    assert set(recording.fields["phase"]) == {1, 2}
    trained("feed-forward", tmp_path / "two-stage")
    recording = saved_history(tmp_path / "two-stage" / "model_3.pt")
    assert np.array_equal(recording.phases, np.where(recording.versions < 2, 1, 2))
    assert np.array_equal(recording.phases, recording.fields["phase"])


def test_a_continued_run_goes_on_with_its_numbers(tmp_path):
    whole = trained("gru, burn-in and padding", tmp_path / "whole", iterations=4)
    trained("gru, burn-in and padding", tmp_path / "first", iterations=2)
    second = make_runner("gru, burn-in and padding", tmp_path / "second")
    second.load(str(tmp_path / "first" / "model_1.pt"))
    second.learn(2)
    assert torch.equal(second.alg.history[:]["origin"], whole.alg.history[:]["origin"])


def test_windows_of_an_old_checkpoint_are_of_unknown_origin_and_continue_no_other_one():
    checkpoint = OLD_RUN / "model_3.pt"
    saved = load_checkpoint(OLD_RUN / "resume" / "state_3.pt")["algorithm"]["aggregation"]
    recording = saved_history(checkpoint)
    assert set(recording.versions) == {-1}
    assert set(recording.phases) == {0}
    assert (recording.length, recording.burn_in) == (15, 0)
    _, lengths = np.unique(recording.stretches, return_counts=True)
    assert len(lengths) == saved["history"]["size"]
    assert set(lengths) == {15, 5}  # of rollouts of 20 steps
    assert recording.fields["trained"].all()
