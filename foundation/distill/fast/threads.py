"""The number of torch's threads for small operations."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

FEW_ROWS = 512
"""Largest number of rows of which one thread computes a usual layer faster than several threads do."""


@contextlib.contextmanager
def threads_for(rows: int, device: torch.device | str) -> Iterator[None]:
    """Let torch use a single CPU thread while operations have few rows.

    Sharing so little work costs more than it saves, and torch's idle threads keep their cores busy.
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
