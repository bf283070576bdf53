"""Weights in checkpoints: the kind of run that they come from, and whether they fit a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from foundation.distill.checkpoint.architecture import difference, shapes_differ
from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.foreign import SAVED_BY, present_layout

TEACHER = "teacher"
"""A checkpoint of a PPO run, with an actor."""
STUDENT = "student"
"""A checkpoint of a distillation run, with a student and its teacher."""


def checkpoint_kind(state: dict[str, Any], path: str | Path) -> str:
    """Return whether a checkpoint comes from a teacher's (PPO) or a student's (distillation) run.

    Raises:
        CheckpointError: If it comes from neither.
    """
    state = present_layout(state, f"checkpoint {path}")
    if "student_state_dict" in state:
        return STUDENT
    if "actor_state_dict" in state:
        return TEACHER
    raise CheckpointError(
        f"checkpoint {path} holds {sorted(state)}, expected actor_state_dict (a PPO run) or student_state_dict "
        "(a distillation run)"
    )


def load_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], what: str) -> None:
    """Load weights into a model.

    Args:
        model: The model.
        weights: Its state.
        what: How messages call the model and the file.

    Raises:
        CheckpointError: If they do not fit; the message names the settings that differ and the values that would.
    """
    check_weights(model, weights, what)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f"{what} does not fit the configured model: {' '.join(str(error).split())}"
        ) from error


def check_weights(model: torch.nn.Module, weights: dict[str, torch.Tensor], what: str) -> None:
    """Check that weights are of a network like a model's.

    Raises:
        CheckpointError: If not; the message names the settings that differ and the values that would fit.
    """
    own = model.state_dict()
    reason = difference(weights, own) or shapes_differ(weights, own)
    if reason is None and weights and own and not weights.keys() & own.keys():
        theirs = ", ".join(sorted(weights)[:3]) or "nothing"
        reason = f"no entry of the file, such as {theirs}, is one of a {type(model).__name__}; set class_name"
    if reason is not None:
        raise CheckpointError(f"{what} does not fit the configured model: {reason}")


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


def require_optimizer(state: dict[str, Any], load_cfg: dict | None, roles: tuple[str, ...], what: str) -> None:
    """Check that a checkpoint from which a run is to be continued holds the optimiser.

    Args:
        state: The checkpoint.
        load_cfg: Which parts are loaded; None loads all.
        roles: Names of the models that can be loaded without it.
        what: How messages call the checkpoint.

    Raises:
        CheckpointError: If it does not.
    """
    if "optimizer_state_dict" in state or not (load_cfg is None or load_cfg.get("optimizer")):
        return
    reason = f", as none of {state[SAVED_BY]} can be continued" if SAVED_BY in state else ""
    alone = ", ".join(f"{role!r}: True" for role in roles)
    raise CheckpointError(
        f"{what} holds no optimiser to continue with{reason}; load its weights alone with load_cfg={{{alone}}}"
    )
