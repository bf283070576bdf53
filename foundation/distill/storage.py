"""Where the history's rows live: memory of a device, memory of the host, or files mapped into memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from foundation.distill.memory import available_bytes
from foundation.distill.records import RecordFormat

Index = torch.Tensor | slice
CHANGED_BYTES = 1
"""Memory of the note whether a row has changed [bytes per row]."""
_SHORT_ROW_BYTES = 512
"""Rows up to this size are gathered faster by NumPy; longer ones by torch, whose threads share them."""
_WRITE_BYTES = 400 * 2**10
"""Records that a write fills field by field before it goes on: they fit a core's second-level cache."""
_HUGE_PAGE_BYTES = 2 * 2**20
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class RowStorage:
    """Records in slots, handed out on the device that trains on them.

    Host memory is reserved for the largest size at once: the operating system commits a page when it is first
    written, so growing copies nothing. Memory of a GPU is allocated as it is needed.
    """

    def __init__(
        self, record: RecordFormat, max_rows: int, kept_on: torch.device, handed_to: torch.device
    ) -> None:
        """Reserve what can be reserved.

        Args:
            record: What a row holds.
            max_rows: Largest number of rows.
            kept_on: Device that the rows are kept on.
            handed_to: Device that :meth:`read` returns rows on.
        """
        self.kept_on = kept_on
        self.handed_to = handed_to
        self.record = record
        with torch.inference_mode(False):
            self.changed = torch.zeros(max_rows, dtype=torch.bool, device=kept_on)
            """Which slots were written to since somebody last set this to False, shape (max_rows,)."""
        try:
            self._set(self._empty(max_rows if kept_on.type == "cpu" else 0))
        except MemoryError:
            self._set(self._empty(0))

    def reserve(self, rows: int, used: int) -> None:
        """Make room for ``rows`` rows, keeping the first ``used``.

        Raises:
            MemoryError: If there is no room; everything is as before.
        """
        if rows <= len(self._rows):
            if self.kept_on.type == "cpu":
                self._require_free((rows - used) * self.record.num_bytes)
            return
        grown = self._empty(rows)
        grown[:used].copy_(self._rows[:used])
        self._set(grown)

    def write(self, where: Index, fields: Mapping[str, torch.Tensor]) -> None:
        """Write some fields of the rows in some slots."""
        self.changed[where] = True
        if self.kept_on.type != "cpu":
            for name, values in fields.items():
                self.fields[name][where] = values.to(self.kept_on)
            return
        # NumPy copies a field's bytes as they are; torch takes number after number.
        sources = {name: self.record.as_bytes(name, values) for name, values in fields.items()}
        if isinstance(where, torch.Tensor):
            for name, values in sources.items():
                self._structured[name][where.numpy()] = values
            return
        # The next field finds these records still in cache.
        at_once = max(1, _WRITE_BYTES // self.record.num_bytes)
        target = self._structured[where]
        for first in range(0, len(target), at_once):
            part = target[first : first + at_once]
            for name, values in sources.items():
                part[name] = values[first : first + at_once]

    def read(self, where: Index) -> dict[str, torch.Tensor]:
        """Return the rows of some slots as new tensors; to a GPU they travel while it computes."""
        rows = self._gather(where)
        if self.kept_on.type != self.handed_to.type:
            rows = rows.to(self.handed_to, non_blocking=True)
        return self.record.views(rows)

    def records(self, where: Index) -> torch.Tensor:
        """Return the records (B, words) in some slots, in host memory."""
        where = where.to(self.kept_on) if isinstance(where, torch.Tensor) else where
        return self._rows[where].to("cpu", copy=True)

    def write_records(self, slots: torch.Tensor, records: torch.Tensor) -> None:
        """Write records (B, words) as :meth:`records` returned them into slots (B,)."""
        slots = slots.to(self.kept_on)
        self._rows[slots] = records.to(self.kept_on)
        self.changed[slots] = True

    def check_fields(self, saved: Mapping[str, str]) -> None:
        """Check that saved records have the fields of these.

        Args:
            saved: What :meth:`RecordFormat.description` said of them.

        Raises:
            ValueError: If they have others.
        """
        own = self.record.description()
        for name in [*own, *saved]:
            if own.get(name) != saved.get(name):
                raise ValueError(
                    f"the saved history does not fit: field {name!r} differs; keep the student's class and "
                    "observations, gradient_length and burn_in, and what is stored besides"
                )

    def _set(self, rows: torch.Tensor) -> None:
        self._rows = rows
        self.fields = self.record.views(rows)
        if self.kept_on.type == "cpu":
            self._structured = self.record.structured(rows)

    def _empty(self, rows: int) -> torch.Tensor:
        # Tensors created in inference mode could not be trained on.
        try:
            with torch.inference_mode(False):
                empty = torch.empty(rows, self.record.words, dtype=self.record.dtype, device=self.kept_on)
        except RuntimeError as error:  # torch's own error of a GPU is one, too
            raise MemoryError(str(error).splitlines()[0]) from error
        if self.kept_on.type == "cpu":
            _ask_for_huge_pages(empty)
        return empty

    def _require_free(self, num_bytes: int) -> None:
        """Reserved pages are there when they are written to, or the process is not."""
        free = available_bytes("cpu")
        if num_bytes > free:
            raise MemoryError(f"{num_bytes / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free")

    def _gather(self, where: Index) -> torch.Tensor:
        if not isinstance(where, torch.Tensor):
            return self._rows[where].clone()
        if self.kept_on.type == "cpu" and self.record.num_bytes <= _SHORT_ROW_BYTES:
            rows = torch.from_numpy(self._rows.numpy().take(where.numpy(), axis=0))
            return rows if self.handed_to.type == "cpu" else rows.pin_memory()
        if self.kept_on.type == self.handed_to.type:
            # Several times faster than indexing with the slots.
            return self._rows.index_select(0, where)
        # Only page-locked memory can be copied to a GPU without waiting for the copy.
        staging = torch.empty(len(where), self.record.words, dtype=self.record.dtype, pin_memory=True)
        return torch.index_select(self._rows, 0, where, out=staging)


class MappedStorage(RowStorage):
    """Rows in a file of a folder of its own, mapped into memory, for histories larger than memory.

    The pages that a read or a write touched are given back as soon as :data:`WORKING_SET_BYTES` may be mapped,
    so what stays resident does not grow with the history.
    """

    WORKING_SET_BYTES = 64 * 2**20
    """Upper bound on mapped pages between two releases [bytes], unless a single row needs more."""
    _PAGES_PER_FAULT = 16 * mmap.PAGESIZE
    """Linux maps this neighbourhood of a page that is touched (its default ``fault_around_bytes``)."""

    def __init__(self, record: RecordFormat, max_rows: int, folder: Path, handed_to: torch.device) -> None:
        """Create a sparse file inside ``folder``, which vanishes from it at once and goes with the process."""
        self.folder = folder
        super().__init__(record, max_rows, torch.device("cpu"), handed_to)
        self._rows_per_release = max(1, self.WORKING_SET_BYTES // (self._PAGES_PER_FAULT + record.num_bytes))

    def disk_bytes(self) -> int:
        """Return the space that the file takes [bytes]."""
        return os.fstat(self._file.fileno()).st_blocks * 512

    def reserve(self, rows: int, used: int) -> None:
        """Make room for ``rows`` rows on the disk, so that no later write finds it full.

        Raises:
            MemoryError: If there is no room; everything is as before.
        """
        try:
            os.posix_fallocate(self._file.fileno(), 0, rows * self.record.num_bytes)
        except OSError as error:
            raise MemoryError(f"buffer_dir={self.folder}: {error.strerror}") from error

    def write(self, where: Index, fields: Mapping[str, torch.Tensor]) -> None:
        """Write some fields of the rows in some slots."""
        super().write(where, fields)
        self._release()

    def records(self, where: Index) -> torch.Tensor:
        """Return the records (B, words) in some slots, in host memory."""
        records = super().records(where)
        self._release()
        return records

    def write_records(self, slots: torch.Tensor, records: torch.Tensor) -> None:
        """Write records (B, words) as :meth:`records` returned them into slots (B,)."""
        super().write_records(slots, records)
        self._release()

    def _empty(self, rows: int) -> torch.Tensor:
        from tensordict import MemoryMappedTensor

        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(prefix="history-", suffix=".bin", dir=self.folder)
        except OSError as error:
            raise ValueError(
                f"buffer_dir={self.folder} cannot be written to: {error}; name another folder"
            ) from error
        self._file = os.fdopen(descriptor, "r+b")
        with torch.inference_mode(False):
            shape = (rows, self.record.words)
            mapped = MemoryMappedTensor.empty(shape, dtype=self.record.dtype, filename=name, existsok=True)
        # What is mapped stays; whatever ends the process, no file is left.
        os.unlink(name)
        return _plain(mapped)

    def _gather(self, where: Index) -> torch.Tensor:
        if not isinstance(where, torch.Tensor):
            where = torch.arange(len(self._rows))[where]
        out = torch.empty(
            len(where),
            self.record.words,
            dtype=self.record.dtype,
            pin_memory=self.handed_to.type == "cuda",
        )
        done = 0
        for slots in where.split(self._rows_per_release):
            torch.index_select(self._rows, 0, slots, out=out[done : done + len(slots)])
            done += len(slots)
            self._release()
        return out

    def _release(self) -> None:
        """Give the mapped pages back to the operating system; dirty ones stay in its file cache."""
        if _LIBC is None:
            return
        rows = self._rows
        _LIBC.madvise(ctypes.c_void_p(rows.data_ptr()), ctypes.c_size_t(rows.nbytes), mmap.MADV_DONTNEED)


def _ask_for_huge_pages(memory: torch.Tensor) -> None:
    """Let Linux back fresh memory with huge pages: rows drawn at random lie in few of them.

    A quarter less time to draw rows, and a third less to append them.
    """
    if _LIBC is None:
        return
    first = -(-memory.data_ptr() // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
    size = (memory.data_ptr() + memory.nbytes - first) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
    if size > 0:
        _LIBC.madvise(ctypes.c_void_p(first), ctypes.c_size_t(size), mmap.MADV_HUGEPAGE)


def _plain(mapped: torch.Tensor) -> torch.Tensor:
    """Return the same memory as a plain tensor, whose operations have no overhead."""
    return mapped.as_subclass(torch.Tensor)
