"""Where rows come from: a number in each row gives the iteration, the environment and the step.

The transitions of a run are numbered as they are collected: step by step, and within a step environment by
environment. A row holds the number of its first transition that counts, modulo 2^32. That costs four bytes, and
often none, as records are padded to whole words. The rest is the same for many rollouts, and is kept in *spans*.
So a history can be written as episodes, with the version of the student that collected each step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from foundation.distill.history.rows import RowLayout

ORIGIN = "origin"
"""Field with the number of a row's first transition that counts, modulo 2^32, int32."""
UNKNOWN = -1
"""Iteration of rows that no iteration of a run has collected, or of which it was not kept."""
_MODULUS = 2**32


class Span(NamedTuple):
    """Numbers ``first`` to ``end - 1``: whole rollouts of one size, of consecutive iterations and one phase."""

    first: int
    """Number of the first transition."""
    end: int
    """Number after the last transition."""
    iteration: int
    """Iteration of the first rollout, which is the version of the student that took part in it."""
    steps: int
    """Steps of a rollout."""
    envs: int
    """Number of environments."""
    phase: int
    """Phase of the training: 1 while only the teacher acts, 2 once the student takes part, 0 if unknown."""

    @property
    def next_iteration(self) -> int:
        """Iteration after the last rollout."""
        return self.iteration + (self.end - self.first) // (self.steps * self.envs)


class Origins:
    """The numbers of the transitions collected so far."""

    def __init__(self) -> None:
        """Begin with none."""
        self.spans: list[Span] = []
        """Oldest first. Where one begins with the end of the one before, environments went on as they were."""
        self.next = 0
        """Number of the next transition."""
        self._continues = False

    def add_rollout(self, steps: int, envs: int, phase: int, iteration: int | None = None) -> int:
        """Number a rollout, and return the number of its first transition.

        Args:
            steps: Steps of the rollout.
            envs: Number of environments.
            phase: Phase of the training.
            iteration: Iteration of the rollout; None is the one after the last.
        """
        last = self.spans[-1] if self.spans else None
        following = 0 if last is None else last.next_iteration
        iteration = following if iteration is None else iteration
        goes_on = last is not None and self._continues and iteration == following
        if last is None or not goes_on or (last.steps, last.envs) != (steps, envs):
            # One step of numbers is left out: what follows is no continuation.
            self.next += envs
            last = None
        first, self.next = self.next, self.next + steps * envs
        if last is not None and last.phase == phase:
            self.spans[-1] = last._replace(end=self.next)
        else:
            self.spans.append(Span(first, self.next, iteration, steps, envs, phase))
        self._continues = True
        return first

    def of_rows(self, layout: RowLayout, first: int, envs: int, device: torch.device) -> torch.Tensor:
        """Return field :data:`ORIGIN` of the rows of a rollout, int32 (B,).

        Args:
            layout: Cuts the rollout into rows.
            first: Number of the rollout's first transition.
            envs: Number of environments.
            device: Device of the rows.
        """
        rows = torch.arange(layout.rows_per_env * envs, device=device)
        return as_field(first + rows // envs * (layout.transitions_per_row * envs) + rows % envs)

    def interrupt(self) -> None:
        """Begin the next rollout with environments that do not go on where they were."""
        self._continues = False

    def forget(self, rows: int, width: int) -> None:
        """Keep of so many rows of :func:`isolated` only that they are there.

        Args:
            rows: Number of rows.
            width: Steps of a row.
        """
        self.next = max(rows, 1) * (width + 1)
        self.spans = [Span(0, self.next, UNKNOWN, self.next, 1, 0)]
        self.interrupt()

    def state_dict(self) -> dict[str, Any]:
        """Return all spans, int64 (K, 6), and what the next rollout's numbers depend on."""
        spans = torch.tensor(self.spans, dtype=torch.int64).view(-1, len(Span._fields))
        return {"spans": spans, "next": self.next, "continues": self._continues}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""
        self.spans = [Span(*span) for span in state["spans"].tolist()]
        self.next, self._continues = state["next"], state["continues"]


def as_field(numbers: torch.Tensor) -> torch.Tensor:
    """Return numbers, int64, as they are stored: modulo 2^32, int32."""
    return numbers.to(torch.int32)


def from_field(origins: torch.Tensor, end: int) -> np.ndarray:
    """Return the numbers, int64, of field :data:`ORIGIN`: the last ones before ``end``."""
    return end - 1 - (end - 1 - origins.cpu().numpy().astype(np.int64)) % _MODULUS


def isolated(slots: torch.Tensor, width: int, burn_in: int) -> torch.Tensor:
    """Return numbers, int64 (B,), for rows whose origins were not kept: no row continues another one.

    Args:
        slots: Slots of the rows, (B,).
        width: Steps of a row.
        burn_in: Steps of a row before the first that counts.
    """
    return slots.long() * (width + 1) + burn_in
