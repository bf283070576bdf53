"""Rows in memory: of a device, or of the host."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from foundation.distill.history.capacity import available_bytes
from foundation.distill.history.row_format import RowFormat

Index = torch.Tensor | slice
CHANGED_BYTES = 1
"""Memory of the mark that a row has changed [bytes per row]."""
_SHORT_ROW_BYTES = 512
"""Largest row that NumPy gathers faster than torch, which shares longer ones among its threads."""
_CACHE_LINE_BYTES = 64
_WRITE_BYTES = 400 * 2**10
"""Records that are filled field by field at once; they fit a core's second-level cache."""


class RowStorage:
    """Records in slots, read on the device that trains on them.

    Host memory is reserved for the largest size at once: the operating system commits a page when it is first
    written, so growing copies nothing. Memory of a GPU is allocated as it is needed.
    """

    def __init__(
        self, row_format: RowFormat, max_rows: int, storage_device: torch.device, output_device: torch.device
    ) -> None:
        """Reserve host memory; a GPU's is allocated by :meth:`reserve`.

        Args:
            row_format: Layout of a row.
            max_rows: Largest number of rows.
            storage_device: Device that the rows are stored on.
            output_device: Device that :meth:`read` returns rows on.
        """
        self.storage_device = storage_device
        self.output_device = output_device
        self.format, self.max_rows = row_format, max_rows
        with torch.inference_mode(False):
            self.changed = torch.zeros(max_rows, dtype=torch.bool, device=storage_device)
            """Slots written to since the last save, which sets this to False, shape (max_rows,)."""
        try:
            self._set(self._empty(max_rows if storage_device.type == "cpu" else 0))
        except MemoryError:
            self._set(self._empty(0))

    def reserve(self, rows: int, used: int) -> None:
        """Make room for ``rows`` rows, keeping the first ``used``.

        Raises:
            MemoryError: If there is no room; everything is as before.
        """
        if rows <= len(self._rows):
            if self.storage_device.type == "cpu":
                self._require_free((rows - used) * self.format.num_bytes)
            return
        grown = self._empty(rows)
        grown[:used].copy_(self._rows[:used])
        self._set(grown)

    def write(self, where: Index, fields: Mapping[str, torch.Tensor]) -> None:
        """Write some fields of the rows in some slots."""
        self.changed[where] = True
        if self.storage_device.type != "cpu":
            for name, values in fields.items():
                self.fields[name][where] = values.to(self.storage_device)
            return
        # NumPy copies a field as a block of bytes, torch number by number.
        sources = {name: self.format.as_bytes(name, values) for name, values in fields.items()}
        if isinstance(where, torch.Tensor):
            for name, values in sources.items():
                self._structured[name][where.numpy()] = values
            return
        # In blocks, so that the next field finds these records still in cache.
        at_once = max(1, _WRITE_BYTES // self.format.num_bytes)
        target = self._structured[where]
        for first in range(0, len(target), at_once):
            part = target[first : first + at_once]
            for name, values in sources.items():
                part[name] = values[first : first + at_once]

    def read(self, where: Index) -> dict[str, torch.Tensor]:
        """Return the rows in some slots as new tensors; a copy to a GPU is asynchronous."""
        rows = self._gather(where)
        if self.storage_device.type != self.output_device.type:
            rows = rows.to(self.output_device, non_blocking=True)
        return self.format.views(rows)

    def records(self, where: Index) -> torch.Tensor:
        """Return the records (B, words) in some slots, in host memory."""
        where = where.to(self.storage_device) if isinstance(where, torch.Tensor) else where
        return self._rows[where].to("cpu", copy=True)

    def write_records(self, slots: torch.Tensor, records: torch.Tensor) -> None:
        """Write records (B, words) as :meth:`records` returned them into slots (B,)."""
        slots = slots.to(self.storage_device)
        self._rows[slots] = records.to(self.storage_device)
        self.changed[slots] = True

    def check_fields(self, saved: Mapping[str, str]) -> None:
        """Check that saved records have the fields of these.

        Args:
            saved: Their :meth:`RowFormat.description`.

        Raises:
            ValueError: If a field differs.
        """
        own = self.format.description()
        for name in [*own, *saved]:
            if own.get(name) != saved.get(name):
                raise ValueError(
                    f"the saved history does not fit: field {name!r} differs; keep the student's class and "
                    "observations, gradient_length and burn_in, and what is stored besides"
                )

    def _set(self, rows: torch.Tensor) -> None:
        self._rows = rows
        self.fields = self.format.views(rows)
        if self.storage_device.type == "cpu":
            self._structured = self.format.structured(rows)

    def _empty(self, rows: int) -> torch.Tensor:
        # Rollouts run in inference mode, and its tensors cannot be trained on.
        try:
            with torch.inference_mode(False):
                if self.storage_device.type == "cpu":
                    return _aligned(rows, self.format)
                return torch.empty(rows, self.format.words, dtype=self.format.dtype, device=self.storage_device)
        except RuntimeError as error:  # includes torch's out-of-memory error of a GPU
            raise MemoryError(str(error).splitlines()[0]) from error

    def _require_free(self, num_bytes: int) -> None:
        """Check free memory now: a page that cannot be committed later would end the process."""
        free = available_bytes("cpu")
        if num_bytes > free:
            raise MemoryError(f"{num_bytes / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")

    def _gather(self, where: Index) -> torch.Tensor:
        if not isinstance(where, torch.Tensor):
            return self._rows[where].clone()
        if self.storage_device.type == "cpu" and self.format.num_bytes <= _SHORT_ROW_BYTES:
            rows = torch.from_numpy(self._rows.numpy().take(where.numpy(), axis=0))
            return rows if self.output_device.type == "cpu" else rows.pin_memory()
        if self.storage_device.type == self.output_device.type:
            # Several times faster than self._rows[where].
            return self._rows.index_select(0, where)
        # Only page-locked memory can be copied to a GPU asynchronously.
        staging = torch.empty(len(where), self.format.words, dtype=self.format.dtype, pin_memory=True)
        return torch.index_select(self._rows, 0, where, out=staging)


def _aligned(rows: int, row_format: RowFormat) -> torch.Tensor:
    """Return records (rows, words) in host memory that begin with a cache line.

    Allocated by NumPy, which asks Linux for huge pages: reading rows at random then misses the TLB less often.
    """
    num_bytes = rows * row_format.num_bytes
    memory = np.empty(num_bytes + _CACHE_LINE_BYTES, np.uint8)
    first = -memory.ctypes.data % _CACHE_LINE_BYTES
    records = torch.from_numpy(memory[first : first + num_bytes]).view(row_format.dtype)
    return records.view(rows, row_format.words)
