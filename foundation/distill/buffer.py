"""The aggregated history: rows of every rollout, bounded, and mini-batches drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict

from foundation.distill.display import announce
from foundation.distill.eviction import EVICTIONS, Fifo, make_eviction
from foundation.distill.observations import tensors_of
from foundation.distill.records import RecordFormat
from foundation.distill.sampling import SAMPLERS, make_sampler
from foundation.distill.storage import CHANGED_BYTES, Index, MappedStorage, RowStorage

INITIAL_CAPACITY = 100_000
"""Transitions that a new history has room for."""
SLOT = "slot"
"""Field of a mini-batch that tells which slots its rows came from."""


class AggregatedBuffer:
    """Rows in slots, growing up to a maximum; a row is a transition, or a window of them.

    A row's fields are up to the caller, except that eviction ``balanced`` reads ``phase`` and that ``trained``,
    where there is one, marks the transitions of a window that count.
    """

    def __init__(
        self,
        example: TensorDict,
        max_size: int,
        device: torch.device | str,
        *,
        eviction: str = "fifo",
        phase_floor: float | None = None,
        sampling: str = "passes",
        recency_half_life: float | None = None,
        priority_exponent: float | None = None,
        kept_on: torch.device | str | None = None,
        folder: Path | None = None,
        initial_capacity: int = INITIAL_CAPACITY,
        say: Callable[[str], None] = announce,
    ) -> None:
        """Allocate the initial capacity, or the maximum if that is less.

        Args:
            example: One batch of rows, shape (B,), that gives the fields' shapes and dtypes.
            max_size: Largest number of rows to keep.
            device: Where mini-batches are wanted.
            eviction: ``fifo``, ``reservoir`` or ``balanced``; see :mod:`foundation.distill.eviction`.
            phase_floor: Share of the rows that ``balanced`` keeps for each phase.
            sampling: ``passes``, ``uniform``, ``recency`` or ``loss``; see :mod:`foundation.distill.sampling`.
            recency_half_life: Rollouts after which ``recency`` draws a row half as often.
            priority_exponent: Exponent of the loss in ``loss``.
            kept_on: Device that rows are kept on; None keeps them on ``device``.
            folder: Folder for files that hold the rows instead of memory.
            initial_capacity: Rows that the new buffer has room for.
            say: Prints a warning.

        Raises:
            ValueError: If ``max_size`` is not positive.
            MemoryError: If there is no room for the initial capacity.
        """
        if max_size < 1:
            raise ValueError(f"max_buffer_size must be at least 1, got {max_size}")
        self.max_size = max_size
        self.device = torch.device(device)
        record = RecordFormat(tensors_of(example))
        home = torch.device("cpu") if folder is not None else torch.device(kept_on or device)
        if folder is not None:
            self.storage: RowStorage = MappedStorage(record, max_size, folder, self.device)
        else:
            self.storage = RowStorage(record, max_size, home, self.device)
        self.eviction = make_eviction(eviction, max_size, phase_floor, home)
        self.sampler = make_sampler(sampling, max_size, home, recency_half_life, priority_exponent)
        self._initial_capacity = initial_capacity
        self._say = say
        self._kinds = {"sampling": sampling, "eviction": eviction}
        self.newest_slots = torch.empty(0, dtype=torch.int64)
        """Slots of the newest mini-batch, (B,), where the sampler keeps its notes."""
        self.capacity = 0
        self._size = 0
        with torch.inference_mode(False):
            self._num_trained = torch.zeros((), dtype=torch.int64, device=home)
        self._grow(self.capacity_for(0))

    def __len__(self) -> int:
        """Return the number of stored rows."""
        return self._size

    def __getitem__(self, index: Index) -> TensorDict:
        """Return the rows in the given slots as new tensors."""
        if isinstance(index, slice):
            index = slice(*index.indices(self._size))
        rows = self.storage.read(index)
        size = next(iter(rows.values())).shape[:1]
        # The public constructor checks what is known to be right, which takes as long as the reading.
        return TensorDict._new_unsafe(rows, batch_size=size, device=self.device)  # pyright: ignore

    def num_transitions(self) -> int:
        """Return the number of stored transitions that are trained on."""
        return int(self.transitions_yet())

    def transitions_yet(self) -> torch.Tensor | int:
        """Return the same without waiting for the device that knows it."""
        return self._num_trained if "trained" in self.storage.fields else self._size

    def _trained_in(self, slots: Index) -> torch.Tensor | int:
        trained = self.storage.fields.get("trained")
        return 0 if trained is None else torch.count_nonzero(trained[slots])

    def capacity_for(self, size: int) -> int:
        """Return the capacity that the buffer has once it has been asked to hold ``size`` rows."""
        capacity = max(self.capacity, min(self._initial_capacity, self.max_size))
        while capacity < min(size, self.max_size):
            capacity = min(2 * capacity, self.max_size)
        return capacity

    def append(self, rows: TensorDict) -> None:
        """Add the rows of one rollout, growing while there is room and evicting when there is none.

        Args:
            rows: A batch of the example's fields, oldest first, shape (B,).

        Raises:
            ValueError: If the batch alone exceeds the maximum size.
        """
        count = rows.batch_size[0]
        self._grow(self.capacity_for(self._size + count))
        if count > self.max_size:
            raise ValueError(f"max_buffer_size must be at least one rollout ({count}), got {self.max_size}")
        self.sampler.begin_append()
        given, phases = tensors_of(rows), self._phases(rows)
        fields = {name: given[name] for name in self.storage.fields}
        fill = min(count, self.capacity - self._size)
        if fill:
            first = {name: values[:fill] for name, values in fields.items()}
            self._write(first, slice(self._size, self._size + fill))
            self.eviction.fill(self._size, phases[:fill])
            self._size += fill
        if fill < count:
            for source, slots in self.eviction.replace(phases[fill:], self._size):
                self._num_trained -= self._trained_in(slots)
                self._write({name: values[fill:][source] for name, values in fields.items()}, slots)

    def num_mini_batches(self, mini_batch_size: int) -> int:
        """Return how many mini-batches hold as many rows as are stored."""
        return -(-self._size // mini_batch_size)

    def upcoming(self, count: int) -> dict[str, torch.Tensor]:
        """Return numbers on the device that appending ``count`` rows will need.

        Whoever hands them to :meth:`foresee` in time saves :meth:`append` from waiting for the device.
        """
        replaced = count - min(count, self.capacity_for(self._size + count) - self._size)
        return self.sampler.upcoming(self.eviction.upcoming(replaced, self._size))

    def foresee(self, numbers: Mapping[str, float]) -> None:
        """Take note of the values of what :meth:`upcoming` returned."""
        self.sampler.foresee(numbers)

    def mini_batches(self, mini_batch_size: int, count: int) -> Iterator[TensorDict]:
        """Yield ``count`` mini-batches of rows, with their slots as field :data:`SLOT` where losses are recorded.

        Raises:
            ValueError: If nothing is stored.
        """
        if self._size == 0:
            raise ValueError("mini-batches were asked of an empty history")
        for slots in self.sampler.draw(self._size, mini_batch_size, count):
            self.newest_slots = slots
            batch = self[slots]
            if self.sampler.reads_losses:
                batch[SLOT] = slots.to(self.device)
            yield batch

    def record_loss(self, batch: TensorDict, losses: torch.Tensor) -> None:
        """Tell the losses (B,) of a mini-batch's rows, which sampling ``loss`` reads."""
        if self.sampler.reads_losses:
            self.sampler.record_loss(batch[SLOT].to(self.sampler.device), losses)

    def overwrite(self, slots: torch.Tensor, fields: Mapping[str, torch.Tensor]) -> None:
        """Overwrite some fields of the rows in some slots, as when another teacher labels them."""
        self.storage.write(slots.to(self.storage.kept_on), fields)

    def state_dict(self, with_rows: bool = True) -> dict[str, Any]:
        """Return what the next draw and eviction read, in host memory, and, if wanted, the stored rows."""
        return {
            "size": self._size,
            "capacity": self.capacity,
            "max_size": self.max_size,
            "kinds": self._kinds,
            "fields": self.storage.record.description(),
            "rows": self.storage.records(slice(0, self._size)) if with_rows else None,
            "sampler": self.sampler.state_dict(self._size),
            "eviction": self.eviction.state_dict(),
        }

    def load_state_dict(
        self, state: dict[str, Any], parts: Iterable[tuple[torch.Tensor, torch.Tensor]] | None = None
    ) -> None:
        """Replace the contents by a saved state.

        Args:
            state: What :meth:`state_dict` returned.
            parts: Slots (B,) and records (B, words) of a state without rows, later ones replacing earlier ones.

        Raises:
            ValueError: If the state has other fields, or does not fit this buffer's size.
        """
        size, capacity = state["size"], state["capacity"]
        if capacity > self.max_size:
            raise ValueError(
                f"the saved history has capacity {capacity}, more than max_buffer_size={self.max_size}; "
                f"set max_buffer_size to at least {capacity}"
            )
        for option, kind in self._kinds.items():
            saved = state["kinds"][option]
            if saved != kind:
                raise ValueError(
                    f"the saved history was kept with {option}={saved}, got {kind}; set {option}={saved}"
                )
        continues = size == state["max_size"] < self.max_size
        if continues and not isinstance(self.eviction, Fifo):
            raise ValueError(
                f"a full history of {size} rows cannot go on in one of {self.max_size} with this eviction; "
                "keep max_buffer_size"
            )
        # A full ring that may go on growing is unrolled, oldest first.
        unroll = state["eviction"].get("oldest", 0) if continues else 0
        self.storage.check_fields(state["fields"])
        self._grow(capacity)
        if self.capacity < size:
            raise ValueError(f"there is no memory for the saved history of {size} rows")
        if state["rows"] is not None:
            parts = [(torch.arange(size), state["rows"])]
        for slots, records in parts or ():
            self.storage.write_records((slots - unroll) % max(size, 1), records)
        self.sampler.load_state_dict(state["sampler"], size, unroll)
        self.eviction.load_state_dict({"oldest": 0} if continues else state["eviction"])
        self._size = size
        self._num_trained.zero_().add_(self._trained_in(slice(0, size)))

    def _phases(self, rows: TensorDict) -> torch.Tensor:
        """Return each row's phase where eviction reads it; a window has that of its first trained step."""
        fields, device = tensors_of(rows), self.sampler.device
        if "phase" not in fields or not self.eviction.reads_phases:
            return torch.zeros(len(rows), dtype=torch.uint8, device=device)
        phases = fields["phase"]
        if phases.ndim > 1:
            first = fields["trained"].to(torch.uint8).argmax(1, keepdim=True)
            phases = phases.gather(1, first)[:, 0]
        return phases.to(device)

    def _write(self, fields: Mapping[str, torch.Tensor], slots: Index) -> None:
        self.storage.write(slots, fields)
        if "trained" in fields:
            self._num_trained += torch.count_nonzero(fields["trained"]).to(self._num_trained.device)
        self.sampler.added(slots)

    def _grow(self, capacity: int) -> None:
        if capacity <= self.capacity:
            return
        try:
            self.storage.reserve(capacity, self._size)
        except MemoryError as error:
            if self.capacity == 0:
                raise
            self.max_size = self.capacity
            self._say(
                f"[DAgger] No room for a history of {capacity} rows ({error}): it keeps to {self.capacity}, and "
                "drops rows from now on"
            )
            return
        self.capacity = capacity


def row_bytes(fields: Mapping[str, torch.Tensor], eviction: str = "fifo", sampling: str = "passes") -> int:
    """Return the memory of one row with tensors like ``fields`` and of its bookkeeping [bytes]."""
    bookkeeping = SAMPLERS[sampling].note_bytes() + EVICTIONS[eviction].bytes_per_row + CHANGED_BYTES
    return RecordFormat(fields).num_bytes + bookkeeping
