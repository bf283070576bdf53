"""Export to TorchScript as rsl_rl and Isaac Lab load it; the module keeps the hidden values of one vehicle."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel


def write_torchscript(model: MLPModel, path: Path) -> None:
    """Write a model with its normaliser inside; call ``reset()`` at the start of a flight.

    Args:
        model: A model of rsl_rl.
        path: The file to write.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(model.as_jit().eval()).save(str(path))


class TorchScriptStepper:
    """Runs a file, loaded once per vehicle."""

    def __init__(self, path: Path, num_envs: int) -> None:
        """Load the file."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self._modules = [torch.jit.load(str(path)) for _ in range(num_envs)]

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Return the actions (N, A) for observations (N, O)."""
        rows = torch.as_tensor(obs).split(1)
        return torch.cat([module(row) for module, row in zip(self._modules, rows, strict=True)]).numpy()

    def reset(self, dones: np.ndarray) -> None:
        """Reset the recurrent state of the vehicles in a mask of shape (N,)."""
        for index in dones.nonzero()[0]:
            self._modules[index].reset()
