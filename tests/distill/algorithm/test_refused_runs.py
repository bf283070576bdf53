"""Runs without a teacher, or with a student that rsl_rl cannot log, are refused before their first step."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.models import MLPModel
from rsl_rl.runners import DistillationRunner, OnPolicyRunner

from foundation.distill import DaggerRunner
from tests.support.runners import assert_equal, weights
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint

RUNNERS = [OnPolicyRunner, DistillationRunner, DaggerRunner]


class Controller(MLPModel):
    """Pulls to the origin."""

    needs_checkpoint = False

    def forward(self, obs, masks=None, hidden_state=None, stochastic_output=False):
        return -obs["teacher"]


class Weightless(torch.nn.Module):
    """The same, without a network."""

    needs_checkpoint, is_recurrent, obs_normalization, distribution = False, False, False, None

    def __init__(self, obs, obs_groups, obs_set, num_actions) -> None:
        super().__init__()
        self.obs_groups = obs_groups[obs_set]

    def forward(self, obs, masks=None, hidden_state=None, stochastic_output=False):
        return -obs["teacher"]

    def reset(self, dones=None, hidden_state=None):
        pass

    def get_hidden_state(self):
        return None


class Bare(Weightless):
    """The same, that does not say which groups it reads."""

    def __init__(self, *args) -> None:
        super().__init__(*args)
        del self.obs_groups


def build(runner=DaggerRunner, teacher=None, student=None, log_dir=None, **options):
    torch.manual_seed(0)
    cfg = runner_cfg(student=student, max_buffer_size=10_000, **options)
    if teacher is not None:
        cfg["teacher"] = teacher
    return runner(ToyEnv(), cfg, log_dir and str(log_dir), "cpu")


@pytest.mark.parametrize("use_dagger", [True, False])
@pytest.mark.parametrize("runner_class", RUNNERS)
def test_a_run_whose_teacher_was_never_loaded(runner_class, use_dagger):
    runner = build(runner_class, use_dagger=use_dagger, gradient_length=5)
    message = "not loaded" if runner_class is DistillationRunner else "no teacher is loaded; load its checkpoint"
    with pytest.raises(ValueError, match=message):
        runner.learn(1)
    assert runner.env.actions == []


def test_a_loop_of_ones_own_without_a_teacher():
    runner = build()
    with pytest.raises(ValueError, match="no teacher is loaded; load its checkpoint or set teacher_checkpoint"):
        runner.alg.act(runner.env.get_observations())
    runner.alg.load(teacher_checkpoint(), None, True)
    runner.alg.act(runner.env.get_observations())


@pytest.mark.parametrize("use_dagger", [True, False])
@pytest.mark.parametrize("runner_class", RUNNERS)
def test_a_student_without_noise(runner_class, use_dagger):
    with pytest.raises(
        ValueError, match=r"student\.distribution_cfg is None, but rsl_rl's runner logs .*; set it to"
    ):
        build(runner_class, student={"distribution_cfg": None}, use_dagger=use_dagger, gradient_length=5)


class OwnNoise(MLPModel):
    """A student of one's own without a distribution, that tells a standard deviation itself."""

    output_std = torch.zeros(2)  # pyright: ignore


def test_a_student_of_ones_own_that_tells_its_noise_trains():
    student = {"class_name": f"{__name__}:OwnNoise", "distribution_cfg": None}
    runner = build(student=student)
    runner.alg.load(teacher_checkpoint(), None, True)
    before = weights(runner)
    runner.learn(1)
    assert any(not torch.equal(value, before[name]) for name, value in weights(runner).items())


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize(
    "teacher",
    [{"class_name": f"{__name__}:Controller", "hidden_dims": [1]}, {"class_name": f"{__name__}:Weightless"}],
)
def test_a_teacher_that_computes_its_actions_needs_no_checkpoint_and_its_run_continues(
    teacher, runner_class, tmp_path
):
    runner = build(runner_class, teacher, log_dir=tmp_path / "run", store_teacher_obs=True)
    runner.learn(2)
    rows = runner.alg.history[:]
    assert torch.equal(rows["teacher_actions"], -rows["obs/teacher"])
    again = build(runner_class, teacher, store_teacher_obs=True)
    again.load(str(tmp_path / "run" / "model_1.pt"))
    assert_equal(weights(again), weights(runner))
    again.learn(1)
    rows = again.alg.history[:]
    assert torch.equal(rows["teacher_actions"], -rows["obs/teacher"])


@pytest.mark.parametrize("runner_class", RUNNERS)
def test_a_teacher_that_does_not_say_what_it_reads_may_read_all(runner_class):
    runner = build(runner_class, {"class_name": f"{__name__}:Bare"})
    assert not hasattr(runner.alg.teacher_model, "obs_groups")
    runner.learn(1)
    groups = runner.alg.storage.observations.keys()
    assert {"student", "teacher"} <= set(groups)
    told = build(runner_class, {"class_name": f"{__name__}:Weightless"})
    told.learn(1)
    assert_equal(weights(runner), weights(told))
