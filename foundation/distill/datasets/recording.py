"""A history as steps in order, episode after episode, and what is told of each step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from foundation.distill.history.origins import ORIGIN, UNKNOWN, Origins, Span, from_field
from foundation.distill.history.rows import LOSS_MASK

HIDDEN = "hidden/"
"""Beginning of the names of a window's hidden states."""
WARMS_UP, COUNTS, BEGINS_ROW = 0, 1, 2
"""What a step is in the rows of the history: burn-in alone, one that counts, the first that counts in its row."""


@dataclass
class Recording:
    """Steps, environment by environment, each in the order of time."""

    fields: dict[str, np.ndarray]
    """What is stored of each step, by its name in the history, each (S, …)."""
    numbers: np.ndarray
    """Number of each step, int64 (S,); see :mod:`foundation.distill.history.origins`."""
    roles: np.ndarray
    """:data:`WARMS_UP`, :data:`COUNTS` or :data:`BEGINS_ROW` for each step, uint8 (S,)."""
    hidden: dict[str, np.ndarray]
    """Hidden state ``burn_in`` steps before a row begins, (S, layers, H) at its first step that counts; else 0."""
    origins: dict[str, Any]
    """A state of :class:`~foundation.distill.history.origins.Origins`."""
    length: int = 1
    """Steps of a row that count; 1 for transitions."""
    burn_in: int = 0
    """Steps of a row before them."""
    bounds: tuple[np.ndarray, np.ndarray] | None = None
    """Lowest and highest action that the environment applied, each a scalar or (A,); None if unknown."""
    is_exported: bool = False
    """Whether it was read from a dataset that a run's history was written to."""

    def __post_init__(self) -> None:
        """Look up what the numbers tell.

        Raises:
            ValueError: If a number is in no span.
        """
        table = SpanTable(self.origins["spans"].numpy())
        span, known = table.find(self.numbers)
        if not known.all():
            raise ValueError("a step has a number that belongs to no iteration")
        first, envs, steps = (table.column(name)[span] for name in ("first", "envs", "steps"))
        rollout = (self.numbers - first) // envs // steps
        iteration = table.column("iteration")[span]
        self.environments: np.ndarray = (self.numbers - first) % envs
        """Environment of each step, int64 (S,)."""
        self.versions: np.ndarray = np.where(iteration == UNKNOWN, UNKNOWN, iteration + rollout)
        """Iteration that collected each step, which is the version of the student, int64 (S,)."""
        self.phases: np.ndarray = table.column("phase")[span]
        """Phase of the training, int64 (S,)."""
        adjacent = np.zeros(len(self.numbers), bool)
        adjacent[1:] = (np.diff(self.numbers) == envs[1:]) & (np.diff(table.streams[span]) == 0)
        same_rollout = np.ones(len(self.numbers), bool)
        same_rollout[1:] = (np.diff(span) == 0) & (np.diff(rollout) == 0)
        self.stretches: np.ndarray = (~adjacent).cumsum()
        """A number for each stretch of consecutive steps, through the ends of episodes, (S,)."""
        self.blocks: np.ndarray = (~(adjacent & same_rollout)).cumsum()
        """A number for each part of a stretch that is of one rollout, (S,)."""
        begins = ~adjacent
        begins[1:] |= self.fields["dones"][:-1]
        self.begins: np.ndarray = np.flatnonzero(begins)
        """First step of each episode, or of each part of one that is there, (E,)."""

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self.numbers)

    def episodes(self) -> list[slice]:
        """Return the steps of each episode, or part of one."""
        ends = [*self.begins[1:], len(self)]
        return [slice(int(first), int(end)) for first, end in zip(self.begins, ends, strict=True)]

    @property
    def groups(self) -> dict[str, np.ndarray]:
        """The observations by group, each (S, …)."""
        return {name[4:]: values for name, values in self.fields.items() if name.startswith("obs/")}


class SpanTable:
    """Spans of numbers as an array, to look numbers up in."""

    def __init__(self, spans: np.ndarray) -> None:
        """Take spans (K, 6), oldest first."""
        self._spans = spans
        first, end = self.column("first"), self.column("end")
        sizes = spans[:, [Span._fields.index("steps"), Span._fields.index("envs")]]
        anew = np.ones(len(spans), bool)
        anew[1:] = (first[1:] != end[:-1]) | (sizes[1:] != sizes[:-1]).any(1)
        self.streams: np.ndarray = anew.cumsum()
        """A number for each group of spans in which the environments went on, (K,)."""

    def column(self, name: str) -> np.ndarray:
        """Return one entry of all spans, (K,)."""
        return self._spans[:, Span._fields.index(name)]

    def find(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the index of the last span that begins at or before each number, and whether it is in it."""
        index = np.searchsorted(self.column("first"), numbers, side="right") - 1
        clipped = index.clip(0, max(len(self._spans) - 1, 0))
        if not len(self._spans):
            return clipped, np.zeros(numbers.shape, bool)
        return clipped, (index >= 0) & (numbers < self.column("end")[clipped])


def recorded(rows: dict[str, torch.Tensor], origins: dict[str, Any], burn_in: int) -> Recording:
    """Return the steps of rows: each once, also those that are burn-in of one row and count in another.

    Args:
        rows: The fields of rows, (B, …) of transitions, or (B, W, …) of windows.
        origins: A state of :class:`~foundation.distill.history.origins.Origins`.
        burn_in: Steps of a row before the first that counts.
    """
    is_window = rows["dones"].ndim == 2
    width = rows["dones"].shape[1] if is_window else 1
    table = SpanTable(origins["spans"].numpy())
    origin = from_field(rows[ORIGIN], origins["next"])
    offsets = np.arange(width) - burn_in
    of_row, _ = table.find(origin)
    first, envs, steps = (table.column(name)[of_row][:, None] for name in ("first", "envs", "steps"))
    numbers = origin[:, None] + offsets * envs
    span, known = table.find(numbers)
    known &= table.streams[span] == table.streams[of_row][:, None]
    # Behind the end of its rollout a window is padded.
    known &= (origin[:, None] - first) // envs % steps + offsets < steps
    if is_window:
        counted = rows[LOSS_MASK].numpy()
        last = width - 1 - counted[:, ::-1].argmax(1)
        known &= (table.column("iteration")[of_row] != UNKNOWN)[:, None] | (np.arange(width) <= last[:, None])
    row, step = np.nonzero(known)
    numbers, counts = numbers[row, step], step >= burn_in
    # Of steps that are in two rows, take the one that counts.
    order = np.lexsort((~counts, numbers))
    order = order[np.diff(numbers[order], prepend=-1) != 0]
    span, _ = table.find(numbers[order])
    environment = (numbers[order] - table.column("first")[span]) % table.column("envs")[span]
    order = order[np.lexsort((numbers[order], environment, table.streams[span]))]
    row, step, numbers, counts = row[order], step[order], numbers[order], counts[order]
    begins = counts & (step == burn_in)
    fields, hidden = {}, {}
    for name, values in rows.items():
        if name.startswith(HIDDEN):
            hidden[name] = np.zeros((len(row), *values.shape[1:]), np.float32)
            hidden[name][begins] = values.numpy()[row[begins]]
        elif name != ORIGIN:
            fields[name] = values.numpy()[row, step] if is_window else values.numpy()[row]
    roles = np.where(begins, BEGINS_ROW, np.where(counts, COUNTS, WARMS_UP)).astype(np.uint8)
    return Recording(fields, numbers, roles, hidden, origins, width - burn_in, burn_in)


def demonstrated(fields: dict[str, np.ndarray], begins: np.ndarray, phase: int) -> Recording:
    """Return a recording of demonstrations, which no iteration of a run has collected.

    Args:
        fields: What is stored of each step, each (S, …), episode after episode.
        begins: First step of each episode, (E,).
        phase: Phase of the training that they count as.
    """
    count, origins = len(fields["dones"]), Origins()
    ends = [*begins[1:].tolist(), count]
    numbers = np.empty(count, np.int64)
    for first, end in zip(begins.tolist(), ends, strict=True):
        # A number is left out between two episodes.
        number = origins.next + 1
        origins.next = number + end - first
        origins.spans.append(Span(number, origins.next, UNKNOWN, end - first, 1, phase))
        numbers[first:end] = np.arange(number, origins.next)
    return Recording(fields, numbers, np.full(count, BEGINS_ROW, np.uint8), {}, origins.state_dict())
