"""Files of a run, written whole or not at all."""

from __future__ import annotations

import hashlib
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file, the reason and the way out."""


@dataclass(frozen=True)
class FileDigest:
    """Size and checksum of a file as it was written."""

    size: int
    """Length [bytes]."""
    sha256: str
    """SHA-256 of the contents, hexadecimal."""

    @staticmethod
    def of(contents: bytes | memoryview) -> FileDigest:
        """Return the digest of a file's contents."""
        return FileDigest(len(contents), hashlib.sha256(contents).hexdigest())

    def difference(self, path: Path) -> str | None:
        """Return how a file differs from the one that was written, in words; None if it does not."""
        if not path.is_file():
            return f"{path.name} is missing"
        size = path.stat().st_size
        if size != self.size:
            return f"{path.name} has {size} bytes instead of {self.size}"
        if FileDigest.of(path.read_bytes()) != self:
            return f"{path.name} has another checksum than when it was written"
        return None


def atomic_save(state: dict[str, Any], path: str | Path) -> FileDigest:
    """Write a checkpoint so that a crash leaves the old file or the new one, never half of either.

    Raises:
        OSError: If it cannot be written; the old file, if there is one, is as it was.
    """
    # Serialise first: torch would wrap an error of the disk in one of its own.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return atomic_write(buffer.getbuffer(), path)


def atomic_write(contents: bytes | memoryview, path: str | Path) -> FileDigest:
    """Write a file in the same way."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return FileDigest.of(contents)


def _sync_folder(folder: Path) -> None:
    """Make a renamed file survive a power failure, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_plain(value: Any) -> bool:
    """Return whether a value is one that :func:`~foundation.distill.checkpoint.load_checkpoint` loads."""
    if isinstance(value, dict):
        return type(value) is dict and all(is_plain(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(is_plain, value))
    return value is None or type(value) in (torch.Tensor, bool, int, float, str)
