"""Draw without replacement on a GPU without synchronising.

The number of pending slots determines the shapes of a pass's tensors, so the host has to know it. Free slots and
slots of a pass that has visited every row are easy to count. For slots that are overwritten, however, only the GPU
knows how many are pending. A ring is overwritten in order, so the next slots are known beforehand: their count is
read together with the other scalars at the end of an iteration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from foundation.distill.history.samplers import WithoutReplacement
from foundation.distill.history.storage import Index


class DeviceWithoutReplacement(WithoutReplacement):
    """Draws without replacement; on a GPU, it asks early how many slots of the next rollout are pending."""

    def __init__(self, max_rows: int, device: torch.device, options: Any = None) -> None:
        """Begin with no rows."""
        super().__init__(max_rows, device, options)
        self._on_gpu = device.type != "cpu"
        self._max_rows = max_rows
        self._never_written = 0
        """First slot that has never been written to: from there on nothing is pending."""
        self._last: list[Index] = []
        self._known: dict[tuple[int, int], int] = {}
        """Number of slots not pending in a range of slots."""

    def begin_append(self) -> None:
        """Prepare for the rows of another rollout."""
        if self._new:
            # A second append before anything was drawn: the counts were made for the first one.
            self._known = {}
        self._last = []

    def added(self, slots: Index) -> None:
        """Register rows that have not been visited yet."""
        super().added(slots)
        self._last.append(slots)

    def device_scalars(self) -> dict[str, torch.Tensor]:
        """Return the number of slots not pending in each range that the next rollout will overwrite."""
        if not self._on_gpu or self._new:
            return {}
        return {_name(part): (~self.is_pending[part]).sum() for part in self._next_slots()}

    def receive(self, scalars: Mapping[str, float]) -> None:
        """Store the counts of :meth:`device_scalars`; they hold until rows are drawn."""
        self._known = {
            (part.start, part.stop): int(scalars[name])
            for part in self._next_slots()
            if (name := _name(part)) in scalars
        }

    def _next_slots(self) -> list[slice]:
        """Return the slots that a rollout as long as the last one would overwrite in a ring."""
        if not self._last or not all(isinstance(part, slice) for part in self._last):
            return []
        count = sum(part.stop - part.start for part in self._last)  # pyright: ignore
        start = self._last[-1].stop % self._max_rows  # pyright: ignore
        until_end = min(count, self._max_rows - start)
        parts = [slice(start, start + until_end), slice(0, count - until_end)]
        return [part for part in parts if part.start < part.stop and part.start < self._never_written]

    def add_new_rows(self) -> None:
        """Let the rows added since the last draw join the pass under way."""
        super().add_new_rows()
        self._known = {}

    def select_joining(self, slots: Index) -> torch.Tensor:
        """Return the slots of new rows that are not pending already."""
        if not isinstance(slots, slice) or not self._on_gpu:
            return super().select_joining(slots)
        first, self._never_written = self._never_written, max(self._never_written, slots.stop)
        numbers = torch.arange(slots.start, slots.stop, device=self.device)
        if slots.start >= first:
            return numbers
        count = self._known.pop((slots.start, slots.stop), None)
        if count is None:
            return super().select_joining(slots)
        # Sorting has a fixed shape; selecting by a mask would synchronise to learn the shape.
        return numbers[self.is_pending[slots].to(torch.uint8).argsort(stable=True)[:count]]

    def insert(self, joining: torch.Tensor) -> None:
        """Insert slots at random places of the pool."""
        if not self._on_gpu:
            super().insert(joining)
            return
        # Reshuffle all pending slots: cheaper than synchronising to learn which must move.
        before, after = self.num_pending, self.num_pending + len(joining)
        pending = torch.cat([self.pool[:before], joining.int()])
        self.pool[:after] = pending[torch.randperm(after, device=self.device)]
        self.num_pending = after

    def load_state_dict(self, state: dict[str, Any], size: int, unroll: int) -> None:
        """Restore the pending slots."""
        super().load_state_dict(state, size, unroll)
        self._known, self._last, self._never_written = {}, [], size


def _name(slots: slice) -> str:
    return f"joining {slots.start}:{slots.stop}"
