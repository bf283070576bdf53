"""Memory that runs out while the history grows."""

from __future__ import annotations

import contextlib
import io
import resource

import torch
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from tests.support.processes import in_child


def rows(start: int, count: int) -> TensorDict:
    return TensorDict(
        {"id": torch.arange(start, start + count), "x": torch.zeros(count, 1000)}, batch_size=[count]
    )


def limit_address_space(more: int) -> None:
    """Let this process have only so much more memory than it has now [bytes]."""
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, resource.RLIM_INFINITY))


def grow() -> tuple[int, int, list[str]]:
    limit_address_space(200 * 2**20)
    with contextlib.redirect_stdout(io.StringIO()) as console:
        buffer = AggregatedBuffer(rows(0, 1), 1_000_000, "cpu", initial_capacity=1000)
        for start in range(0, 400_000, 500):
            buffer.append(rows(start, 500))
    return buffer.capacity, len(buffer), console.getvalue().splitlines()


def allocate_more_than_there_is() -> str:
    limit_address_space(64 * 2**20)
    try:
        AggregatedBuffer(rows(0, 1), 1_000_000, "cpu", initial_capacity=100_000)
    except MemoryError as error:
        return str(error)
    return ""


def test_a_history_that_cannot_grow_keeps_its_capacity_says_so_and_goes_on():
    capacity, size, said = in_child(grow)
    # All rows would be 1.6 GB.
    assert 1000 < capacity < 400_000
    assert size == capacity
    assert len(said) == 1
    assert f"it keeps to {capacity}, and drops rows" in said[0]


def test_a_first_allocation_that_fails_is_an_error_and_not_a_smaller_history():
    assert "allocate" in in_child(allocate_more_than_there_is)
