"""The observation groups that models read, and the types in which they are stored and read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill.log import logger

_IMAGE_DIMS = 3
"""Dimensions of one image: channels, height, width."""


def groups_of(model: Any) -> list[str]:
    """Return the names of the observation groups that a model reads."""
    return [*model.obs_groups, *getattr(model, "obs_groups_2d", [])]


def prepare_storage(storage: RolloutStorage, models: Iterable[Any]) -> None:
    """Store the observation groups that a model reads and no others, as float32; images of bytes stay bytes.

    Args:
        storage: rsl_rl's storage of one rollout, as the environment's observations have shaped it.
        models: All policies; one that does not say which groups it reads has access to all.

    Raises:
        ValueError: If a group's numbers cannot become float32.
    """
    models = list(models)
    names = list(storage.observations.keys())
    if all(hasattr(model, "obs_groups") for model in models):
        read = {group for model in models for group in groups_of(model)}
        names = [name for name in names if name in read]
    stored = {name: _storable(str(name), storage.observations[name], "DAgger") for name in names}
    storage.observations = TensorDict(
        stored, batch_size=storage.observations.batch_size, device=storage.observations.device
    )


def convert_storage(storage: RolloutStorage, read: Iterable[str], label: str) -> None:
    """Store the groups that are read as float32, but images of bytes as they are.

    Groups that are not read keep the environment's types.

    Args:
        storage: rsl_rl's storage of one rollout.
        read: Names of the groups that are read.
        label: Begins the line that tells of a conversion.

    Raises:
        ValueError: If a group's numbers cannot become float32.
    """
    for name in sorted(set(read) & set(storage.observations.keys())):
        storage.observations[name] = _storable(name, storage.observations[name], label)


def converted(obs: TensorDict, like: TensorDict) -> TensorDict:
    """Return a copy of observations (N, ...) in the types of other ones; groups that those lack are left out."""
    groups = {name: obs[name].to(values.dtype, copy=True) for name, values in like.items()}
    return TensorDict(groups, batch_size=obs.batch_size, device=obs.device)  # pyright: ignore


def readable(model: Any, obs: TensorDict) -> TensorDict:
    """Return observations with the groups that a model reads in the types in which it reads them."""
    changed = {
        group: obs[group].to(dtype)
        for group in (groups_of(model) if hasattr(model, "obs_groups") else [])
        if (dtype := stored_dtype(obs[group])) != obs[group].dtype
    }
    return obs.copy().update(changed) if changed else obs  # pyright: ignore


def stored_dtype(values: torch.Tensor, batch_dims: int = 1) -> torch.dtype:
    """Return the type in which a group is stored and read: float32, but images of bytes stay bytes.

    Args:
        values: Observations of the group, (N, ...) or with more dimensions before those of one observation.
        batch_dims: Number of these dimensions.
    """
    is_image = values.ndim >= batch_dims + _IMAGE_DIMS
    return torch.uint8 if is_image and values.dtype == torch.uint8 else torch.float32


def _storable(name: str, values: torch.Tensor, label: str) -> torch.Tensor:
    """Return a group's storage (T, N, ...): its own, or another one if it has to be of another type."""
    dtype = stored_dtype(values, batch_dims=2)
    if values.dtype == dtype:
        return values
    if values.is_complex():
        raise ValueError(
            f"observation group {name!r} has dtype {values.dtype}, which cannot be converted to float32; give its "
            "real and imaginary parts as two groups, or leave it out of obs_groups"
        )
    logger.warning(f"[{label}] observation group {name!r} of dtype {values.dtype} is converted to float32")
    return torch.zeros_like(values, dtype=dtype)


def select_groups(batch: TensorDict, groups: list[str]) -> TensorDict:
    """Return observation groups of stored rows, where their names begin with ``obs/``."""
    return TensorDict({group: batch[f"obs/{group}"] for group in groups}, batch_size=batch.batch_size)


class InputConversion:
    """Forward pre-hook of a model: its groups become float32, and its images of bytes values from 0 to 1."""

    def __init__(self, groups: list[str], images: list[str]) -> None:
        """Convert these observation groups, of which ``images`` are bytes."""
        self._groups, self._images = groups, images

    def __call__(self, _: torch.nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the model's arguments with converted observations; None if they are as it reads them."""
        if not self._images and all(args[0][group].dtype == torch.float32 for group in self._groups):
            return None
        read = args[0].copy()
        for group in self._groups:
            read[group] = read[group].float() / (255.0 if group in self._images else 1.0)
        return (read, *args[1:])


def prepare_inputs(model: MLPModel, obs: TensorDict) -> None:
    """Let a model read an environment's observations of any type, as it reads those that are stored.

    Does nothing where all groups that the model reads are float32.

    Args:
        model: The model.
        obs: Observations as the environment returns them, shape (N, ...).
    """
    if not hasattr(model, "obs_groups"):
        return  # a teacher of one's own, which reads what it wants
    if not model.obs_groups:
        # Without one-dimensional groups there is nothing to normalise, and rsl_rl would fail to.
        model.obs_normalization = False
    groups = [group for group in groups_of(model) if obs[group].dtype != torch.float32]
    images = [group for group in getattr(model, "obs_groups_2d", []) if obs[group].dtype == torch.uint8]
    if groups:
        model.register_forward_pre_hook(InputConversion(groups, images))
