"""The log of a step, read later."""

from __future__ import annotations

import torch

import foundation
from foundation.tasks.point_ctrl.episode_log import DeferredEpisodeLog


def test_a_log_read_later_equals_the_log_of_its_step():
    env = foundation.make_env("distillation", 64, overrides=["env.episode_steps=20"])
    kept, logs = [], []
    for _ in range(60):
        _, _, done, extras = env.step(torch.rand(64, 4) * 2.0 - 1.0)
        kept.append(DeferredEpisodeLog(env._task["finished"].clone(), done))
        logs.append(extras["log"])
    assert any(logs)
    assert not all(logs)
    for later, log in zip(kept, logs, strict=True):
        assert list(later) == list(log)
        assert len(later) == len(log)
        assert all(torch.equal(later[name], values) for name, values in log.items())
