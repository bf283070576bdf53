"""Load checkpoints without running code from the file."""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.manifest import digest_beside
from foundation.distill.checkpoint.plain_values import ALLOWED

_LFS = b"version https://git-lfs"


def load_checkpoint(path: str | Path, map_location: str | torch.device | None = "cpu") -> dict[str, Any]:
    """Return a checkpoint's contents: tensors, plain values, numbers of NumPy, and paths.

    A file with a manifest beside it is compared with the manifest before it is read.

    Raises:
        CheckpointError: If the file is missing, damaged, or would run code when loaded.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path} does not exist; give the path of a .pt file")
    if is_policy_file(path):
        raise CheckpointError(
            f"checkpoint {path} is an exported policy, which can only be a teacher to train from "
            "(teacher_checkpoint); to fly or to continue it, give the checkpoint of its run"
        )
    digest = digest_beside(path)
    if digest is not None and (wrong := digest.difference(path)) is not None:
        raise CheckpointError(
            f"checkpoint {path} is damaged: {wrong}; use an older one, as --resume does by itself"
        )
    try:
        with torch.serialization.safe_globals(ALLOWED):
            state = torch.load(path, weights_only=True, map_location=map_location)
    except pickle.UnpicklingError as error:
        wanted = re.search(r"GLOBAL (\S+)|<class '([^']+)'>", str(error))
        if wanted is None:
            raise _damaged(path) from error
        raise CheckpointError(
            f"checkpoint {path} is refused: loading it would call {wanted[1] or wanted[2]}, and only tensors and "
            f"plain values are ever loaded; if you trust its author, save it without: {_resave(path)}"
        ) from error
    except Exception as error:  # a damaged file can raise anything
        raise _damaged(path) from error
    if not isinstance(state, dict):
        raise CheckpointError(f"checkpoint {path} holds a {type(state).__name__}, expected a dictionary")
    return state


def _damaged(path: Path) -> CheckpointError:
    with open(path, "rb") as file:
        if file.read(len(_LFS)) == _LFS:
            return CheckpointError(
                f"checkpoint {path} is a pointer of Git LFS instead of the file itself; run git lfs pull"
            )
    return CheckpointError(f"checkpoint {path} is damaged, or not a checkpoint of tensors and plain values")


def expanded(checkpoint: str | Path | Sequence[str | Path]) -> str | list[str]:
    """Return the path of one or several checkpoints with ``~`` as the user's home."""
    if isinstance(checkpoint, (str, Path)):
        return os.path.expanduser(checkpoint)
    return [os.path.expanduser(path) for path in checkpoint]


def missing_file(checkpoint: str | Path | Sequence[str | Path]) -> str | None:
    """Return the first of one or several checkpoints that does not exist; None if all do.

    Raises:
        CheckpointError: If one is a folder.
    """
    paths = [checkpoint] if isinstance(checkpoint, (str, Path)) else checkpoint
    for path in paths:
        if Path(path).is_dir():
            raise CheckpointError(f"teacher_checkpoint {path} is a folder; name a checkpoint in it")
    return next((str(path) for path in paths if not Path(path).is_file()), None)


def is_policy_file(path: str | Path) -> bool:
    """Return whether a file is an exported policy: ONNX, by its name, or TorchScript, by its contents."""
    return Path(path).suffix == ".onnx" or (Path(path).is_file() and is_torchscript(path))


def is_torchscript(file: Any) -> bool:
    """Return whether a path or an open file is a TorchScript archive."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any("/code/" in name for name in archive.namelist())
    except Exception:  # a damaged archive can raise anything
        return False


def _resave(path: Path) -> str:
    """Return a command that saves a checkpoint's weights and iteration, and nothing else, to a new file."""
    old, new = str(path), str(path.with_name(f"{path.stem}_plain.pt"))
    kept = "{k: v for k, v in s.items() if k.endswith('state_dict') or k == 'iter'} | {'infos': None}"
    load = f"s = torch.load({old!r}, weights_only=False)"
    return f'python -c "import torch; {load}; torch.save({kept}, {new!r})"'
