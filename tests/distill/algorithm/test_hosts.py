"""What is stored is what both policies saw, whatever the environment does to its tensors afterwards."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.algorithms import Distillation
from rsl_rl.runners import DistillationRunner
from torch.utils.tensorboard import SummaryWriter

from foundation.distill import DaggerRunner
from tests.distill.algorithm.test_losses import LATENT
from tests.distill.algorithm.test_teachers import TwoTeachersEnv
from tests.support.hosts import HostEnv, ReusingEnv
from tests.support.runners import assert_equal, make, student, weights
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint

RUNNERS = [DistillationRunner, DaggerRunner]
OPTIONS = {
    "two_stage": {"phase1_iterations": 1},
    "stock_update": {"use_dagger": False},
    "recurrent": {"student": student("gru"), "phase1_iterations": 1, "gradient_length": 5},
    "recurrent_stock_update": {"student": student("lstm"), "use_dagger": False, "gradient_length": 5},
    "plain_loop": {"use_fast_paths": False, "phase1_iterations": 1},
    "kl": {"loss_type": "kl", "phase1_iterations": 1},
    "latent_matching": {"latent_matching": LATENT, "phase1_iterations": 1},
    "mixed_steps": {"teacher_schedule": "constant", "teacher_fraction": 0.5, "teacher_mixing": "step"},
    "gate": {"use_two_stage_training": False, "disagreement_threshold": 0.3},
    "filter": {"episode_filter": "time_outs", "phase1_iterations": 1},
    "teacher_obs": {"store_teacher_obs": True, "phase1_iterations": 1},
    "several_teachers_obs": {"teachers": "obs", "phase1_iterations": 1},
    "several_teachers_extras": {"teachers": "extras", "phase1_iterations": 1},
}


class LoggingEnv(HostEnv):
    """Logs its mean place, as a tensor, in every step."""

    def step(self, actions):
        obs, rewards, dones, extras = super().step(actions)
        return obs, rewards, dones, extras | {"log": {"place": self.env.place.mean()}}


def trained(wrap, runner_class, tmp_path, monkeypatch, **options):
    """Train on an environment that ``wrap`` has wrapped; return the runner, and the logged scalars by name."""
    tmp_path.mkdir()
    scalars: dict[str, list[float]] = {}
    monkeypatch.setattr(
        SummaryWriter, "add_scalar", lambda _, name, value, *__, **___: scalars.setdefault(name, []).append(value)
    )
    teachers = options.pop("teachers", None)
    env = ToyEnv() if teachers is None else TwoTeachersEnv(teachers)
    if teachers is not None:
        options["teacher_checkpoint"] = [str(tmp_path / f"teacher{seed}.pt") for seed in (7, 8)]
        for seed, path in zip((7, 8), options["teacher_checkpoint"], strict=True):
            torch.save(teacher_checkpoint(seed), path)
    runner = make(wrap(LoggingEnv(env)), runner=runner_class, log_dir=tmp_path, **options)
    torch.manual_seed(1)
    runner.learn(3)
    timings = ("Perf/", "Train/mean_reward/time", "Train/mean_episode_length/time")
    # str: NaN equals NaN.
    return runner, {name: str(values) for name, values in scalars.items() if not name.startswith(timings)}


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_host_that_overwrites_its_tensors_trains_the_same_student(options, runner_class, tmp_path, monkeypatch):
    fresh, logged = trained(lambda env: env, runner_class, tmp_path / "fresh", monkeypatch, **options)
    reused, logged_too = trained(ReusingEnv, runner_class, tmp_path / "reused", monkeypatch, **options)
    assert_equal(weights(fresh), weights(reused))
    assert logged == logged_too
    assert "Episode/place" in logged
    if fresh.alg.history is not None:
        assert len(fresh.alg.history) == len(reused.alg.history) > 0
        assert_equal(fresh.alg.history[:].to_dict(), reused.alg.history[:].to_dict())


def test_rsl_rls_own_distillation_is_trained_on_the_wrong_states_by_such_a_host():
    """Negative control: the wrapper does what makes the tests above fail without copies."""

    def trained_stock(wrap):
        torch.manual_seed(0)
        cfg = runner_cfg("Distillation", gradient_length=5)
        runner = DistillationRunner(wrap(ToyEnv()), cfg, None, "cpu")
        assert type(runner.alg) is Distillation
        runner.alg.teacher_loaded = True
        runner.learn(1)
        return runner

    fresh, reused = weights(trained_stock(lambda env: env)), weights(trained_stock(ReusingEnv))
    assert any(not torch.equal(fresh[name], reused[name]) for name in fresh)
