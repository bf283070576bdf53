"""Evictions: which stored rows are replaced by new ones once the history is full."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from foundation.distill.history.storage import Index
from foundation.distill.phases import STUDENT_PHASE, TEACHER_PHASE
from foundation.distill.strategies import Registry, Strategy

DEFAULT_PHASE_FLOOR = 0.25
"""Share of the history that eviction ``balanced`` keeps for each phase."""


class Eviction(Strategy):
    """Chooses the slots of new rows. Extend it to write one of your own; :class:`Fifo` is the shortest example."""

    bytes_per_row: ClassVar[int] = 0
    """Memory of the bookkeeping [bytes per row]."""
    reads_phases: ClassVar[bool] = False
    """Whether a choice depends on the rows' phases; if not, the phases given are zeros."""

    def __init__(self, max_rows: int, device: torch.device, options: Any = None) -> None:
        """Begin with an empty history.

        Args:
            max_rows: Largest number of rows.
            device: Device that the rows are kept on.
            options: The :class:`~foundation.distill.DaggerOptions`, for evictions with options.
        """

    @classmethod
    def replaceable_share(cls, options: Any) -> float:
        """Return the share of a full history that rows of a single phase can replace."""
        return 1.0

    def fill(self, first: int, phases: torch.Tensor) -> None:
        """Register rows that were written into free slots, from slot ``first`` on."""

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Choose slots in a full history of ``size`` rows.

        Args:
            phases: Phase of each new row, oldest first, shape (B,).
            size: Number of stored rows.

        Returns:
            Pairs (rows, slots): which new rows go into which slots. New rows in no pair are not stored.
        """
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next choice reads."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""

    @staticmethod
    def unroll(state: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Prepare a saved, full history to continue in a larger one.

        Returns:
            The slot of the oldest row, which becomes slot 0, and the state once it is there. None if the slots are
            in no order of age, so that the history cannot continue.
        """
        return None


class Fifo(Eviction):
    """Replaces the oldest rows: a ring."""

    def __init__(self, max_rows: int, device: torch.device, options: Any = None) -> None:
        """Begin with the oldest row in slot 0."""
        self.oldest = 0

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Choose the oldest rows' slots: one part of the ring, or two."""
        count, oldest = len(phases), self.oldest
        self.oldest = (oldest + count) % size
        until_end = min(count, size - oldest)
        pairs: list[tuple[Index, Index]] = [(slice(0, until_end), slice(oldest, oldest + until_end))]
        if until_end < count:
            pairs.append((slice(until_end, count), slice(0, count - until_end)))
        return pairs

    def state_dict(self) -> dict[str, Any]:
        """Return the slot of the oldest row."""
        return {"oldest": self.oldest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the slot of the oldest row."""
        self.oldest = state["oldest"]

    @staticmethod
    def unroll(state: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Return the slot of the oldest row, and a ring that begins in slot 0."""
        return state["oldest"], {"oldest": 0}


class Reservoir(Eviction):
    """Keeps every row ever seen with the same probability.

    Reference: Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical Software 11(1),
    1985, algorithm R.
    """

    def __init__(self, max_rows: int, device: torch.device, options: Any = None) -> None:
        """Begin with no row seen."""
        self.seen = 0

    def fill(self, first: int, phases: torch.Tensor) -> None:
        """Count the rows."""
        self.seen += len(phases)

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Keep the i-th row ever seen with probability size / i, in a slot drawn uniformly."""
        count, device = len(phases), phases.device
        numbers = torch.arange(self.seen + 1, self.seen + count + 1, device=device, dtype=torch.float64)
        self.seen += count
        slots = (torch.rand(count, device=device, dtype=torch.float64) * numbers).long()
        kept = (slots < size).nonzero()[:, 0]
        # If several rows drew the same slot the last one stays, as if they had come one at a time.
        last = torch.full((size,), -1, device=device)
        last.scatter_reduce_(0, slots[kept], kept, "amax")
        taken = (last >= 0).nonzero()[:, 0]
        return [(last[taken], taken)]

    def state_dict(self) -> dict[str, Any]:
        """Return the number of rows seen."""
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the number of rows seen."""
        self.seen = state["seen"]


class Balanced(Eviction):
    """Replaces the oldest rows, of the other phase while it has more than its floor, else of the same phase."""

    takes = ("phase_floor",)
    bytes_per_row = 2 * 8
    reads_phases = True

    def __init__(self, max_rows: int, device: torch.device, options: Any) -> None:
        """Begin with empty queues."""
        self.floor = self._floor(options)
        self._queues = {phase: _SlotQueue(max_rows, device) for phase in (TEACHER_PHASE, STUDENT_PHASE)}

    @classmethod
    def check(cls, options: Any) -> None:
        """Check that both floors fit into the history."""
        if options.phase_floor is not None and not 0.0 < options.phase_floor < 0.5:
            raise ValueError(f"phase_floor must lie above 0 and below 0.5, got {options.phase_floor}")

    @classmethod
    def replaceable_share(cls, options: Any) -> float:
        """Return the share above the other phase's floor."""
        return 1.0 - cls._floor(options)

    @staticmethod
    def _floor(options: Any) -> float:
        return DEFAULT_PHASE_FLOOR if options.phase_floor is None else options.phase_floor

    def fill(self, first: int, phases: torch.Tensor) -> None:
        """Append each row's slot to the queue of its phase."""
        for phase, queue in self._queues.items():
            queue.push((phases == phase).nonzero()[:, 0] + first)

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Choose the oldest rows' slots, for one phase after the other."""
        pairs: list[tuple[Index, Index]] = []
        for phase, own in self._queues.items():
            other = self._queues[STUDENT_PHASE if phase == TEACHER_PHASE else TEACHER_PHASE]
            rows = (phases == phase).nonzero()[:, 0]
            spare = max(0, len(other) - int(self.floor * size))
            from_own = min(max(0, len(rows) - spare), len(own))
            slots = torch.cat([other.pop(len(rows) - from_own), own.pop(from_own)])
            own.push(slots)
            pairs.append((rows, slots))
        return pairs

    def state_dict(self) -> dict[str, Any]:
        """Return the slots of each phase, oldest first."""
        return {"slots": {phase: queue.slots().cpu() for phase, queue in self._queues.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the slots of each phase."""
        for phase, queue in self._queues.items():
            queue.pop(len(queue))
            queue.push(state["slots"][phase])


class _SlotQueue:
    """Slots in order of age, in a ring."""

    def __init__(self, capacity: int, device: torch.device) -> None:
        self._ring = torch.empty(capacity, dtype=torch.int64, device=device)
        self._head = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, slots: torch.Tensor) -> None:
        where = torch.arange(len(slots), device=self._ring.device) + self._head + self._length
        self._ring[where % len(self._ring)] = slots.to(self._ring.device)
        self._length += len(slots)

    def pop(self, count: int) -> torch.Tensor:
        out = self.slots()[:count]
        self._head = (self._head + count) % len(self._ring)
        self._length -= count
        return out

    def slots(self) -> torch.Tensor:
        where = torch.arange(self._length, device=self._ring.device) + self._head
        return self._ring[where % len(self._ring)]


EVICTIONS = Registry("eviction", Eviction, {"fifo": Fifo, "reservoir": Reservoir, "balanced": Balanced})
