"""Checkpoints of earlier versions of rsl_rl, and of compiled or data-parallel models, in the present layout.

rsl_rl 5 saves each model by itself (``actor_state_dict``) with the entries ``mlp.*``, ``obs_normalizer.*``,
``rnn.rnn.*``, ``cnns.*`` and ``distribution.*``. Earlier versions save the same tensors under other names:

* 4.x: one model each, with ``std`` or ``log_std`` beside ``mlp.*``;
* 3.x: all models in ``model_state_dict``, as ``actor.*``, ``actor_obs_normalizer.*``, ``memory_a.rnn.*``, ``std``;
* 2.x and 1.x: the same without normalisers, which 2.x saves as ``obs_norm_state_dict`` and others.

The names were read from rsl-rl-lib 2.1.2, 2.2.4, 2.3.3, 3.0.1, 3.1.3, 3.3.0, 4.0.1 and 5.0.1. In all of them a
normaliser computes (x - mean) / (std + 0.01) and clips nothing, as in rsl_rl 5.
"""

from __future__ import annotations

from typing import Any

import torch

from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.log import logger

SAVED_BY = "saved_by"
"""Entry of a converted checkpoint that names the version it was saved by."""
ROLES = ("actor", "critic", "student", "teacher")
"""The models that a checkpoint may hold, each as ``<role>_state_dict``."""

_MEMORIES = {"actor": "memory_a", "critic": "memory_c", "student": "memory_s", "teacher": "memory_t"}
_PREFIXES = {
    old: (role, new)
    for role in ROLES
    for old, new in (
        (f"{role}.", "mlp."),
        (f"{role}_obs_normalizer.", "obs_normalizer."),
        (f"{role}_cnns.", "cnns."),
        (f"{_MEMORIES[role]}.", "rnn."),
    )
}
"""Beginnings of names in ``model_state_dict``, and the model and the beginning that they have today."""
_WRAPPED = {*_PREFIXES, *(new for _, new in _PREFIXES.values())}
_NOISE = {"std": "distribution.std_param", "log_std": "distribution.log_std_param"}
"""Names of the standard deviation until 4.x, and today."""
_NORMALISERS = {
    "obs_norm_state_dict": ("actor", "student"),
    "privileged_obs_norm_state_dict": ("critic", "teacher"),
    "critic_obs_norm_state_dict": ("critic",),
}
"""Entries of 2.x, and the model that each belongs to: of a PPO run, and of a distillation run."""
_PARTS = {
    "mlp": "network",
    "rnn": "recurrent layers",
    "cnns": "convolutions",
    "obs_normalizer": "normaliser",
    "distribution": "standard deviation",
}
_WAY_OUT = (
    "to use its policy as a teacher, export it as TorchScript or ONNX and name that file in teacher_checkpoint"
)


def convert_checkpoint(state: dict[str, Any], what: str) -> dict[str, Any]:
    """Return a checkpoint in the present layout, and log in one line what was converted.

    Args:
        state: The checkpoint; it is not changed.
        what: How messages call it, such as ``teacher x.pt``.

    Raises:
        CheckpointError: If it is of a layout that cannot be converted.
    """
    present = present_layout(state, what)
    if SAVED_BY in present and SAVED_BY not in state:
        read = ", ".join(f"{role} ({_parts(present[f'{role}_state_dict'])})" for role in _roles(present))
        logger.info(f"[Checkpoint] {what} was saved by {present[SAVED_BY]}: read {read}")
    return present


def present_layout(state: dict[str, Any], what: str) -> dict[str, Any]:
    """Return a checkpoint in the present layout; the same object if it has it already.

    Args:
        state: The checkpoint; it is not changed.
        what: How messages call it.

    Raises:
        CheckpointError: If it is of a layout that cannot be converted.
    """
    if _is_state_dict(state):
        state = _from_state_dict(state)
    for name in ("model_state_dict", *(f"{role}_state_dict" for role in ROLES)):
        if name in state and not _has_names(state[name]):
            raise CheckpointError(f"{what} is damaged: its {name} does not hold weights by name")
    if "model_state_dict" in state:
        return _from_one_model(state, what)
    models = {f"{role}_state_dict": state[f"{role}_state_dict"] for role in _roles(state)}
    renamed = {name: _with_noise(plain_names(weights)) for name, weights in models.items()}
    if all(renamed[name].keys() == models[name].keys() for name in models):
        return state
    old_noise = any(noise in plain_names(weights) for weights in models.values() for noise in _NOISE)
    return {**state, **renamed} | ({SAVED_BY: "rsl_rl 4.x"} if old_noise else {})


def plain_names(weights: dict[str, Any]) -> dict[str, Any]:
    """Return weights without the prefixes of compiled (``_orig_mod.``) and data-parallel (``module.``) models."""
    weights = {
        ".".join(part for part in name.split(".") if part != "_orig_mod"): value for name, value in weights.items()
    }
    while weights and all(name.startswith("module.") for name in weights):
        weights = {name.removeprefix("module."): value for name, value in weights.items()}
    return {_without_wrapper(name): value for name, value in weights.items()}


def _without_wrapper(name: str) -> str:
    """Remove ``module.`` after the name of a network that was wrapped alone, as in ``actor.module.0.weight``."""
    head, _, rest = name.partition(".module.")
    return f"{head}.{rest}" if rest and f"{head}." in _WRAPPED else name


def _from_one_model(state: dict[str, Any], what: str) -> dict[str, Any]:
    """Convert a checkpoint of 1.x, 2.x or 3.x, in which one model holds all."""
    weights = plain_names(state["model_state_dict"])
    models: dict[str, dict[str, Any]] = {}
    unknown = []
    distils = any(name.startswith(("student.", "memory_s.")) for name in weights)
    for name, value in weights.items():
        old = next((prefix for prefix in _PREFIXES if name.startswith(prefix)), None)
        if name in _NOISE:
            models.setdefault("student" if distils else "actor", {})[_NOISE[name]] = value
        elif old is None:
            unknown.append(name)
        else:
            role, new = _PREFIXES[old]
            models.setdefault(role, {})[new + name.removeprefix(old)] = value
    if unknown or not models:
        raise CheckpointError(
            f"{what} has the layout of rsl_rl 3.x or older, but also {_few(unknown)}, which no model of rsl_rl "
            f"has; {_WAY_OUT}"
        )
    for name, roles in _NORMALISERS.items():
        role = next((role for role in roles if role in models), None)
        if role is not None:
            values = plain_names(state[name]) if _has_names(state.get(name)) else {}
            models[role] |= {f"obs_normalizer.{key}": value for key, value in values.items()}
    # The optimiser's parameters are in another order, and include those of all models.
    kept = {name: value for name, value in state.items() if not name.endswith("state_dict")}
    found = {f"{role}_state_dict": weights for role, weights in models.items()}
    return {**kept, **found, SAVED_BY: f"rsl_rl {_version(state, weights)}"}


def _version(state: dict[str, Any], weights: dict[str, Any]) -> str:
    if any(name in state for name in _NORMALISERS):
        return "2.x"
    only_3 = tuple(f"{role}_{part}." for role in ROLES for part in ("obs_normalizer", "cnns"))
    return "3.x" if any(name.startswith(only_3) for name in weights) else "3.x or older"


def _with_noise(weights: dict[str, Any]) -> dict[str, Any]:
    return {_NOISE.get(name, name): value for name, value in weights.items()}


def _is_state_dict(state: dict[str, Any]) -> bool:
    return bool(state) and _has_names(state) and all(isinstance(value, torch.Tensor) for value in state.values())


def _has_names(weights: Any) -> bool:
    return isinstance(weights, dict) and all(isinstance(name, str) for name in weights)


def _from_state_dict(weights: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of a policy whose ``state_dict()`` alone was saved."""
    names = plain_names(weights)
    if any(name.startswith(("mlp.", "rnn.rnn.")) for name in names):
        return {"actor_state_dict": weights}
    if any(name.startswith(tuple(_PREFIXES)) for name in names):
        return {"model_state_dict": weights}
    return weights


def _roles(state: dict[str, Any]) -> list[str]:
    return [role for role in ROLES if isinstance(state.get(f"{role}_state_dict"), dict)]


def _parts(weights: dict[str, Any]) -> str:
    return ", ".join(text for part, text in _PARTS.items() if any(name.startswith(f"{part}.") for name in weights))


def _few(names: list[str], most: int = 3) -> str:
    return ", ".join(sorted(names)[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
