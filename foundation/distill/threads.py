"""How many of torch's threads small operations are worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

FEW_ROWS = 512
"""Rows up to which a layer of a usual policy is computed faster by one thread than by several that share it."""


@contextlib.contextmanager
def threads_for(rows: int, device: torch.device | str) -> Iterator[None]:
    """Let torch use one thread of the CPU while operations have few rows.

    Sharing so little work costs more than it saves, and threads that wait for their share keep their cores busy.
    """
    threads = torch.get_num_threads()
    if torch.device(device).type != "cpu" or rows > FEW_ROWS or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
