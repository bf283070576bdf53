"""Where the history's rows live: memory of a device, memory of the host, or files mapped into memory."""

from __future__ import annotations

import ctypes
import mmap
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from foundation.distill.records import RecordFormat

Index = torch.Tensor | slice
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
        self._set(self._empty(max_rows if kept_on.type == "cpu" else 0))

    def reserve(self, rows: int, used: int) -> None:
        """Make room for ``rows`` rows, keeping the first ``used``."""
        if rows <= len(self._rows):
            return
        grown = self._empty(rows)
        grown[:used].copy_(self._rows[:used])
        self._set(grown)

    def write(self, where: Index, fields: Mapping[str, torch.Tensor]) -> None:
        """Write some fields of the rows in some slots."""
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

    def state(self, used: int) -> dict[str, Any]:
        """Return the first ``used`` rows in host memory."""
        return {"fields": self.record.description(), "rows": self._rows[:used].to("cpu", copy=True)}

    def load_state(self, state: dict[str, Any], used: int, unroll: int) -> None:
        """Restore rows; ``unroll`` is the slot that becomes the first.

        Raises:
            ValueError: If the state has other fields.
        """
        if "folder" in state:
            raise ValueError(
                f"the saved history is in files of {state['folder']}; set buffer_dir to go on with them"
            )
        self._check_fields(state)
        self._rows[:used].copy_(state["rows"].roll(-unroll, 0))

    def _check_fields(self, state: dict[str, Any]) -> None:
        own, saved = self.record.description(), state.get("fields", {})
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
        with torch.inference_mode(False):
            empty = torch.empty(rows, self.record.words, dtype=self.record.dtype, device=self.kept_on)
        if self.kept_on.type == "cpu":
            _ask_for_huge_pages(empty)
        return empty

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
    _FILE = "rows.bin"

    def __init__(self, record: RecordFormat, max_rows: int, folder: Path, handed_to: torch.device) -> None:
        """Create a folder for this history inside ``folder`` and a sparse file in it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="history-", dir=folder))
        except OSError as error:
            raise ValueError(f"buffer_dir={folder} cannot be written to: {error}; name another folder") from error
        super().__init__(record, max_rows, torch.device("cpu"), handed_to)
        self._rows_per_release = max(1, self.WORKING_SET_BYTES // (self._PAGES_PER_FAULT + record.num_bytes))

    def write(self, where: Index, fields: Mapping[str, torch.Tensor]) -> None:
        """Write some fields of the rows in some slots."""
        super().write(where, fields)
        self._release()

    def state(self, used: int) -> dict[str, Any]:
        """Return where the rows are: they stay in their file."""
        return {"fields": self.record.description(), "folder": str(self.folder.resolve())}

    def load_state(self, state: dict[str, Any], used: int, unroll: int) -> None:
        """Go on with the file of an earlier run.

        Raises:
            ValueError: If the file is gone or has another layout.
        """
        from tensordict import MemoryMappedTensor

        if "folder" not in state:
            raise ValueError("the saved history is not in files; set buffer_dir to None")
        if unroll:
            raise ValueError("a history in files keeps its size: set max_buffer_size to that of the earlier run")
        folder = Path(state["folder"])
        path = folder / self._FILE
        if not path.is_file() or path.stat().st_size != self._rows.nbytes:
            raise ValueError(f"the saved history does not fit: {path} is missing or has another size")
        self._check_fields(state)
        self._set(_plain(MemoryMappedTensor.from_filename(path, self._rows.dtype, self._rows.shape)))
        if folder.resolve() != self.folder.resolve():
            self._remove_files()
        self.folder = folder

    def _remove_files(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _empty(self, rows: int) -> torch.Tensor:
        from tensordict import MemoryMappedTensor

        shape, path = (rows, self.record.words), self.folder / self._FILE
        with torch.inference_mode(False):
            return _plain(MemoryMappedTensor.empty(shape, dtype=self.record.dtype, filename=path))

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
