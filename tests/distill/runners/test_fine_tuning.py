"""PPO that starts from a distilled student: warm-up of the critic, noise, learning rate, resume."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.checkpoint import CheckpointError
from tests.support.toy import GAUSSIAN, MODEL, RNN, ToyEnv, runner_cfg, teacher_checkpoint

RATE = 0.004


@pytest.fixture
def student(tmp_path) -> str:
    """A checkpoint of a student that has been distilled for one iteration."""
    return distil(tmp_path, {})


def distil(folder: Path, student: dict) -> str:
    torch.save(teacher_checkpoint(), folder / "teacher.pt")
    cfg = runner_cfg(teacher_checkpoint=str(folder / "teacher.pt"), student=student, gradient_length=5)
    DaggerRunner(ToyEnv(), cfg, str(folder / "student"), "cpu").learn(1)
    return str(folder / "student" / "model_0.pt")


def make(log_dir: Path, student: str | None, seed: int = 0, actor: dict | None = None, **settings) -> PpoRunner:
    torch.manual_seed(seed)
    algorithm = {"class_name": "PPO", "learning_rate": RATE, "num_mini_batches": 2, "rnd_cfg": None}
    cfg = {
        "num_steps_per_env": 8,
        "save_interval": 1,
        "obs_groups": {"actor": ["student"], "critic": ["teacher"]},
        "actor": {**MODEL, "distribution_cfg": dict(GAUSSIAN), **(actor or {})},
        "critic": dict(MODEL),
        "init_from": student,
        "algorithm": {**algorithm, **settings.pop("algorithm", {})},
        **settings,
    }
    return PpoRunner(ToyEnv(), copy.deepcopy(cfg), str(log_dir), "cpu")


def learning_rates(runner: PpoRunner, iterations: int) -> list[float]:
    """Return the learning rate at the end of each iteration."""
    rates = []
    original = runner.logger._on_iteration
    runner.logger._on_iteration = lambda it: (
        original(it),
        rates.append(runner.alg.optimizer.param_groups[0]["lr"]),
    )
    runner.learn(iterations)
    return rates


def test_the_adaptive_learning_rate_is_the_configured_one_until_the_warm_up_ends(tmp_path):
    student = distil(tmp_path, {**RNN, "rnn_type": "gru"})
    # So large a target raises the rate with any divergence; so little noise makes one of rounding errors, which
    # a recurrent network that is run on whole trajectories differs by.
    settings = {
        "actor": {**RNN, "rnn_type": "gru"},
        "init_noise_std": 1e-6,
        "algorithm": {"schedule": "adaptive", "desired_kl": 1e9},
    }
    rates = learning_rates(make(tmp_path / "warm", student, critic_warmup_iterations=3, **settings), 4)
    assert rates[:3] == [RATE] * 3
    assert rates[3] == 1e-2


def test_annealing_goes_on_through_the_warm_up(tmp_path, student):
    settings = {"critic_warmup_iterations": 1, "anneal_from": 0.0, "algorithm": {"schedule": "fixed"}}
    rates = learning_rates(make(tmp_path / "run", student, **settings), 4)
    assert rates == pytest.approx([0.75 * RATE, 0.5 * RATE, 0.25 * RATE, 0.0])


def test_a_run_that_ended_with_a_learning_rate_of_zero_learns_when_it_is_continued(tmp_path, student):
    settings = {"anneal_from": 0.5, "algorithm": {"schedule": "fixed"}}
    make(tmp_path / "run", student, **settings).learn(2)
    again = make(tmp_path / "again", None, **settings)
    again.load(str(tmp_path / "run" / "model_1.pt"))
    assert again.alg.optimizer.param_groups[0]["lr"] == 0.0
    before = again.alg.actor.mlp[0].weight.clone()
    again.learn(1)
    assert not torch.equal(again.alg.actor.mlp[0].weight, before)


@pytest.mark.parametrize("std_type", ["scalar", "log"])
def test_init_noise_std_is_the_standard_deviation_that_the_actor_explores_with(tmp_path, std_type):
    noise = {"distribution_cfg": {**GAUSSIAN, "std_type": std_type}}
    student = distil(tmp_path, noise)
    kept = make(tmp_path / "kept", student, actor=noise)
    wider = make(tmp_path / "wider", student, actor=noise, init_noise_std=0.25)
    obs = ToyEnv().get_observations()
    for runner, std in ((kept, 0.1), (wider, 0.25)):
        runner.alg.act(obs)
        torch.testing.assert_close(runner.alg.actor.output_std, torch.full((6, 2), std))


def test_noise_that_depends_on_the_observation_cannot_be_set(tmp_path):
    noise = {"distribution_cfg": {**GAUSSIAN, "class_name": "HeteroscedasticGaussianDistribution"}}
    student = distil(tmp_path, noise)
    make(tmp_path / "kept", student, actor=noise)
    with pytest.raises(
        ValueError, match=r"init_noise_std=0\.2 needs .* has a HeteroscedasticGaussianDistribution"
    ):
        make(tmp_path / "set", student, actor=noise, init_noise_std=0.2)


def test_noise_outside_of_the_range_that_the_distribution_clamps_to_is_refused(tmp_path, student):
    noise = {"distribution_cfg": {**GAUSSIAN, "std_range": [0.01, 0.5]}}
    with pytest.raises(ValueError, match=r"must lie in the distribution's std_range \[0\.01, 0\.5\], got 0\.6"):
        make(tmp_path / "run", student, actor=noise, init_noise_std=0.6)


def test_a_teachers_checkpoint_is_refused(tmp_path, student):
    with pytest.raises(CheckpointError, match="holds a teacher, expected a student"):
        make(tmp_path / "run", str(tmp_path / "teacher.pt"))


def test_a_parameter_that_was_frozen_before_the_warm_up_stays_frozen_after_it(tmp_path, student):
    noise = {"distribution_cfg": {**GAUSSIAN, "learn_std": False}}
    runner = make(tmp_path / "run", student, actor=noise, critic_warmup_iterations=1)
    before = copy.deepcopy(runner.alg.actor.state_dict())
    runner.learn(2)
    after = runner.alg.actor.state_dict()
    assert torch.equal(after["distribution.std_param"], before["distribution.std_param"])
    assert not torch.equal(after["mlp.0.weight"], before["mlp.0.weight"])


@pytest.mark.parametrize("stop", [1, 3], ids=["in the warm-up", "after the warm-up"])
@pytest.mark.parametrize("rnn", [{}, {**RNN, "rnn_type": "gru"}, {**RNN, "rnn_type": "lstm"}])
def test_a_continued_run_ends_as_an_uninterrupted_one_bit_for_bit(tmp_path, rnn, stop):
    student = distil(tmp_path, rnn)
    settings = {"actor": rnn, "critic_warmup_iterations": 2, "algorithm": {"schedule": "fixed"}}
    whole = make(tmp_path / "whole", student, **settings)
    whole.learn(5)

    make(tmp_path / "first", student, **settings).learn(stop)
    second = make(tmp_path / "second", None, seed=99, **settings)
    second.load(str(tmp_path / "first" / f"model_{stop - 1}.pt"))
    second.learn(5 - stop)

    for name in ("actor", "critic"):
        expected = getattr(whole.alg, name).state_dict()
        for entry, value in getattr(second.alg, name).state_dict().items():
            assert torch.equal(value, expected[entry]), (name, entry)
