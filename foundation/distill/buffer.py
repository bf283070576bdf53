"""The aggregated history: every transition of every rollout, bounded, oldest dropped first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from tensordict import TensorDict

INITIAL_CAPACITY = 100_000
"""Transitions that a new buffer has room for."""


class AggregatedBuffer:
    """A ring of transitions that grows up to a maximum, and mini-batches drawn from it.

    Mini-batches are drawn *without replacement*: a pass visits every stored transition exactly once, in
    random order. A pass may be interrupted and continued, also after new transitions arrived: those join
    the pass under way. So over time every stored transition is visited equally often.
    """

    def __init__(self, example: TensorDict, max_size: int, device: torch.device | str) -> None:
        """Allocate the initial capacity, or the maximum if that is less.

        Args:
            example: One batch of transitions, shape (B,), that gives the fields' shapes and dtypes.
            max_size: Largest number of transitions to keep.
            device: Where to keep them.

        Raises:
            ValueError: If ``max_size`` is not positive.
        """
        if max_size < 1:
            raise ValueError(f"max_buffer_size must be at least 1, got {max_size}")
        self.max_size = max_size
        self.device = torch.device(device)
        self._data = {
            name: torch.empty(0, *value.shape[1:], dtype=value.dtype, device=self.device)
            for name, value in example.items()
        }
        self._visited = torch.empty(0, dtype=torch.bool, device=self.device)
        self._size = 0
        self._next = 0
        self._grow(self.capacity_for(0))

    def __len__(self) -> int:
        """Return the number of stored transitions."""
        return self._size

    def __getitem__(self, index: torch.Tensor | slice) -> TensorDict:
        """Return the transitions in the given slots as new tensors."""
        batch = {name: values[: self._size][index] for name, values in self._data.items()}
        return TensorDict(batch, batch_size=[len(next(iter(batch.values())))], device=self.device)

    @property
    def capacity(self) -> int:
        """Number of transitions that memory is allocated for."""
        return len(self._visited)

    @property
    def bytes_per_transition(self) -> int:
        """Memory of one transition [bytes]."""
        return transition_bytes(self._data)

    def capacity_for(self, size: int) -> int:
        """Return the capacity that the buffer has once it has been asked to hold ``size`` transitions."""
        capacity = max(self.capacity, min(INITIAL_CAPACITY, self.max_size))
        while capacity < min(size, self.max_size):
            capacity = min(2 * capacity, self.max_size)
        return capacity

    def append(self, transitions: TensorDict) -> None:
        """Add transitions, growing if there is room to grow and dropping the oldest if not.

        Args:
            transitions: A batch of the example's fields, oldest first, shape (B,).

        Raises:
            ValueError: If the batch alone exceeds the maximum size.
        """
        count = transitions.batch_size[0]
        if count > self.max_size:
            raise ValueError(f"max_buffer_size must be at least one rollout ({count}), got {self.max_size}")
        # Growing comes before the ring first wraps, so the stored order stays oldest first.
        self._grow(self.capacity_for(self._size + count))
        for start, stop, slot in self._ring_slices(count):
            for name, values in self._data.items():
                values[slot : slot + stop - start].copy_(transitions[name][start:stop])
            self._visited[slot : slot + stop - start] = False
        self._next = (self._next + count) % self.capacity
        self._size = min(self._size + count, self.capacity)

    def num_mini_batches(self, mini_batch_size: int) -> int:
        """Return how many mini-batches a whole pass takes."""
        return -(-self._size // mini_batch_size)

    def mini_batches(self, mini_batch_size: int, count: int) -> Iterator[TensorDict]:
        """Yield ``count`` mini-batches, continuing the pass under way and beginning new ones as needed.

        The last mini-batch of a pass holds what is left, down to one transition.

        Raises:
            ValueError: If nothing is stored.
        """
        if self._size == 0:
            raise ValueError("mini-batches were asked of an empty history")
        while count > 0:
            left = (~self._visited[: self._size]).nonzero()[:, 0]
            order = left[torch.randperm(len(left), device=self.device)[: count * mini_batch_size]]
            # A finished pass gives way to the next at once, so that new transitions join one not begun.
            self._visited[order] = True
            if len(order) == len(left):
                self._visited[: self._size] = False
            for slots in order.split(mini_batch_size):
                yield self[slots]
                count -= 1

    def state_dict(self) -> dict:
        """Return the stored transitions, in slots' order, and what the next draw reads, in host memory."""

        def stored(values: torch.Tensor) -> torch.Tensor:
            return values[: self._size].to("cpu", copy=True)

        return {
            "data": {name: stored(values) for name, values in self._data.items()},
            "visited": stored(self._visited),
            "next": self._next,
            "capacity": self.capacity,
        }

    def load_state_dict(self, state: dict) -> None:
        """Replace the contents by a saved state.

        Raises:
            ValueError: If the state has other fields, or more transitions than this buffer may hold.
        """
        size = len(state["visited"])
        if size > self.max_size or state["capacity"] > self.max_size:
            raise ValueError(
                f"the saved history has capacity {state['capacity']}, more than max_buffer_size={self.max_size}; "
                f"set max_buffer_size to at least {state['capacity']}"
            )
        for name, values in self._data.items():
            saved = state["data"].get(name)
            if saved is None or saved.shape[1:] != values.shape[1:] or saved.dtype != values.dtype:
                raise ValueError(f"the saved history does not fit: field {name!r} differs")
        self._grow(state["capacity"])
        # A full ring of another capacity is unrolled, oldest first, so that it can go on growing.
        unroll = state["next"] if size == state["capacity"] != self.capacity else 0
        self._size, self._next = size, (size if unroll else state["next"]) % self.capacity
        for name, values in self._data.items():
            values[:size].copy_(state["data"][name].roll(-unroll, 0))
        self._visited[:size].copy_(state["visited"].roll(-unroll, 0))

    def _grow(self, capacity: int) -> None:
        if capacity <= self.capacity:
            return
        # Tensors created in inference mode could not be trained on.
        with torch.inference_mode(False):
            for name, values in self._data.items():
                self._data[name] = _resized(values, capacity, self._size)
            self._visited = _resized(self._visited, capacity, self._size)
        self._next = self._size

    def _ring_slices(self, count: int) -> list[tuple[int, int, int]]:
        """Return (start, stop, slot): where each stretch of a batch goes, split at the ring's end."""
        first = min(count, self.capacity - self._next)
        slices = [(0, first, self._next), (first, count, 0)]
        return [piece for piece in slices if piece[0] < piece[1]]


def transition_bytes(fields: dict[str, Any]) -> int:
    """Return the memory that one transition with tensors like ``fields`` takes in a buffer [bytes]."""
    visited = 1
    return visited + sum(value.new_empty(1, *value.shape[1:]).nbytes for value in fields.values())


def _resized(values: torch.Tensor, capacity: int, size: int) -> torch.Tensor:
    out = torch.empty(capacity, *values.shape[1:], dtype=values.dtype, device=values.device)
    out[:size].copy_(values[:size])
    return out
