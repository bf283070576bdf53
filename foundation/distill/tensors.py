"""Helpers for tensors in containers, and for finding non-finite values in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from tensordict import TensorDict
from torch import nn


def tensors_of(data: TensorDict) -> dict[str, torch.Tensor]:
    """Return the tensors of a flat TensorDict by name."""
    return dict(data.items())  # pyright: ignore


def moved(state: Any, device: torch.device | str) -> Any:
    """Return a copy of nested containers with their tensors on another device."""
    if isinstance(state, torch.Tensor):
        return state.detach().to(device, copy=True)
    if isinstance(state, dict):
        return {key: moved(value, device) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(moved(value, device) for value in state)
    return state


def finite_rows(fields: Mapping[str, torch.Tensor], dims: int = 1) -> torch.Tensor:
    """Return where all fields are finite: bool, with the shape of the fields' first ``dims`` dimensions."""
    shape = next(iter(fields.values())).shape[:dims]
    ok = torch.ones(shape, dtype=torch.bool, device=next(iter(fields.values())).device)
    for values in fields.values():
        if values.is_floating_point():
            ok &= torch.isfinite(values).reshape(*shape, -1).all(-1)
    return ok


def all_finite(fields: Mapping[str, torch.Tensor]) -> bool:
    """Return whether all fields are finite."""
    numbers = [values for values in fields.values() if values.is_floating_point()]
    # A sum is finite only if every term is. One that is not may have overflowed: then check every number.
    if bool(torch.isfinite(torch.stack([values.sum() for values in numbers]).sum())):
        return True
    return all(bool(torch.isfinite(values).all()) for values in numbers)


def gradient_norm(parameters: Iterable[torch.Tensor]) -> torch.Tensor:
    """Return the norm of all gradients together; it is not finite if one of them is not."""
    return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
