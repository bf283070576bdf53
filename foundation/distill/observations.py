"""The observation groups that a model reads, and images that stay bytes until a model reads them."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict


def groups_of(model: MLPModel) -> list[str]:
    """Return the names of the observation groups that a model reads."""
    return [*model.obs_groups, *getattr(model, "obs_groups_2d", [])]


def select_groups(batch: TensorDict, groups: list[str]) -> TensorDict:
    """Return observation groups of stored rows, where their names begin with ``obs/``."""
    return TensorDict({group: batch[f"obs/{group}"] for group in groups}, batch_size=batch.batch_size)


def prepare_for_images(model: MLPModel, obs: TensorDict) -> None:
    """Let a model read images of dtype uint8, scaled to [0, 1]; does nothing without images."""
    if not model.obs_groups:
        # Without one-dimensional groups there is nothing to normalise, and rsl_rl would fail to.
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
