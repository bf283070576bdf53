"""The memory that a history needs, checked before a long run rather than during it."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from foundation.distill.log import logger


def available_bytes(device: torch.device | str) -> int:
    """Return the memory that is free on a device, host memory for ``cpu`` [bytes].

    Without psutil nothing tells how much of the host's is: any history fits then, and one line says so.
    """
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        import psutil
    except ModuleNotFoundError:
        _say_that_memory_is_not_checked()
        return sys.maxsize
    return psutil.virtual_memory().available


@functools.cache
def _say_that_memory_is_not_checked() -> None:
    logger.warning("[DAgger] psutil is not installed: whether the history fits into memory is not checked")


def available_disk_bytes(folder: Path) -> int:
    """Return the space that is free for a folder, which need not exist yet [bytes]."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@dataclass(frozen=True)
class HistorySize:
    """Size of a full history."""

    transitions: int
    """Largest number of transitions."""
    bytes_per_transition: float
    """Memory of one, including its share of a window and of the bookkeeping [bytes]."""


def check_fits(size: HistorySize, device: torch.device, folder: Path | None, log: Callable[[str], None]) -> None:
    """Print the history's estimated memory, and refuse one that cannot fit.

    Args:
        size: Size of the full history.
        device: Device that stores it, without a folder.
        folder: Folder for a history in files.
        log: Prints one line.

    Raises:
        ValueError: If there is not room enough; the message gives the size that there is room for.
    """
    each = size.bytes_per_transition
    need = size.transitions * each
    place = f"disk in {folder}" if folder is not None else str(device)
    estimate = f"Estimated memory: {need / 1e6:.0f} MB on {place} when full, {each:.0f} bytes a transition"
    if folder is not None:
        log(estimate)
        _require(size, 1.0, available_disk_bytes(folder), place, "")
        return
    if device.type == "cpu":
        log(estimate)
        _require(size, 1.0, available_bytes(device), place, "")
        return
    # A GPU's memory cannot be reserved ahead: while the history grows, old and new rows exist side by side.
    log(f"{estimate}, at most {2.0 * need / 1e6:.0f} MB while it grows")
    _require(size, 2.0, available_bytes(device), place, " while it grows")


def _require(size: HistorySize, factor: float, free: int, place: str, why: str) -> None:
    each = factor * size.bytes_per_transition
    need = each * size.transitions
    if need > free:
        raise ValueError(
            f"max_buffer_size={size.transitions} needs {need / 1e6:.0f} MB ({need:.0f} bytes){why}, but {place} "
            f"has {free / 1e6:.0f} MB free; set max_buffer_size to at most {int(free / each)}, or num_envs lower"
        )
