"""Which observation groups a model reads, how it normalises them, and images that stay bytes until it does."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.modules import EmpiricalNormalization
from tensordict import TensorDict


def tensors_of(data: TensorDict) -> dict[str, torch.Tensor]:
    """Return the tensors of a flat TensorDict by name."""
    return dict(data.items())  # pyright: ignore


def groups_of(model: MLPModel) -> list[str]:
    """Return the names of the observation groups that a model reads."""
    return [*model.obs_groups, *getattr(model, "obs_groups_2d", [])]


def prepare_for_images(model: MLPModel, obs: TensorDict) -> None:
    """Let a model read images of dtype uint8, as values from 0 to 1; without images, change nothing."""
    if not model.obs_groups:
        # rsl_rl would fail to normalise what is not there: it leaves images as they are.
        model.obs_normalization = False
    images = [group for group in getattr(model, "obs_groups_2d", []) if obs[group].dtype == torch.uint8]
    if not images:
        return

    def to_unit_range(module: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        read = args[0].copy()
        for group in images:
            read[group] = read[group].float() / 255.0
        return (read, *args[1:])

    model.register_forward_pre_hook(to_unit_range)


def count_on_host(model: torch.nn.Module) -> None:
    """Let rsl_rl's normalisers count their samples on the host: they wait for a GPU to add to a count there."""
    if torch.distributed.is_initialized():
        return  # they add up the counts of all processes, between GPUs
    for module in model.modules():
        if isinstance(module, EmpiricalNormalization):
            module.count = module.count.cpu()  # pyright: ignore
