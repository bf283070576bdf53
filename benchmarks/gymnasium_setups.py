"""MuJoCo tasks of gymnasium: teachers that PPO trains, and students that see less."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import torch
from rsl_rl.runners import OnPolicyRunner

from foundation.evaluation.episodes import run_first_episodes
from foundation.integrations.gymnasium import GymnasiumVecEnv


@dataclass(frozen=True)
class Setup:
    """A task, and how its teacher is trained."""

    task: str
    positions: int
    """First numbers of an observation that are no velocities."""
    velocities: int
    """First numbers of an observation with the velocities; the teacher sees all."""
    teacher_envs: int
    teacher_iterations: int


PENDULUM = Setup("InvertedDoublePendulum-v5", 5, 8, 64, 150)
CHEETAH = Setup("HalfCheetah-v5", 8, 17, 64, 500)


def make_envs(setup: Setup, num_envs: int, seed: int, student: str = "feed-forward") -> GymnasiumVecEnv:
    """Return environments in which a GRU sees no velocities."""
    seen = setup.positions if student == "GRU" else setup.velocities
    return GymnasiumVecEnv(
        setup.task, num_envs, groups={"student": range(seen), "teacher": slice(None)}, seed=seed
    )


def model(std: float | None, **recurrent: object) -> dict:
    gaussian = {"class_name": "GaussianDistribution", "init_std": std, "std_type": "log"}
    layers = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "tanh", "obs_normalization": True}
    return {**layers, "distribution_cfg": gaussian if std else None, **recurrent}


STUDENTS = {
    "feed-forward": model(0.05),
    "GRU": model(0.05, class_name="RNNModel", rnn_type="gru", rnn_hidden_dim=32, rnn_num_layers=1),
}


def mean_return(policy: torch.nn.Module, envs: GymnasiumVecEnv, seed: int) -> float:
    """Return the mean return of the first episode of every environment, with the mean action."""
    envs.reset(seed)
    return run_first_episodes(envs, policy).mean_return


def train_teacher(setup: Setup, path: str) -> None:
    """Train a teacher with PPO and save it."""
    torch.manual_seed(0)
    cfg = {
        "num_steps_per_env": 64,
        "save_interval": 1000,
        "obs_groups": {"actor": ["teacher"], "critic": ["teacher"]},
        "actor": model(0.6),
        "critic": model(None),
        "algorithm": {"class_name": "PPO", "learning_rate": 1e-3, "schedule": "adaptive", "rnd_cfg": None},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        runner = OnPolicyRunner(make_envs(setup, setup.teacher_envs, 0), cfg, None, "cpu")
        runner.learn(setup.teacher_iterations, init_at_random_ep_len=False)
        torch.save(runner.alg.save() | {"iter": setup.teacher_iterations, "infos": None}, path)
