"""Load checkpoints without running code from the file."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import torch

from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.manifest import digest_beside


def load_checkpoint(path: str | Path, map_location: str | torch.device | None = "cpu") -> dict[str, Any]:
    """Return a checkpoint's contents: tensors and plain Python values only.

    A file with a manifest beside it is compared with the manifest before it is read.

    Raises:
        CheckpointError: If the file is missing, damaged, or would run code when loaded.
    """
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
