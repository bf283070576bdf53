"""All that a run consists of, to compare two runs bit for bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

from foundation.distill import DaggerRunner
from foundation.distill.checkpoint.random_state import rng_state
from tests.support.toy import ToyEnv


class NoisyEnv(ToyEnv):
    """Draws from every global generator, as environments of others do."""

    def step(self, actions):
        obs, reward, done, extras = super().step(actions)
        reward = reward + random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        return obs, reward, done, extras


def everything(runner: DaggerRunner) -> dict[str, Any]:
    """Return all that a run consists of, except how long it took."""
    counters = {name: value for name, value in runner.logger.counters_state().items() if name != "tot_time"}
    return {
        "models": runner.alg.save(),
        "state": runner.alg.training_state(with_rows=False),
        "rows": None if runner.alg.history is None else dict(runner.alg.history[:].items()),
        "env": runner.env.state_dict(),
        "rng": rng_state("cpu"),
        "counters": counters,
        "episodes": runner.logger.episodes_state(),
        "best": runner.best_mean_reward,
        "student_iterations": runner._student_iterations,
    }


def difference(one: Any, other: Any, where: str = "") -> str | None:
    """Return the name of the first part in which two states differ."""
    if isinstance(one, torch.Tensor):
        return None if isinstance(other, torch.Tensor) and torch.equal(one, other) else where
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return where
        return next(filter(None, (difference(one[key], other[key], f"{where}/{key}") for key in one)), None)
    if isinstance(one, (list, tuple)):
        if len(one) != len(other):
            return where
        pairs = enumerate(zip(one, other, strict=True))
        return next(filter(None, (difference(a, b, f"{where}/{i}") for i, (a, b) in pairs)), None)
    return None if one == other else where


def assert_same(one: DaggerRunner, other: DaggerRunner) -> None:
    found = difference(everything(one), everything(other))
    assert found is None, f"the runs differ in {found}"
