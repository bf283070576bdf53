"""A sampler of your own, named by its import path: the newest rollout is drawn twice as often as the rest.

Run: python examples/5_a_strategy_of_your_own.py
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import torch

from foundation.distill import DaggerRunner
from foundation.distill.history.samplers import Sampler
from foundation.distill.history.storage import Index

own = importlib.import_module("2_your_own_environment")


class NewestTwice(Sampler):
    """Half of a mini-batch comes from the newest rollout, the other half from the whole history."""

    def __init__(self, max_rows: int, device: torch.device, options: Any = None) -> None:
        """Begin with no rows."""
        super().__init__(max_rows, device, options)
        self._newest = torch.empty(0, dtype=torch.long, device=device)

    def begin_append(self) -> None:
        """Forget the rollout before."""
        self._newest = self._newest[:0]

    def added(self, slots: Index) -> None:
        """Register the slots of the newest rollout."""
        if isinstance(slots, slice):
            slots = torch.arange(slots.start, slots.stop, device=self.device)
        self._newest = torch.cat([self._newest, slots])

    def draw(self, size: int, mini_batch_size: int, count: int) -> Iterator[torch.Tensor]:
        """Yield both halves, drawn with replacement."""
        half = mini_batch_size // 2
        for _ in range(count):
            newest = self._newest[torch.randint(len(self._newest), (half,), device=self.device)]
            yield torch.cat([newest, torch.randint(size, (mini_batch_size - half,), device=self.device)])

    def state_dict(self, size: int) -> dict[str, Any]:
        """Return the slots of the newest rollout, so that a resumed run draws the same."""
        return {"newest": self._newest.cpu()}

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore them."""
        self._newest = (state["newest"].to(self.device) - unroll) % max(size, 1)


def main(folder: str = "logs/example_5", iterations: int = 60) -> None:
    """Distil with this sampler and with the default one."""
    torch.manual_seed(0)
    teacher = own.train_teacher(f"{folder}/teacher", iterations)
    for sampling in ("passes", f"{__name__}:NewestTwice"):
        runner = DaggerRunner(own.PointMass(32), own.student_cfg(teacher, sampling=sampling), None)
        runner.learn(iterations // 2)
        value = own.mean_return(runner.alg.student)
        print(f"{sampling:30} {value:.1f}")


if __name__ == "__main__":
    main()
