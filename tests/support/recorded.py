"""Runs whose history is written as a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensordict import TensorDict

from foundation.distill import DaggerRunner
from foundation.distill.history.origins import from_field
from tests.support.runners import make, student
from tests.support.toy import CNN, ImageEnv, TimedEnv, runner_cfg

FORMATS = {"minari": None, "lerobot": 100.0}
"""The steps per second that each format is given."""
EVERY_OTHER = "tests.support.recorded:every_other"
WINDOWS = {"student": student("gru"), "gradient_length": 4}
KINDS: dict[str, dict[str, Any]] = {
    "feed-forward": {},
    "feed-forward, full": {"max_buffer_size": 150},
    "mixed drivers": {"teacher_schedule": "constant", "teacher_fraction": 0.5, "teacher_mixing": "step"},
    "reservoir": {"eviction": "reservoir", "max_buffer_size": 100},
    "filter": {"episode_filter": EVERY_OTHER},
    "teacher's observations": {"store_teacher_obs": True},
    "kl": {"loss_type": "kl"},
    "gru": {"student": student("gru"), "gradient_length": 5},
    "gru, burn-in and padding": WINDOWS | {"burn_in": 3},
    "gru, full": WINDOWS | {"burn_in": 3, "max_buffer_size": 160},
    "gru, reservoir": WINDOWS | {"burn_in": 6, "eviction": "reservoir", "max_buffer_size": 120},
    "gru, filter": WINDOWS | {"episode_filter": EVERY_OTHER},
    "lstm, two layers": {"student": student("lstm", layers=2), "gradient_length": 5},
    "images": {"camera": True},
}
"""Options of runs with every kind of history."""


def every_other(rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]) -> torch.Tensor:
    """Let episodes of every other environment through."""
    return torch.arange(len(dones)) % 2 == 0


def make_runner(kind: str, log_dir: Path | None = None, seed: int = 0, **options: Any) -> DaggerRunner:
    """Return a runner of a kind of history on a toy environment."""
    chosen = {"max_updates_per_iteration": 3, "phase1_iterations": 2} | KINDS[kind] | options
    if not chosen.pop("camera", False):
        return make(log_dir=log_dir, runner=DaggerRunner, seed=seed, **chosen)
    cfg = runner_cfg(
        student={"class_name": "CNNModel", "cnn_cfg": CNN, "obs_normalization": False},
        **({"max_buffer_size": 10_000} | chosen),
    )
    cfg["obs_groups"]["student"] = ["camera"]
    torch.manual_seed(seed)
    runner = DaggerRunner(ImageEnv(num_envs=4), cfg, log_dir and str(log_dir), "cpu")
    runner.alg.teacher_loaded = True
    return runner


def trained(kind: str, folder: Path, iterations: int = 4, **options: Any) -> DaggerRunner:
    """Return a runner of a finished run in a folder."""
    runner = make_runner(kind, folder, **options)
    torch.manual_seed(1)
    runner.learn(iterations)
    return runner


def records(runner: DaggerRunner) -> np.ndarray:
    """Return the bytes of a history's rows, oldest first, (rows, bytes), without those that pad a record."""
    storage = runner.alg.history.storage
    order = from_field(
        storage.fields["origin"][: len(runner.alg.history)], runner.alg.dataset.origins.next
    ).argsort()
    parts = [values[torch.from_numpy(order)].numpy() for _, values in sorted(storage.fields.items())]
    return np.concatenate([part.reshape(len(order), -1).view(np.uint8) for part in parts], axis=1)


class NumberedEnv(TimedEnv):
    """Observations are iteration, step of the rollout and environment; episodes end after 12 steps."""

    num_actions = 2
    max_episode_length = 12
    STEPS = 10

    def __init__(self, num_envs: int = 6, seed: int = 0) -> None:
        super().__init__(num_envs, seed)
        self.count = 0

    def get_observations(self) -> TensorDict:
        iteration, step = divmod(self.count, self.STEPS)
        numbers = torch.tensor([[iteration, step, env] for env in range(self.num_envs)], dtype=torch.float32)
        return TensorDict({"student": numbers, "teacher": numbers[:, :2]}, batch_size=[self.num_envs])

    def step(self, actions):
        self.count += 1
        done = self.advance_time()
        return self.get_observations(), torch.zeros(self.num_envs), done.long(), {"time_outs": done}
