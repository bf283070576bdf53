"""What a process of a distributed run does in the tests: ``torchrun -m tests.support.ranks SCENARIO FOLDER``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from tensordict import TensorDict

from foundation.distill import DaggerRunner, NonFiniteError, ObservedActions, ranks
from foundation.distill.history.origins import ORIGIN
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint

NUM_ENVS = 6


class AllRanksEnv(ToyEnv):
    """The environments of several ranks in one process: the oracle."""

    def __init__(self, num_ranks: int) -> None:
        self.parts = [ToyEnv(NUM_ENVS, seed=rank) for rank in range(num_ranks)]
        super().__init__(NUM_ENVS * num_ranks)

    def get_observations(self):
        return torch.cat([part.get_observations() for part in self.parts])

    def step(self, actions):
        steps = [part.step(own) for part, own in zip(self.parts, actions.split(NUM_ENVS), strict=True)]
        obs, rewards, dones, extras = zip(*steps, strict=True)
        self.episode_length_buf = torch.cat([part.episode_length_buf for part in self.parts])
        time_outs = torch.cat([extra["time_outs"] for extra in extras])
        return TensorDict.cat(obs), torch.cat(rewards), torch.cat(dones), {"time_outs": time_outs}


def make(folder: Path, name: str, env: ToyEnv, **options: object) -> DaggerRunner:
    """Return a runner whose first weights are the same in every process, and whose noise is not."""
    torch.manual_seed(0)
    cfg = runner_cfg(**options)
    cfg["save_interval"] = 1
    made = DaggerRunner(env, cfg, str(folder / name))
    made.load(str(folder / "teacher.pt"))
    torch.manual_seed(ranks.rank())
    return made


def state_of(runner: DaggerRunner) -> dict:
    history = runner.history
    assert history is not None
    fields = history[slice(0, len(history))]
    rows = torch.cat(
        [fields[name].reshape(len(history), -1).double() for name in sorted(set(fields.keys()) - {ORIGIN})], dim=1
    )
    return {
        "weights": runner.alg.get_policy().state_dict(),
        "rows": rows,
        "iteration": runner.last_completed_iteration,
    }


FULL_BATCH = {"num_mini_batches": 1, "num_learning_epochs": 3, "phase1_iterations": 500}
MIXED = {"phase1_iterations": 1, "num_learning_epochs": None}


def full_batch(folder: Path) -> DaggerRunner:
    runner = make(folder, "full_batch", ToyEnv(NUM_ENVS, seed=ranks.launched_rank()), **FULL_BATCH)
    runner.learn(3)
    return runner


def whole(folder: Path, iterations: int = 4, name: str = "whole") -> DaggerRunner:
    runner = make(folder, name, ToyEnv(NUM_ENVS, seed=ranks.launched_rank()), **MIXED)
    runner.learn(iterations)
    return runner


def half(folder: Path) -> DaggerRunner:
    return whole(folder, 2, "half")


def load(folder: Path) -> DaggerRunner:
    runner = make(folder, "again", ToyEnv(NUM_ENVS, seed=100 + ranks.launched_rank()), **MIXED)
    runner.load(str(folder / "half" / "model_1.pt"))
    return runner


def resume(folder: Path) -> DaggerRunner:
    runner = load(folder)
    runner.learn(2)
    return runner


class Mortal(ToyEnv):
    """Ends the process of the last rank in its third rollout, as the kernel does when memory is gone."""

    def step(self, actions):
        if ranks.rank() == ranks.world_size() - 1 and len(self.actions) == 25:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(actions)


class Spoiled(ToyEnv):
    """Gives the last rank NaN in its third rollout."""

    def step(self, actions):
        obs, rewards, dones, extras = super().step(actions)
        if ranks.rank() == ranks.world_size() - 1 and len(self.actions) == 25:
            obs["student"][2] = torch.nan
        return obs, rewards, dones, extras


class MortalTeacher(ObservedActions):
    """Ends the process of the second rank when it acts for the 50th time, until torchrun has started it again."""

    calls = 0

    def forward(self, obs: TensorDict, *args: object, **kwargs: object) -> torch.Tensor:
        self.calls += 1
        if self.calls == 50 and ranks.rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(obs)


def killed(folder: Path) -> None:
    make(folder, "killed", Mortal(NUM_ENVS), **MIXED).learn(10)


def spoiled(folder: Path) -> None:
    make(folder, "spoiled", Spoiled(NUM_ENVS), **MIXED).learn(10)


def main() -> None:
    scenarios, folder = sys.argv[1].split(","), Path(sys.argv[2])
    torch.set_num_threads(1)
    for scenario in scenarios:
        runner = globals()[scenario](folder)
        if runner is not None:
            torch.save(state_of(runner), folder / f"{scenario}_{ranks.rank()}_of_{ranks.world_size()}.pt")


def write_teacher(folder: Path) -> None:
    torch.save(teacher_checkpoint(), folder / "teacher.pt")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, NonFiniteError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
