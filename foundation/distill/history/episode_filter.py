"""Episode filters: labels from good episodes only; rows are held back until their episodes have ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tensordict import TensorDict

from foundation.distill.history.rows import LOSS_MASK, per_step
from foundation.distill.strategies import import_object
from foundation.distill.tensors import tensors_of

_DROP, _KEEP, _UNKNOWN = 0, 1, 2
_VERDICT = "verdict"

Predicate = Callable[[torch.Tensor, torch.Tensor, dict[str, Any]], torch.Tensor]
"""Called with rewards (N,), dones (N,) and extras; returns N truth values, used where episodes end."""


class EpisodeFilter:
    """Holds rows back until their episodes have ended; only steps of good episodes count in the loss."""

    def __init__(self, predicate: str | Predicate, steps: int, num_envs: int, device: torch.device | str) -> None:
        """Set the predicate.

        Args:
            predicate: A key of ``extras`` with a truth value per environment (N,), a :data:`Predicate`, or the
                import path of one: ``module:function``, or ``module:Class`` of a class without arguments whose
                objects are predicates.
            steps: Steps of a rollout T.
            num_envs: Number of environments N.
            device: Device of the environment's values.

        Raises:
            ValueError: If the predicate cannot be imported.
        """
        self.name = predicate
        """The predicate as it was given."""
        self._predicate = _resolve(predicate)
        with torch.inference_mode(False):
            self._good = torch.zeros(steps, num_envs, dtype=torch.bool, device=device)
        self.held_back: list[TensorDict] = []
        """Rows whose episodes have not ended."""

    def observe(self, step: int, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]) -> None:
        """Judge the episodes that end in a rollout's step."""
        good = self._predicate(rewards, dones, extras)
        if not isinstance(good, torch.Tensor) or good.numel() != self._good.shape[1]:
            got = tuple(good.shape) if isinstance(good, torch.Tensor) else type(good).__name__
            raise ValueError(
                f"episode_filter must give a tensor of one truth value per environment, shape "
                f"({self._good.shape[1]},); got {got}"
            )
        self._good[step].copy_(good.view(-1) > 0)

    def mark(self, rollout: TensorDict) -> None:
        """Add to a rollout (T, N) the verdict on the episode of each step, or that there is none yet."""
        dones = rollout["dones"]
        verdict = torch.full_like(dones, _UNKNOWN, dtype=torch.uint8)
        following = verdict[0].clone()
        for step in reversed(range(len(dones))):
            following = torch.where(dones[step], self._good[step].to(torch.uint8), following)
            verdict[step] = following
        rollout[_VERDICT] = verdict

    def release(self, rows: TensorDict, rollout: TensorDict) -> TensorDict:
        """Return all rows with a verdict, oldest first, and hold back the others.

        Args:
            rows: The rows of a rollout, row i of environment i % N.
            rollout: The rollout, after :meth:`mark`.
        """
        # The first episode to end in this rollout began in an earlier one: its verdict is theirs.
        ends_here = rollout["dones"].any(0)
        first = rollout[_VERDICT][0]
        num_envs = len(first)
        released, held_back = [], []
        for held in self.held_back:
            env = held["env"]
            verdict = per_step(held[_VERDICT])
            open_steps = (verdict == _UNKNOWN) & ends_here[env][:, None]
            held[_VERDICT] = torch.where(open_steps, first[env][:, None], verdict).view_as(held[_VERDICT])
            self._sort(held, released, held_back)
        rows["env"] = torch.arange(len(rows), device=rows.device) % num_envs
        self._sort(rows, released, held_back)
        self.held_back = held_back
        return torch.cat(released).exclude("env", _VERDICT)  # pyright: ignore

    def num_held_back(self) -> int:
        """Return the number of rows held back."""
        return sum(len(held) for held in self.held_back)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows held back."""
        return {"waiting": [tensors_of(held) for held in self.held_back]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the rows held back."""
        self.held_back = [TensorDict(held, batch_size=[len(held["env"])]) for held in state["waiting"]]

    @staticmethod
    def _sort(rows: TensorDict, released: list[TensorDict], held_back: list[TensorDict]) -> None:
        verdict = per_step(rows[_VERDICT])
        counts = per_step(rows[LOSS_MASK])
        unknown = ((verdict == _UNKNOWN) & counts).any(1)
        if unknown.any():
            held_back.append(rows[unknown])
        judged = rows[~unknown]
        judged[LOSS_MASK] = judged[LOSS_MASK] & (judged[_VERDICT] == _KEEP)
        released.append(judged)


def _resolve(predicate: str | Predicate) -> Predicate:
    if callable(predicate):
        return predicate
    if ":" in predicate:
        found = import_object("episode_filter", predicate)
        return found() if isinstance(found, type) else found

    def read(rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]) -> torch.Tensor:
        if predicate not in extras and not dones.any():
            return torch.zeros_like(dones)
        if predicate not in extras:
            raise ValueError(
                f"episode_filter={predicate} is no key of the environment's extras, which are {sorted(extras)}"
            )
        return extras[predicate]

    return read
