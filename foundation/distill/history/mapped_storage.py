"""Rows in a file that is mapped into memory, for histories larger than memory."""

from __future__ import annotations

import ctypes
import mmap
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch

from foundation.distill.history.row_format import RowFormat
from foundation.distill.history.storage import Index, RowStorage

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class MappedStorage(RowStorage):
    """Rows in a sparse file that is mapped into memory.

    Pages that reads and writes touched are released as soon as :data:`WORKING_SET_BYTES` may be mapped, so
    resident memory does not grow with the history.
    """

    WORKING_SET_BYTES = 64 * 2**20
    """Upper bound on mapped pages between two releases [bytes], unless a single row needs more."""
    _PAGES_PER_FAULT = 16 * mmap.PAGESIZE
    """Bytes that Linux maps around a page that is touched (the default of its ``fault_around_bytes``)."""

    def __init__(self, row_format: RowFormat, max_rows: int, folder: Path, output_device: torch.device) -> None:
        """Create an unnamed file on the file system of ``folder``; it is gone when the process ends."""
        self.folder = folder
        super().__init__(row_format, max_rows, torch.device("cpu"), output_device)
        self._rows_per_release = max(1, self.WORKING_SET_BYTES // (self._PAGES_PER_FAULT + row_format.num_bytes))

    def disk_bytes(self) -> int:
        """Return the space that the file takes [bytes]."""
        return os.fstat(self._file.fileno()).st_blocks * 512

    def reserve(self, rows: int, used: int) -> None:
        """Make room for ``rows`` rows on the disk, so that no later write finds it full.

        Raises:
            MemoryError: If there is no room; everything is as before.
        """
        try:
            os.posix_fallocate(self._file.fileno(), 0, rows * self.format.num_bytes)
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
            shape = (rows, self.format.words)
            mapped = MemoryMappedTensor.empty(shape, dtype=self.format.dtype, filename=name, existsok=True)
        # The mapping stays valid, and no file is left however the process ends.
        os.unlink(name)
        # As a plain tensor: operations of the subclass have an overhead.
        return mapped.as_subclass(torch.Tensor)

    def _gather(self, where: Index) -> torch.Tensor:
        if not isinstance(where, torch.Tensor):
            where = torch.arange(len(self._rows))[where]
        out = torch.empty(
            len(where),
            self.format.words,
            dtype=self.format.dtype,
            pin_memory=self.output_device.type == "cuda",
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
