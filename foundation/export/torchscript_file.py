"""Export to TorchScript as rsl_rl and Isaac Lab load it; the module keeps the hidden values of one vehicle."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from foundation.export.inputs import image_groups

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel


def write_torchscript(model: MLPModel, path: Path, byte_images: Sequence[str] = ()) -> None:
    """Write a model with its normaliser inside; call ``reset()`` at the start of a flight.

    It takes the observations (N, O), and of a model that reads images also a list of them, as rsl_rl's does.

    Args:
        model: A model of rsl_rl.
        path: The file to write.
        byte_images: Image groups that are uint8, which the file scales to [0, 1]; the others are float32.
    """
    policy, images = model.as_jit().eval(), image_groups(model)
    if images:
        policy = _WithImages(policy, [group in byte_images for group in images])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(policy).save(str(path))


class _WithImages(torch.nn.Module):
    """An exportable policy of rsl_rl that reads bytes."""

    def __init__(self, policy: torch.nn.Module, is_bytes: list[bool]) -> None:
        super().__init__()
        self.policy = policy
        self.is_bytes = is_bytes

    def forward(self, obs_1d: torch.Tensor, obs_2d: list[torch.Tensor]) -> torch.Tensor:
        """Return the actions (N, A) for observations (N, O) and images (N, C, H, W)."""
        if len(obs_2d) != len(self.is_bytes):
            raise ValueError(f"the policy takes {len(self.is_bytes)} image groups, got {len(obs_2d)}")
        read: list[torch.Tensor] = []
        for image, is_bytes in zip(obs_2d, self.is_bytes):  # noqa: B905 - TorchScript's zip has no other argument
            if is_bytes != (image.dtype == torch.uint8):
                raise ValueError(f"image group {len(read)} must be {'uint8' if is_bytes else 'float32'}")
            read.append(image.float() / 255.0 if is_bytes else image)
        return self.policy(obs_1d, read)

    @torch.jit.export
    def reset(self) -> None:
        """Reset the recurrent state, if there is one."""
        self.policy.reset()  # pyright: ignore


class TorchScriptStepper:
    """Runs a file, loaded once per vehicle."""

    def __init__(self, path: Path, num_envs: int) -> None:
        """Load the file."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._modules = [torch.jit.load(str(path)) for _ in range(num_envs)]

    def __call__(self, obs: np.ndarray, *images: np.ndarray) -> np.ndarray:
        """Return the actions (N, A) for observations (N, O) and images (N, C, H, W)."""
        rows, seen = torch.as_tensor(obs), [torch.as_tensor(image) for image in images]
        actions = []
        for index, module in enumerate(self._modules):
            row = slice(index, index + 1)
            actions.append(module(rows[row], [image[row] for image in seen]) if seen else module(rows[row]))
        return torch.cat(actions).numpy()

    def reset(self, dones: np.ndarray) -> None:
        """Reset the recurrent state of the vehicles in a mask of shape (N,)."""
        for index in dones.nonzero()[0]:
            self._modules[index].reset()
