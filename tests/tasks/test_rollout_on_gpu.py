"""Iterations that only queue work on the GPU, and rollouts repeated as a CUDA graph."""

from __future__ import annotations

import pytest
import torch

from foundation.distill.runners.dagger import DaggerRunner
from foundation.tasks import create_env, load_task, packaged_teacher
from foundation.tasks.config import compose

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

DEVICE = "cuda:0"
FEED_FORWARD = ["agent.student.class_name=MLPModel"]
GRU = ["agent.student.class_name=RNNModel", "agent.student.rnn_type=gru", "agent.student.rnn_hidden_dim=32"]
# Two rollouts of 256 environments fill the history.
FULL_SOON = ["agent.num_steps_per_env=50", "agent.algorithm.max_buffer_size=25600"]


class Iterations:
    """A run's iterations as the runner makes them."""

    def __init__(self, overrides: list[str]) -> None:
        torch.manual_seed(0)
        env_cfg, agent_cfg = compose(
            load_task("distillation"), [*FULL_SOON, *overrides], flags={"env.num_envs": 256}
        )
        cfg = agent_cfg.to_dict()
        cfg["algorithm"]["teacher_checkpoint"] = str(packaged_teacher())
        self.runner = DaggerRunner(create_env("distillation", env_cfg, DEVICE, 0), cfg, None, DEVICE)
        self._collector = self.runner.make_collector()
        self._obs = self.runner.env.get_observations()

    def one(self) -> float:
        self._obs = self._collector.collect(self._obs)
        return self.runner.alg.update()["behavior"]


@pytest.mark.parametrize("student", [FEED_FORWARD, GRU], ids=["feed-forward", "GRU"])
@pytest.mark.parametrize("phase1_iterations", [0, 10])
def test_an_iteration_synchronises_with_the_gpu_only_at_its_end(student, phase1_iterations, monkeypatch):
    run = Iterations([*student, f"agent.algorithm.phase1_iterations={phase1_iterations}"])
    for _ in range(4):  # allocates and compiles, and fills the history
        run.one()
    read, reads = run.runner.alg.scalars.read, []

    def read_at_the_end(**scalars):
        torch.cuda.set_sync_debug_mode("default")
        reads.append(scalars)
        return read(**scalars)

    monkeypatch.setattr(run.runner.alg.scalars, "read", read_at_the_end)
    torch.cuda.set_sync_debug_mode("error")
    try:
        run.one()
        assert len(reads) == 1
        torch.cuda.set_sync_debug_mode("error")
        with pytest.raises(RuntimeError):  # the check would have noticed
            run.runner.alg.storage.rewards.sum().item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("phase1_iterations", [0, 10])
def test_rollouts_repeated_as_a_graph_are_those_that_their_steps_give(phase1_iterations):
    driven = f"agent.algorithm.phase1_iterations={phase1_iterations}"
    stepwise, repeated = Iterations([driven]), Iterations([driven, "agent.cuda_graph=true"])
    rollouts = {}
    for name, run in (("stepwise", stepwise), ("repeated", repeated)):
        torch.manual_seed(1)
        torch.cuda.manual_seed(1)
        for _ in range(3):
            run._obs = run._collector.collect(run._obs)
            storage = run.runner.alg.storage
            rollouts.setdefault(name, []).append(
                {field: getattr(storage, field).clone() for field in ("actions", "rewards", "dones")}
            )
            storage.clear()
    for one, other in zip(rollouts["stepwise"], rollouts["repeated"], strict=True):
        for field, values in one.items():
            torch.testing.assert_close(other[field], values, rtol=0, atol=1e-5, msg=field)
