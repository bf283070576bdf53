"""Whether the history will fit into memory, asked before a long run rather than during it."""

from __future__ import annotations

from collections.abc import Callable

import psutil
import torch


def available_bytes(device: torch.device | str) -> int:
    """Return the memory that is free on a device, host memory for ``cpu`` [bytes]."""
    device = torch.device(device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def check_fits(
    max_size: int,
    bytes_per_transition: int,
    device: torch.device | str,
    say: Callable[[str], None],
) -> None:
    """Print the history's estimated memory, and refuse a history that cannot fit.

    Args:
        max_size: Largest size of the history [transitions].
        bytes_per_transition: Memory of one transition [bytes].
        device: Where the history will be.
        say: Prints one line.

    Raises:
        ValueError: If the memory free on the device is not enough; the message gives the size that is.
    """
    # A checkpoint copies the history into host memory; growing copies one field of it at a time.
    peak_factor = 2.0
    need = max_size * bytes_per_transition
    free = available_bytes(device)
    say(f"Estimated memory: {need / 1e6:.0f} MB on {device} when full, {bytes_per_transition} bytes a transition")
    if peak_factor * need > free:
        largest = int(free / (peak_factor * bytes_per_transition))
        raise ValueError(
            f"max_buffer_size={max_size} needs {peak_factor * need / 1e6:.0f} MB with the copy that a checkpoint "
            f"makes, but {device} has {free / 1e6:.0f} MB free; "
            f"set max_buffer_size to at most {largest}, or use fewer num_envs"
        )
