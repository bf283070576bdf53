"""Checkpoint files: written whole or not at all, loaded without running code from the file."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

TEACHER = "teacher"
"""A checkpoint of a PPO run, with an actor."""
STUDENT = "student"
"""A checkpoint of a distillation run, with a student and its teacher."""


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message names the file, the reason and the way out."""


@dataclass(frozen=True)
class FileDigest:
    """What tells whether a file is still the one that was written."""

    size: int
    """Length [bytes]."""
    sha256: str
    """SHA-256 of the contents, hexadecimal."""

    @staticmethod
    def of(contents: bytes | memoryview) -> FileDigest:
        """Return the digest of a file's contents."""
        return FileDigest(len(contents), hashlib.sha256(contents).hexdigest())

    def difference(self, path: Path) -> str | None:
        """Return what is wrong with a file, in words; None if nothing is."""
        if not path.is_file():
            return f"{path.name} is missing"
        size = path.stat().st_size
        if size != self.size:
            return f"{path.name} has {size} bytes instead of {self.size}"
        if FileDigest.of(path.read_bytes()) != self:
            return f"{path.name} has another checksum than when it was written"
        return None


def atomic_save(state: dict[str, Any], path: str | Path) -> FileDigest:
    """Write a checkpoint so that a crash leaves the old file or the new one, never half of either.

    Raises:
        OSError: If it cannot be written; the old file, if there is one, is as it was.
    """
    # Serialised before it is written, so that whatever the disk has to say arrives as it is.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return atomic_write(buffer.getbuffer(), path)


def atomic_write(contents: bytes | memoryview, path: str | Path) -> FileDigest:
    """Write a file in the same way."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(contents)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)
    return FileDigest.of(contents)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last through a power failure, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_checkpoint(path: str | Path, map_location: str | torch.device | None = "cpu") -> dict[str, Any]:
    """Return a checkpoint's contents: tensors and plain Python values only.

    A file that a manifest beside it describes is compared with that before anything of it is read.

    Raises:
        CheckpointError: If the file is missing, damaged, or would run code when loaded.
    """
    from foundation.distill.manifest import digest_beside

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist; give the path of a .pt file")
    digest = digest_beside(path)
    if digest is not None and (wrong := digest.difference(path)) is not None:
        raise CheckpointError(
            f"checkpoint {path} is damaged: {wrong}; use an older one, as --resume does by itself"
        )
    try:
        state = torch.load(path, weights_only=True, map_location=map_location)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)", str(error))
        if wanted is None:
            raise _damaged(path) from error
        raise CheckpointError(
            f"checkpoint {path} is refused: loading it would call {wanted[1]}, and only tensors and plain values "
            "are ever loaded"
        ) from error
    except Exception as error:  # a damaged file can raise anything
        raise _damaged(path) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(state).__name__}, expected a dictionary")
    return state


def _damaged(path: Path) -> CheckpointError:
    return CheckpointError(f"checkpoint {path} is damaged, or not a checkpoint of tensors and plain values")


def is_plain(value: Any) -> bool:
    """Return whether a value is one that :func:`load_checkpoint` would load."""
    if isinstance(value, dict):
        return type(value) is dict and all(is_plain(key) and is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return type(value) in (list, tuple) and all(map(is_plain, value))
    return value is None or type(value) in (torch.Tensor, bool, int, float, str)


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


def moved(state: Any, device: torch.device | str) -> Any:
    """Return a copy of nested containers with their tensors on another device."""
    if isinstance(state, torch.Tensor):
        return state.detach().to(device, copy=True)
    if isinstance(state, dict):
        return {key: moved(value, device) for key, value in state.items()}
    if isinstance(state, (list, tuple)):
        return type(state)(moved(value, device) for value in state)
    return state
