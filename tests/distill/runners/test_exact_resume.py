"""A run that was stopped and continued is the run that was not, bit for bit, whatever it is made of."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.checkpoint.random_state import rng_state
from tests.support.run_state import NoisyEnv, assert_same, difference, everything
from tests.support.toy import RNN, ppo_cfg, runner_cfg, teacher_checkpoint

ITERATIONS = 6
STUDENTS = {
    "mlp": {},
    "gru": {**RNN, "rnn_type": "gru"},
    "lstm": {**RNN, "rnn_type": "lstm"},
}
MODES = {
    f"dagger={dagger} two_stage={two_stage}": {"use_dagger": dagger, "use_two_stage_training": two_stage}
    for dagger in (True, False)
    for two_stage in (True, False)
}
OPTIONS: dict[str, dict[str, Any]] = {
    "linear schedule": {"teacher_schedule": "linear", "phase1_iterations": 4},
    "exponential schedule, per step": {
        "teacher_schedule": "exponential",
        "teacher_decay": 0.7,
        "teacher_mixing": "step",
    },
    "constant schedule, per episode": {"teacher_schedule": "constant", "teacher_fraction": 0.5},
    "reciprocal schedule": {"teacher_schedule": "reciprocal"},
    "gate": {"disagreement_threshold": 0.5},
    "reservoir": {"eviction": "reservoir"},
    "balanced": {"eviction": "balanced", "phase_floor": 0.2},
    "uniform": {"sampling": "uniform"},
    "recency": {"sampling": "recency", "recency_half_life": 2.0},
    "loss": {"sampling": "loss"},
    "whole passes": {"mini_batch_size": None, "num_mini_batches": 3, "max_updates_per_iteration": None},
    "filter": {"episode_filter": "time_outs", "max_buffer_size": 1000},
    "teacher's observations": {"store_teacher_obs": True},
    "files": {"buffer_dir": "history"},
    "huber": {"loss_type": "huber", "action_weights": [1.0, 2.0]},
    "kl": {"loss_type": "kl"},
    "linear rate": {"learning_rate_schedule": "linear", "learning_rate_iterations": ITERATIONS},
    "cosine rate": {"learning_rate_schedule": "cosine", "learning_rate_iterations": ITERATIONS},
}


@pytest.fixture
def build(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")

    def make(name: str, student: str = "mlp", seed: int = 0, env=NoisyEnv, **options) -> DaggerRunner:
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        settings = {
            "phase1_iterations": 2,
            "max_buffer_size": 150,
            "mini_batch_size": 16,
            "max_updates_per_iteration": 5,
            "gradient_length": 4,
            "teacher_checkpoint": str(tmp_path / "teacher.pt"),
        }
        cfg = runner_cfg(student=STUDENTS[student], **(settings | options))
        return DaggerRunner(env(), cfg, str(tmp_path / name), "cpu")

    return make


def stopped_and_continued(build, k: int, **options) -> DaggerRunner:
    build("first", **options).learn(k)
    torch.rand(17), np.random.rand(3), random.random()  # whatever happens between two processes  # noqa: NPY002
    second = build("second", seed=99, **options)
    second.load(f"first/model_{k - 1}.pt")
    second.learn(ITERATIONS - k)
    return second


def whole(build, **options) -> DaggerRunner:
    runner = build("whole", **options)
    runner.learn(ITERATIONS)
    return runner


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_continues_exactly(build, mode, student):
    options = {**MODES[mode], "student": student}
    k = 1 + list(MODES).index(mode)
    assert_same(whole(build, **options), stopped_and_continued(build, k, **options))


@pytest.mark.parametrize("student", ["mlp", "gru"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_schedule_eviction_sampler_and_loss_continues_exactly(build, name, student):
    options = {**OPTIONS[name], "student": student}
    k = 1 + list(OPTIONS).index(name) % (ITERATIONS - 1)
    assert_same(whole(build, **options), stopped_and_continued(build, k, **options))


@pytest.mark.parametrize("k", range(1, ITERATIONS))
def test_a_run_may_be_stopped_after_any_iteration(build, k):
    options = {"student": "gru", "burn_in": 3}
    assert_same(whole(build, **options), stopped_and_continued(build, k, **options))


def test_a_run_may_be_stopped_after_every_iteration(build):
    expected = whole(build, student="gru")
    build("run0", student="gru").learn(1)
    for i in range(1, ITERATIONS):
        runner = build(f"run{i}", student="gru", seed=i)
        runner.load(f"run{i - 1}/model_{i - 1}.pt")
        runner.learn(1)
    assert_same(expected, runner)


@pytest.mark.parametrize(
    ("part", "found"),
    [("rng", "/models/student_state_dict"), ("env", "/models/student_state_dict"), ("counters", "/counters")],
)
def test_without_a_part_of_the_state_the_comparison_finds_a_difference(build, part, found):
    build("first").learn(3)
    second = build("second", seed=99)
    second.load("first/model_2.pt")
    if part == "rng":
        second._rng_to_restore = None
    if part == "env":
        second.env.load_state_dict(NoisyEnv(seed=5).state_dict())
    if part == "counters":
        second.logger.tot_timesteps = 0
    second.learn(3)
    assert (difference(everything(whole(build)), everything(second)) or "").startswith(found)


def test_the_clock_and_the_count_of_steps_go_on(build, capsys):
    build("first").learn(3)
    second = build("second")
    second.load("first/model_2.pt")
    before = second.logger.tot_time
    second.learn(3)
    assert second.logger.tot_timesteps == 6 * 60
    assert second.logger.tot_time > before > 0.0


def test_an_environment_without_state_is_reported_once_and_its_episodes_begin_anew(build, capsys):
    class Forgetful(NoisyEnv):
        state_dict = None
        load_state_dict = None

        def __getattribute__(self, name):
            if name in ("state_dict", "load_state_dict"):
                raise AttributeError(name)
            return super().__getattribute__(name)

    build("first", env=Forgetful).learn(3)
    second = build("second", env=Forgetful)
    second.load("first/model_2.pt")
    second.learn(1)
    assert capsys.readouterr().out.count("the environment keeps no state") == 1
    assert second.alg.iteration == 4


def test_state_that_could_not_be_loaded_again_is_reported_when_it_is_saved(build, capsys):
    class Odd(NoisyEnv):
        def state_dict(self):
            return super().state_dict() | {"path": Path("x")}

    build("first", env=Odd).learn(3)
    assert capsys.readouterr().out.count("holds more than tensors and plain values") == 1
    second = build("second")
    second.load("first/model_2.pt")
    assert "the environment keeps no state" in capsys.readouterr().out


@pytest.mark.parametrize("schedule", ["adaptive", "fixed"])
def test_a_teachers_run_continues_exactly(tmp_path, schedule):
    def make(name: str, seed: int = 0) -> PpoRunner:
        torch.manual_seed(seed)
        cfg = ppo_cfg(8, learning_rate=0.01, schedule=schedule)
        return PpoRunner(NoisyEnv(), cfg, str(tmp_path / name), "cpu")

    def state(runner: PpoRunner) -> Any:
        return runner.alg.save(), runner.alg.learning_rate, runner.env.state_dict(), rng_state("cpu")

    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    one = make("one")
    one.learn(ITERATIONS)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    make("first").learn(2)
    second = make("second", seed=3)
    second.load(str(tmp_path / "first" / "model_1.pt"))
    second.learn(ITERATIONS - 2)
    assert difference(state(one), state(second)) is None


def test_a_run_may_be_continued_in_its_own_folder(build):
    build("first").learn(3)
    second = build("first", seed=99)
    second.load("first/model_2.pt")
    second.learn(3)
    assert_same(whole(build), second)


def test_weights_saved_elsewhere_or_by_another_name_leave_the_runs_checkpoints_alone(build):
    runner = build("first")
    runner.learn(2)
    runner.save("elsewhere/model_1.pt")
    runner.save("first/model_final.pt")
    runner.learn(2)
    second = build("second")
    second.load("first/model_3.pt")
    assert len(second.alg.history) == len(runner.alg.history)
    for path in ("elsewhere/model_1.pt", "first/model_final.pt"):
        build("third").load(path)


def test_a_json_file_of_others_beside_a_checkpoint_is_left_alone(build):
    runner = build("first")
    runner.learn(1)
    Path("first/policy.json").write_text("{}")
    runner.save("first/policy.pt")
    build("second").load("first/policy.pt")
    assert Path("first/policy.json").read_text() == "{}"
