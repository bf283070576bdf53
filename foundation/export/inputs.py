"""What an exported policy takes: its vector observations as one array, and one array per image group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from tensordict import TensorDict

from foundation.distill.observations import groups_of, stored_dtype
from foundation.export.errors import ExportError
from foundation.export.generators import repeated_generators

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv
    from rsl_rl.models import MLPModel


def image_groups(model: MLPModel) -> list[str]:
    """Return the observation groups that a model reads as images, in the model's order."""
    return list(getattr(model, "obs_groups_2d", []))


def arrays_of(model: MLPModel, obs: TensorDict) -> list[np.ndarray]:
    """Return what :func:`as_read` gave as vectors (N, O), O = 0 if there are none, and images (N, C, H, W)."""
    vectors = [obs[group] for group in model.obs_groups] or [torch.zeros(obs.batch_size[0], 0)]
    return [torch.cat(vectors, dim=-1).numpy(), *(obs[group].numpy() for group in image_groups(model))]


def as_read(model: MLPModel, obs: TensorDict) -> TensorDict:
    """Return the groups that a model reads, as training stores them: float32, but images of bytes as bytes.

    Raises:
        ExportError: If the environment lacks a group.
    """
    names = [str(name) for name in obs.keys()]  # noqa: SIM118 - not every version of tensordict iterates over names
    read = {}
    for group in groups_of(model):
        if group not in names:
            raise ExportError(
                f"the policy reads the observation group {group!r}, which its environment does not have; it has "
                f"{', '.join(names)}"
            )
        read[group] = obs[group].to(stored_dtype(obs[group]))
    return TensorDict(read, batch_size=obs.batch_size)


def require_readable(model: MLPModel, obs: TensorDict) -> None:
    """Raise if a policy cannot read observations.

    Raises:
        ExportError: Names the shapes and dtypes that the policy cannot read.
    """
    try:
        model(obs)
    except RuntimeError as error:
        # A model of rsl_rl itself reads floats only, a model that was loaded from a checkpoint bytes as well.
        kinds = ", ".join(f"{group} {tuple(obs[group].shape)} {obs[group].dtype}" for group in groups_of(model))
        raise ExportError(f"the policy cannot read its environment's observations, {kinds}: {error}") from error
    model.reset()


def byte_images(model: MLPModel, make_env: Callable[[], VecEnv]) -> list[str]:
    """Return the image groups that are bytes (uint8) in the environment; the model reads them as values up to 1.

    Without image groups no environment is made.

    Raises:
        ExportError: If the model cannot read the environment's observations.
    """
    groups = image_groups(model)
    if not groups:
        return []
    with repeated_generators():
        obs = as_read(model, make_env().get_observations())
    with torch.inference_mode():
        require_readable(model, obs)
    return [group for group in groups if obs[group].dtype == torch.uint8]
