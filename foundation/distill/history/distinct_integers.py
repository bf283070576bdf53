"""Different random integers, at a cost that depends on how many are drawn and not on how many there are."""

from __future__ import annotations

import numpy as np
import torch


def distinct_integers(below: int, count: int, device: torch.device) -> torch.Tensor:
    """Return ``count`` different integers of 0 to ``below`` - 1; every ordered choice is equally likely."""
    if below < 8 * count:
        return torch.randperm(below, device=device)[:count]
    # Rejection: draw a few more, and drop repetitions, of which there is about a tenth at most.
    drawn = torch.randint(below, (count + count // 4 + 16,), dtype=torch.int32, device=device)
    order = _stable_order(drawn)
    values = drawn.index_select(0, order)
    first = torch.ones_like(drawn, dtype=torch.bool)
    first[order[1:][values[1:] == values[:-1]]] = False
    different = drawn.masked_select(first)
    return different[:count] if len(different) >= count else distinct_integers(below, count, device)


def _stable_order(numbers: torch.Tensor) -> torch.Tensor:
    """Return the indices that sort int32 numbers of at least 0, keeping equal ones in their order."""
    if numbers.device.type != "cpu":
        return numbers.argsort(stable=True)
    # Radix sort, which NumPy has for 16 bits: several times faster than comparing numbers.
    values = numbers.numpy()
    order = (values & 0xFFFF).astype(np.uint16).argsort(kind="stable")
    return torch.from_numpy(order[(values >> 16).astype(np.uint16)[order].argsort(kind="stable")])
