"""Which stored rows give way to new ones once the history is full."""

from __future__ import annotations

from typing import Any, Protocol

import torch

from foundation.distill.schedule import STUDENT_PHASE, TEACHER_PHASE
from foundation.distill.storage import Index

DEFAULT_PHASE_FLOOR = 0.25
"""Share of the history that eviction ``balanced`` keeps for each phase."""


class Eviction(Protocol):
    """Chooses the slots of new rows."""

    bytes_per_row: int
    """Memory of its bookkeeping [bytes per row]."""
    reads_phases: bool
    """Whether a choice depends on the rows' phases; if not, whatever phases are told."""

    def fill(self, first: int, phases: torch.Tensor) -> None:
        """Take note of rows that were written into free slots, from slot ``first`` on."""
        ...

    def upcoming(self, count: int, size: int) -> list[slice]:
        """Return the slots that ``count`` rows will go into, in a full history; none if nobody knows yet."""
        ...

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Choose slots in a full history of ``size`` rows.

        Args:
            phases: Phase of each new row, oldest first, shape (B,).
            size: Number of stored rows.

        Returns:
            Pairs of which new rows go into which slots; new rows in none are not kept.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return what the next choice reads."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        ...


class Fifo:
    """The oldest row gives way: a ring."""

    bytes_per_row = 0
    reads_phases = False

    def __init__(self) -> None:
        """Begin with the oldest row in slot 0."""
        self.oldest = 0

    def fill(self, first: int, phases: torch.Tensor) -> None:
        """Rows fill the ring in order; nothing to note."""

    def upcoming(self, count: int, size: int) -> list[slice]:
        """Return the oldest rows' slots: one part of the ring, or two."""
        first = min(count, size - self.oldest)
        parts = [slice(self.oldest, self.oldest + first), slice(0, count - first)]
        return [part for part in parts if part.start < part.stop]

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Choose the oldest rows' slots."""
        pairs: list[tuple[Index, Index]] = []
        first = 0
        for slots in self.upcoming(len(phases), size):
            stop = first + slots.stop - slots.start
            pairs.append((slice(first, stop), slots))
            first = stop
        self.oldest = (self.oldest + first) % size
        return pairs

    def state_dict(self) -> dict[str, Any]:
        """Return the slot of the oldest row."""
        return {"oldest": self.oldest}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the slot of the oldest row."""
        self.oldest = state["oldest"]


class Reservoir:
    """Every row ever seen is stored with the same probability.

    Reference: Vitter, "Random sampling with a reservoir", ACM Transactions on Mathematical Software 11(1),
    1985, algorithm R.
    """

    bytes_per_row = 0
    reads_phases = False

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self.seen = 0

    def fill(self, first: int, phases: torch.Tensor) -> None:
        """Count the rows."""
        self.seen += len(phases)

    def upcoming(self, count: int, size: int) -> list[slice]:
        """Return none: chance will choose."""
        return []

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Keep the i-th row ever seen with probability size / i, in a slot drawn uniformly."""
        count, device = len(phases), phases.device
        numbers = torch.arange(self.seen + 1, self.seen + count + 1, device=device, dtype=torch.float64)
        self.seen += count
        slots = (torch.rand(count, device=device, dtype=torch.float64) * numbers).long()
        kept = (slots < size).nonzero()[:, 0]
        # Of several rows drawn into one slot the last one stays, as if they had come one at a time.
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


class Balanced:
    """The oldest row gives way, of the other phase while that has more than its floor, else of the same phase."""

    bytes_per_row = 2 * 8
    reads_phases = True

    def __init__(self, max_rows: int, floor: float, device: torch.device) -> None:
        """Begin with empty queues.

        Args:
            max_rows: Largest number of rows.
            floor: Share of the rows that each phase keeps, below one half.
            device: Where the slots' numbers are kept.
        """
        self.floor = floor
        self._queues = {phase: _SlotQueue(max_rows, device) for phase in (TEACHER_PHASE, STUDENT_PHASE)}

    def fill(self, first: int, phases: torch.Tensor) -> None:
        """Remember each row's slot under its phase."""
        for phase, queue in self._queues.items():
            queue.push((phases == phase).nonzero()[:, 0] + first)

    def upcoming(self, count: int, size: int) -> list[slice]:
        """Return none: the rows' phases will choose."""
        return []

    def replace(self, phases: torch.Tensor, size: int) -> list[tuple[Index, Index]]:
        """Choose the oldest rows' slots, of one phase after the other."""
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
    """Slots in order of age."""

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


EVICTIONS: dict[str, type[Eviction]] = {"fifo": Fifo, "reservoir": Reservoir, "balanced": Balanced}


def make_eviction(kind: str, max_rows: int, phase_floor: float | None, device: torch.device) -> Eviction:
    """Return an eviction by name."""
    if kind == "balanced":
        return Balanced(max_rows, DEFAULT_PHASE_FLOOR if phase_floor is None else phase_floor, device)
    return EVICTIONS[kind]()
