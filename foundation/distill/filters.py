"""Labels from good episodes only: rows wait until the episodes that they belong to have ended."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict

from foundation.distill.observations import tensors_of
from foundation.distill.windows import TRAINED, per_step

_DROP, _KEEP, _UNKNOWN = 0, 1, 2
_VERDICT = "verdict"

Predicate = Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]


class EpisodeFilter:
    """Holds rows back until the predicate has judged their episodes; then only steps of good ones are trained."""

    def __init__(self, predicate: str | Predicate, steps: int, num_envs: int, device: torch.device | str) -> None:
        """Set the predicate.

        Args:
            predicate: A key of ``extras`` with a truth value per environment (N,), or a function of rewards, dones
                and extras that returns one, or where to import it from as ``module:function``. Read in the steps
                in which an episode ends.
            steps: Steps of a rollout T.
            num_envs: Number of environments N.
            device: Device of the environment's values.

        Raises:
            ValueError: If the function cannot be imported.
        """
        self._predicate = _resolve(predicate)
        with torch.inference_mode(False):
            self._good = torch.zeros(steps, num_envs, dtype=torch.bool, device=device)
        self.waiting: list[TensorDict] = []

    def observe(self, step: int, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]) -> None:
        """Ask the predicate about the episodes that end in a rollout's step."""
        good = self._predicate(rewards, dones, extras)
        if not isinstance(good, torch.Tensor) or good.numel() != self._good.shape[1]:
            got = tuple(good.shape) if isinstance(good, torch.Tensor) else type(good).__name__
            raise ValueError(
                f"episode_filter must give a tensor of one truth value per environment, shape "
                f"({self._good.shape[1]},); got {got}"
            )
        self._good[step].copy_(good.view(-1) > 0)

    def mark(self, rollout: TensorDict) -> None:
        """Add to a rollout (T, N) what is known of the episode of each of its steps."""
        dones = rollout["dones"]
        verdict = torch.full_like(dones, _UNKNOWN, dtype=torch.uint8)
        following = verdict[0].clone()
        for step in reversed(range(len(dones))):
            following = torch.where(dones[step], self._good[step].to(torch.uint8), following)
            verdict[step] = following
        rollout[_VERDICT] = verdict

    def release(self, rows: TensorDict, rollout: TensorDict) -> TensorDict:
        """Return all rows that are judged, oldest first, and keep back the others.

        Args:
            rows: The rows of a rollout, row i of environment i % N.
            rollout: The rollout, marked.
        """
        # What ends first in this rollout began in an earlier one.
        ends_here = rollout["dones"].any(0)
        first = rollout[_VERDICT][0]
        num_envs = len(first)
        released, waiting = [], []
        for held in self.waiting:
            env = held["env"]
            verdict = per_step(held[_VERDICT])
            open_steps = (verdict == _UNKNOWN) & ends_here[env][:, None]
            held[_VERDICT] = torch.where(open_steps, first[env][:, None], verdict).view_as(held[_VERDICT])
            self._sort(held, released, waiting)
        rows["env"] = torch.arange(len(rows), device=rows.device) % num_envs
        self._sort(rows, released, waiting)
        self.waiting = waiting
        return torch.cat(released).exclude("env", _VERDICT)  # pyright: ignore

    def num_waiting(self) -> int:
        """Return the number of rows kept back."""
        return sum(len(held) for held in self.waiting)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows kept back."""
        return {"waiting": [tensors_of(held) for held in self.waiting]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rows kept back."""
        self.waiting = [TensorDict(held, batch_size=[len(held["env"])]) for held in state["waiting"]]

    @staticmethod
    def _sort(rows: TensorDict, released: list[TensorDict], waiting: list[TensorDict]) -> None:
        verdict = per_step(rows[_VERDICT])
        counts = per_step(rows[TRAINED])
        unknown = ((verdict == _UNKNOWN) & counts).any(1)
        if unknown.any():
            waiting.append(rows[unknown])
        judged = rows[~unknown]
        judged[TRAINED] = judged[TRAINED] & (judged[_VERDICT] == _KEEP)
        released.append(judged)


def _resolve(predicate: str | Predicate) -> Predicate:
    if callable(predicate):
        return predicate
    module, colon, name = predicate.partition(":")
    if colon:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"episode_filter={predicate} cannot be imported: {error}") from error

    def read(rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]) -> torch.Tensor:
        if predicate not in extras and not dones.any():
            return torch.zeros_like(dones)
        if predicate not in extras:
            raise ValueError(
                f"episode_filter={predicate} is no key of the environment's extras, which are {sorted(extras)}"
            )
        return extras[predicate]

    return read
