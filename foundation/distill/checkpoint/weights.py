"""Weights in checkpoints: the kind of run that they come from, and whether they fit a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from foundation.distill.checkpoint.files import CheckpointError

TEACHER = "teacher"
"""A checkpoint of a PPO run, with an actor."""
STUDENT = "student"
"""A checkpoint of a distillation run, with a student and its teacher."""


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
        CheckpointError: If they do not fit; the message names the layer, both shapes and the likely cause.
    """
    check_weights(model, weights, what)
    try:
        model.load_state_dict(weights, strict=strict)
    except RuntimeError as error:
        raise CheckpointError(
            f"{what} does not fit the configured model: {' '.join(str(error).split())}"
        ) from error


def check_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], what: str) -> None:
    """Check that weights have the shapes of a model's.

    Raises:
        CheckpointError: If one has not; the message names the layer, both shapes and the likely cause.
    """
    own = model.state_dict()
    differing = [
        name
        for name, value in weights.items()
        if isinstance(value, torch.Tensor) and name in own and value.shape != own[name].shape
    ]
    if not differing:
        if (set(weights) ^ set(own)) and any(name.endswith("weight") for name in set(weights) ^ set(own)):
            theirs, ours = (_names(a, b) for a, b in ((weights, own), (own, weights)))
            raise CheckpointError(
                f"{what} does not fit the configured model: only the file has {theirs}, only the model {ours}; "
                "probably another kind of network: set class_name, the number of layers in hidden_dims and "
                "obs_normalization to the file's"
            )
        return
    # Layers say more than the normaliser's statistics.
    name = min(differing, key=lambda name: not name.endswith(("weight", "weight_ih_l0")))
    theirs, ours = list(weights[name].shape), list(own[name].shape)
    if theirs[:-1] == ours[:-1]:
        cause = (
            "its inputs differ, probably another observation group or other observations: set obs_groups and the "
            "environment to those of the file's run, or the size of the layer before"
        )
    else:
        cause = "probably another network size: set hidden_dims, or rnn_hidden_dim, to the file's"
    raise CheckpointError(
        f"{what} does not fit the configured model: layer {name} has shape {theirs} in the file and {ours} in the "
        f"model; {cause}"
    )


def check_models(
    models: Mapping[str, torch.nn.Module], state: dict[str, Any], load_cfg: dict | None, strict: bool, whose: str
) -> None:
    """Check the weights of a checkpoint that rsl_rl is about to load.

    Args:
        models: The models by the names that a checkpoint has for them, such as ``student``.
        state: The checkpoint.
        load_cfg: Which parts are loaded; None loads all.
        strict: Whether missing and unexpected entries are errors; if not, nothing is checked.
        whose: How messages begin, as in ``the checkpoint's``.

    Raises:
        CheckpointError: If a model's do not fit.
    """
    for name, model in models.items():
        weights = state.get(f"{name}_state_dict")
        if weights is not None and strict and (load_cfg is None or load_cfg.get(name)):
            check_weights(model, weights, f"{whose} {name}")


def _names(some: dict[str, Any], others: dict[str, Any]) -> str:
    return ", ".join(sorted(set(some) - set(others))) or "nothing"
