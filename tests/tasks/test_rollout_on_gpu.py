"""A rollout whose steps only queue work on the GPU."""

from __future__ import annotations

import pytest
import torch

from foundation.distill.collector import Collector
from foundation.distill.runner import DaggerRunner
from foundation.rsl_rl.cli import packaged_teacher
from foundation.tasks import create_env, load_task
from foundation.tasks.config import compose

GRU = ["agent.student.class_name=RNNModel", "agent.student.rnn_type=gru", "agent.student.rnn_hidden_dim=32"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("student", [[], GRU], ids=["feed-forward", "GRU"])
@pytest.mark.parametrize("phase1_iterations", [0, 1])
def test_no_step_of_a_rollout_waits_for_the_gpu(student, phase1_iterations, monkeypatch):
    overrides = [*student, f"agent.algorithm.phase1_iterations={phase1_iterations}"]
    env_cfg, agent_cfg = compose(load_task("distillation"), overrides, flags={"env.num_envs": 256})
    cfg = agent_cfg.to_dict()
    cfg["algorithm"]["teacher_checkpoint"] = str(packaged_teacher())
    runner = DaggerRunner(create_env("distillation", env_cfg, "cuda:0", 0), cfg, None, "cuda:0")
    collector = Collector(runner.env, runner.alg, runner.logger, "cuda:0", True)
    collector.collect(runner.env.get_observations())  # allocates and compiles
    runner.alg.storage.clear()
    finish = collector._finish

    def checked_until_here(*args):
        torch.cuda.set_sync_debug_mode("default")
        finish(*args)

    monkeypatch.setattr(collector, "_finish", checked_until_here)
    obs = runner.env.get_observations()
    torch.cuda.set_sync_debug_mode("error")
    try:
        collector.collect(obs)
        torch.cuda.set_sync_debug_mode("error")
        total = obs["student"].sum()
        with pytest.raises(RuntimeError):  # the check would have noticed
            total.item()
    finally:
        torch.cuda.set_sync_debug_mode("default")
