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

Index = torch.Tensor | slice
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ColumnStorage:
    """Rows kept column by column, and handed out on the device that trains on them.

    Host memory is reserved for the largest size at once: the operating system commits a page when it is first
    written, so growing copies nothing. Memory of a GPU is allocated as it is needed, and growing copies one
    column at a time.
    """

    def __init__(
        self, example: Mapping[str, torch.Tensor], max_rows: int, kept_on: torch.device, handed_to: torch.device
    ) -> None:
        """Reserve what can be reserved.

        Args:
            example: Tensors of shape (B, …) that give the columns' shapes and dtypes.
            max_rows: Largest number of rows.
            kept_on: Device that the rows are kept on.
            handed_to: Device that :meth:`read` returns rows on.
        """
        self.kept_on = kept_on
        self.handed_to = handed_to
        self._reserved = max_rows if kept_on.type == "cpu" else 0
        self.columns = {
            name: self._empty(name, (self._reserved, *value.shape[1:]), value.dtype)
            for name, value in example.items()
        }

    def reserve(self, rows: int, used: int) -> None:
        """Make room for ``rows`` rows, keeping the first ``used``."""
        if rows <= self._reserved:
            return
        for name, column in self.columns.items():
            grown = self._empty(name, (rows, *column.shape[1:]), column.dtype)
            grown[:used].copy_(column[:used])
            self.columns[name] = grown
        self._reserved = rows

    def write(self, where: Index, rows: Mapping[str, torch.Tensor]) -> None:
        """Copy rows into slots."""
        for name, column in self.columns.items():
            column[where] = rows[name].to(self.kept_on)

    def read(self, where: Index) -> dict[str, torch.Tensor]:
        """Return the rows of some slots as new tensors; to a GPU they travel while it computes."""
        rows = {name: self._gather(column, where) for name, column in self.columns.items()}
        if self.kept_on.type == self.handed_to.type:
            return rows
        return {name: value.to(self.handed_to, non_blocking=True) for name, value in rows.items()}

    def state(self, used: int) -> dict[str, Any]:
        """Return the first ``used`` rows in host memory."""
        return {name: column[:used].to("cpu", copy=True) for name, column in self.columns.items()}

    def load_state(self, state: dict[str, Any], used: int, unroll: int) -> None:
        """Restore rows; ``unroll`` is the slot that becomes the first.

        Raises:
            ValueError: If the state has other columns.
        """
        if "folder" in state:
            raise ValueError(
                f"the saved history is in files of {state['folder']}; set buffer_dir to go on with them"
            )
        for name, column in self.columns.items():
            saved = state.get(name)
            if saved is None or saved.shape[1:] != column.shape[1:] or saved.dtype != column.dtype:
                raise ValueError(
                    f"the saved history does not fit: field {name!r} differs; keep the student's class and "
                    "observations, gradient_length and burn_in, and what is stored besides"
                )
        for name, column in self.columns.items():
            column[:used].copy_(state[name].roll(-unroll, 0))

    def _empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        # Tensors created in inference mode could not be trained on.
        with torch.inference_mode(False):
            return torch.empty(shape, dtype=dtype, device=self.kept_on)

    def _gather(self, column: torch.Tensor, where: Index) -> torch.Tensor:
        if self.kept_on.type == self.handed_to.type or not isinstance(where, torch.Tensor):
            # Several times faster than indexing with the slots.
            return column[where].clone() if isinstance(where, slice) else column.index_select(0, where)
        # Only page-locked memory can be copied to a GPU without waiting for the copy.
        staging = torch.empty(len(where), *column.shape[1:], dtype=column.dtype, pin_memory=True)
        return torch.index_select(column, 0, where, out=staging)


class MappedStorage(ColumnStorage):
    """Rows in files of a folder of their own, mapped into memory, for histories larger than memory.

    The pages that a read or a write touched are given back as soon as :data:`WORKING_SET_BYTES` may be mapped,
    so what stays resident does not grow with the history.
    """

    WORKING_SET_BYTES = 64 * 2**20
    """Upper bound on mapped pages between two releases [bytes], unless a single row needs more."""
    _PAGES_PER_FAULT = 16 * mmap.PAGESIZE
    """Linux maps this neighbourhood of a page that is touched (its default ``fault_around_bytes``)."""

    def __init__(
        self, example: Mapping[str, torch.Tensor], max_rows: int, folder: Path, handed_to: torch.device
    ) -> None:
        """Create a folder for this history inside ``folder`` and one sparse file per column in it."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix="history-", dir=folder))
        except OSError as error:
            raise ValueError(f"buffer_dir={folder} cannot be written to: {error}; name another folder") from error
        super().__init__(example, max_rows, torch.device("cpu"), handed_to)
        row_bytes = sum(column[:1].nbytes for column in self.columns.values())
        mapped_per_row = len(self.columns) * self._PAGES_PER_FAULT + row_bytes
        self._rows_per_release = max(1, self.WORKING_SET_BYTES // mapped_per_row)

    def write(self, where: Index, rows: Mapping[str, torch.Tensor]) -> None:
        """Copy rows into slots."""
        super().write(where, rows)
        self._release()

    def read(self, where: Index) -> dict[str, torch.Tensor]:
        """Return the rows of some slots as new tensors."""
        if not isinstance(where, torch.Tensor):
            where = torch.arange(self._reserved)[where]
        parts = []
        for slots in where.split(self._rows_per_release):
            parts.append(super().read(slots))
            self._release()
        return {name: torch.cat([part[name] for part in parts]) for name in self.columns}

    def state(self, used: int) -> dict[str, Any]:
        """Return where the rows are: they stay in their files."""
        return {"folder": str(self.folder.resolve())}

    def load_state(self, state: dict[str, Any], used: int, unroll: int) -> None:
        """Go on with the files of an earlier run.

        Raises:
            ValueError: If the files are gone or have another layout.
        """
        from tensordict import MemoryMappedTensor

        if "folder" not in state:
            raise ValueError("the saved history is not in files; set buffer_dir to None")
        if unroll:
            raise ValueError("a history in files keeps its size: set max_buffer_size to that of the earlier run")
        folder = Path(state["folder"])
        for name, column in self.columns.items():
            path = folder / _file_name(name)
            if not path.is_file() or path.stat().st_size != column.nbytes:
                raise ValueError(f"the saved history does not fit: {path} is missing or has another size")
            self.columns[name] = _plain(MemoryMappedTensor.from_filename(path, column.dtype, column.shape))
        if folder.resolve() != self.folder.resolve():
            self._remove_files()
        self.folder = folder

    def _remove_files(self) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def _empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        from tensordict import MemoryMappedTensor

        with torch.inference_mode(False):
            path = self.folder / _file_name(name)
            return _plain(MemoryMappedTensor.empty(shape, dtype=dtype, filename=path))

    def _gather(self, column: torch.Tensor, where: Index) -> torch.Tensor:
        assert isinstance(where, torch.Tensor)
        pinned = self.handed_to.type == "cuda"
        out = torch.empty(len(where), *column.shape[1:], dtype=column.dtype, pin_memory=pinned)
        return torch.index_select(column, 0, where, out=out)

    def _release(self) -> None:
        """Give the mapped pages back to the operating system; dirty ones stay in its file cache."""
        if _LIBC is None:
            return
        for column in self.columns.values():
            _LIBC.madvise(ctypes.c_void_p(column.data_ptr()), ctypes.c_size_t(column.nbytes), mmap.MADV_DONTNEED)


def _plain(mapped: torch.Tensor) -> torch.Tensor:
    """Return the same memory as a plain tensor, whose operations have no overhead."""
    return mapped.as_subclass(torch.Tensor)


def _file_name(column: str) -> str:
    return column.replace("/", "-") + ".bin"
