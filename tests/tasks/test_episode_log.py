"""The log of a step, read later."""

from __future__ import annotations

import torch

import foundation
from foundation.tasks.point_ctrl.episode_log import DeferredEpisodeLog


def test_a_log_read_later_tells_what_the_step_told():
    env = foundation.make_env("distillation", 64, overrides=["env.episode_steps=20"])
    kept, told = [], []
    for _ in range(60):
        _, _, done, extras = env.step(torch.rand(64, 4) * 2.0 - 1.0)
        kept.append(DeferredEpisodeLog(env._task["finished"].clone(), done))
        told.append(extras["log"])
    assert any(told)
    assert not all(told)
    for later, log in zip(kept, told, strict=True):
        assert list(later) == list(log)
        assert len(later) == len(log)
        assert all(torch.equal(later[name], values) for name, values in log.items())
