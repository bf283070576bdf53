"""Checkpoints: written whole or not at all, loaded without running code from the file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

TEACHER = "teacher"
"""A checkpoint of a PPO run, with an actor."""
STUDENT = "student"
"""A checkpoint of a distillation run, with a student and its teacher."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file, the reason and the way out."""


def atomic_save(state: dict[str, Any], path: str | Path) -> None:
    """Write a checkpoint so that a crash leaves the old file or the new one, never half of either."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | Path, map_location: str | torch.device | None = "cpu") -> dict[str, Any]:
    """Return a checkpoint's contents: tensors and plain Python values only.

    Raises:
        CheckpointError: If the file is missing, damaged, or would run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist; give the path of a .pt file")
    try:
        state = torch.load(path, weights_only=True, map_location=map_location)
    except Exception as error:  # a damaged file can raise anything
        raise CheckpointError(
            f"checkpoint {path} is damaged, or not a checkpoint of tensors and plain values"
        ) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(state).__name__}, expected a dictionary")
    return state


def checkpoint_kind(state: dict[str, Any], path: str | Path) -> str:
    """Return whether a checkpoint comes from a teacher's (PPO) or a student's (distillation) run.

    Raises:
        CheckpointError: If it comes from neither.
    """
    if "student_state_dict" in state:
        return STUDENT
    if "actor_state_dict" in state:
        return TEACHER
    raise CheckpointError(
        f"checkpoint {path} holds {sorted(state)}, expected actor_state_dict (a PPO run) or student_state_dict "
        "(a distillation run)"
    )


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], what: str, strict: bool = True) -> None:
    """Load weights into a model.

    Args:
        model: The model.
        weights: Its state.
        what: How messages call the model and the file.
        strict: Whether missing and unexpected entries are errors.

    Raises:
        CheckpointError: If the shapes differ; the message gives the layers' sizes on both sides.
    """
    try:
        model.load_state_dict(weights, strict=strict)
    except RuntimeError as error:
        raise CheckpointError(
            f"{what} does not fit the configured model: the file has layers {_layer_shapes(weights)}, the model "
            f"{_layer_shapes(model.state_dict())}; set its hidden_dims and obs_normalization to the file's"
        ) from error


def _layer_shapes(weights: dict[str, torch.Tensor]) -> str:
    return ", ".join("x".join(map(str, value.shape)) for name, value in weights.items() if name.endswith("weight"))


def moved(state: Any, device: torch.device | str) -> Any:
    """Return a copy of nested containers with their tensors on another device."""
    if isinstance(state, torch.Tensor):
        return state.detach().to(device, copy=True)
    if isinstance(state, dict):
        return {key: moved(value, device) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(moved(value, device) for value in state)
    return state
