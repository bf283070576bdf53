"""A bounded buffer of rows, and mini-batches drawn from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from tensordict import TensorDict

from foundation.distill.history.eviction import EVICTIONS, Eviction
from foundation.distill.history.rows import LOSS_MASK, phases_of_rows
from foundation.distill.history.samplers import SAMPLERS, Sampler
from foundation.distill.history.storage import Index, RowStorage
from foundation.distill.log import logger
from foundation.distill.tensors import tensors_of

INITIAL_CAPACITY = 100_000
"""Transitions that a new history has room for."""
SLOT = "slot"
"""Field of a mini-batch with the slots that its rows came from."""


class RowBuffer:
    """Rows in slots, growing up to a maximum; a row is a transition, or a window of them.

    Composed of a storage, which holds the rows, an eviction, which chooses the slots of new rows once the storage
    is full, and a sampler, which chooses the slots of a mini-batch. A row's fields are up to the caller, except
    that evictions may read ``phase``, and that :data:`LOSS_MASK`, where there is one, marks the transitions that
    count.
    """

    def __init__(
        self, storage: RowStorage, sampler: Sampler, eviction: Eviction, initial_capacity: int = INITIAL_CAPACITY
    ) -> None:
        """Make room for the initial capacity, or for the maximum if that is less.

        Args:
            storage: Holds the rows.
            sampler: Chooses the rows of a mini-batch.
            eviction: Chooses the rows that new ones replace.
            initial_capacity: Rows that the new buffer has room for.

        Raises:
            MemoryError: If there is no room for the initial capacity.
        """
        self.storage, self.sampler, self.eviction = storage, sampler, eviction
        self.max_size = storage.max_rows
        self.capacity = 0
        self.last_slots = torch.empty(0, dtype=torch.int64)
        """Slots of the newest mini-batch, (B,), on the storage's device."""
        self._initial_capacity = initial_capacity
        self._size = 0
        with torch.inference_mode(False):
            self._num_counted = torch.zeros((), dtype=torch.int64, device=storage.storage_device)
        self._grow(self._capacity_for(0))

    @property
    def device(self) -> torch.device:
        """Device of the mini-batches."""
        return self.storage.output_device

    def __len__(self) -> int:
        """Return the number of stored rows."""
        return self._size

    def __getitem__(self, index: Index) -> TensorDict:
        """Return the rows in the given slots as new tensors."""
        if isinstance(index, slice):
            index = slice(*index.indices(self._size))
        rows = self.storage.read(index)
        size = next(iter(rows.values())).shape[:1]
        # The public constructor checks shapes and devices, which takes as long as reading the rows.
        return TensorDict._new_unsafe(rows, batch_size=size, device=self.device)  # pyright: ignore

    def num_transitions(self) -> int:
        """Return the number of stored transitions that count in the loss."""
        return int(self.num_counted)

    @property
    def num_counted(self) -> torch.Tensor | int:
        """The same as a scalar on the storage's device, if the host would have to wait for it."""
        return self._num_counted if LOSS_MASK in self.storage.fields else self._size

    def append(self, rows: TensorDict) -> None:
        """Add the rows of one rollout, growing while there is room and evicting when there is none.

        Args:
            rows: Rows with the storage's fields, oldest first, shape (B,).

        Raises:
            ValueError: If the batch alone exceeds the maximum size.
        """
        count = rows.batch_size[0]
        self._grow(self._capacity_for(self._size + count))
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
                self._num_counted -= self._count_in(slots)
                self._write({name: values[fill:][source] for name, values in fields.items()}, slots)

    def num_mini_batches(self, mini_batch_size: int) -> int:
        """Return the number of mini-batches in one pass over the stored rows."""
        return -(-self._size // mini_batch_size)

    def mini_batches(self, mini_batch_size: int, count: int) -> Iterator[TensorDict]:
        """Yield ``count`` mini-batches of rows; their slots are field :data:`SLOT` if the sampler reads losses.

        Raises:
            ValueError: If nothing is stored.
        """
        if self._size == 0:
            raise ValueError("mini-batches were asked of an empty history")
        for slots in self.sampler.draw(self._size, mini_batch_size, count):
            self.last_slots = slots
            batch = self[slots]
            if self.sampler.reads_losses:
                batch[SLOT] = slots.to(self.device)
            yield batch

    def record_loss(self, batch: TensorDict, losses: torch.Tensor) -> None:
        """Give the losses (B,) of a mini-batch's rows to the sampler."""
        if self.sampler.reads_losses:
            self.sampler.record_loss(batch[SLOT].to(self.sampler.device), losses)

    def overwrite(self, slots: torch.Tensor, fields: Mapping[str, torch.Tensor]) -> None:
        """Overwrite some fields of the rows in some slots, as when another teacher labels them."""
        self.storage.write(slots.to(self.storage.storage_device), fields)

    def state_dict(self, with_rows: bool = True) -> dict[str, Any]:
        """Return everything that the next draw and eviction read, in host memory, and on request the rows."""
        return {
            "size": self._size,
            "capacity": self.capacity,
            "max_size": self.max_size,
            "kinds": self._kinds(),
            "fields": self.storage.format.description(),
            "rows": self.storage.records(slice(0, self._size)) if with_rows else None,
            "sampler": self.sampler.state_dict(self._size),
            "eviction": self.eviction.state_dict(),
        }

    def load_state_dict(
        self, state: dict[str, Any], parts: Iterable[tuple[torch.Tensor, torch.Tensor]] | None = None
    ) -> None:
        """Replace the contents by a saved state.

        Args:
            state: A state of :meth:`state_dict`.
            parts: Slots (B,) and records (B, words) of a state without rows, later ones replacing earlier ones.

        Raises:
            ValueError: If the state has other fields, or does not fit this buffer's size.
        """
        size, capacity = state["size"], state["capacity"]
        self._check_fits(state)
        self.storage.check_fields(state["fields"])
        first, eviction = 0, state["eviction"]
        if size == state["max_size"] < self.max_size:
            # A full history that continues in a larger one grows again: the oldest row has to be in slot 0.
            unrolled = self.eviction.unroll(eviction)
            if unrolled is None:
                raise ValueError(
                    f"a full history of {size} rows cannot go on in one of {self.max_size} with this eviction; "
                    "keep max_buffer_size"
                )
            first, eviction = unrolled
        self._grow(capacity)
        if self.capacity < size:
            raise ValueError(f"there is no memory for the saved history of {size} rows")
        if state["rows"] is not None:
            parts = [(torch.arange(size), state["rows"])]
        for slots, records in parts or ():
            self.storage.write_records((slots - first) % max(size, 1), records)
        self.sampler.load_state_dict(state["sampler"], size, first)
        self.eviction.load_state_dict(eviction)
        self._size = size
        self._num_counted.zero_().add_(self._count_in(slice(0, size)))

    def _check_fits(self, state: dict[str, Any]) -> None:
        if state["capacity"] > self.max_size:
            raise ValueError(
                f"the saved history has capacity {state['capacity']}, more than max_buffer_size={self.max_size}; "
                f"set max_buffer_size to at least {state['capacity']}"
            )
        for option, kind in self._kinds().items():
            saved = state["kinds"][option]
            if saved != kind:
                raise ValueError(
                    f"the saved history was kept with {option}={saved}, got {kind}; set {option}={saved}"
                )

    def _kinds(self) -> dict[str, str]:
        return {"sampling": SAMPLERS.name_of(self.sampler), "eviction": EVICTIONS.name_of(self.eviction)}

    def _count_in(self, slots: Index) -> torch.Tensor | int:
        mask = self.storage.fields.get(LOSS_MASK)
        return 0 if mask is None else torch.count_nonzero(mask[slots])

    def _phases(self, rows: TensorDict) -> torch.Tensor:
        device = self.storage.storage_device
        if not self.eviction.reads_phases:
            return torch.zeros(len(rows), dtype=torch.uint8, device=device)
        return phases_of_rows(rows).to(device)

    def _write(self, fields: Mapping[str, torch.Tensor], slots: Index) -> None:
        self.storage.write(slots, fields)
        if LOSS_MASK in fields:
            self._num_counted += torch.count_nonzero(fields[LOSS_MASK]).to(self._num_counted.device)
        self.sampler.added(slots)

    def _capacity_for(self, size: int) -> int:
        capacity = max(self.capacity, min(self._initial_capacity, self.max_size))
        while capacity < min(size, self.max_size):
            capacity = min(2 * capacity, self.max_size)
        return capacity

    def _grow(self, capacity: int) -> None:
        if capacity <= self.capacity:
            return
        try:
            self.storage.reserve(capacity, self._size)
        except MemoryError as error:
            if self.capacity == 0:
                raise
            self.max_size = self.capacity
            logger.warning(
                f"[DAgger] No room for a history of {capacity} rows ({error}): it keeps to {self.capacity}, and "
                "drops rows from now on"
            )
            return
        self.capacity = capacity
