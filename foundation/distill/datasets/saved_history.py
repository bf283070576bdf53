"""The history in a checkpoint, read from its files alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch

from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.loading import load_checkpoint
from foundation.distill.checkpoint.manifest import Manifest, manifest_path
from foundation.distill.datasets.recording import Recording, recorded
from foundation.distill.history.history_log import saved_rows
from foundation.distill.history.older_rows import with_origins
from foundation.distill.history.row_format import RowFormat
from foundation.distill.history.rows import LOSS_MASK


def saved_history(checkpoint: Path) -> Recording:
    """Return the history of a checkpoint as steps in order.

    Raises:
        CheckpointError: If the checkpoint is damaged, or holds no history.
    """
    run_dir, manifest = checkpoint.parent, _manifest_of(checkpoint)
    state = load_checkpoint(run_dir / str(manifest.state)).get("algorithm")
    aggregation = None if state is None else state["aggregation"]
    if aggregation is None:
        kind = "a PPO run" if state is None else "a run with use_dagger=False"
        raise CheckpointError(f"checkpoint {checkpoint} is of {kind}, which keeps no history")
    size = aggregation["history"]["size"]
    if size == 0:
        raise CheckpointError(f"the history of checkpoint {checkpoint} is empty: no episode has been let through")
    parts = list(saved_rows(run_dir, manifest.segments))
    if "origins" in aggregation:
        origins, burn_in = aggregation["origins"], aggregation["origins"]["burn_in"]
    else:
        burn_in = _burn_in(aggregation["history"], parts)
        aggregation, converted = with_origins(aggregation, parts, burn_in)
        origins, parts = aggregation["origins"], list(converted or ())
    layout = RowFormat.of_description(aggregation["history"]["fields"])
    records = torch.empty(size, layout.words, dtype=layout.dtype)
    for slots, part in parts:
        records[slots] = part
    origins = {name: origins[name] for name in ("spans", "next", "continues")}
    return recorded(layout.views(records), origins, burn_in)


def _manifest_of(checkpoint: Path) -> Manifest:
    path = manifest_path(checkpoint)
    manifest = Manifest.read(path) if path.is_file() else Manifest()
    try:
        manifest.verify(checkpoint.parent)
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {checkpoint} is damaged: {error}; give an older one") from error
    if manifest.state is None:
        raise CheckpointError(
            f"checkpoint {checkpoint} holds weights only: a run keeps the history in its newest numbered "
            "checkpoints (keep_last), under foundation.distill:DaggerRunner; give the run's folder"
        )
    return manifest


def _burn_in(history: dict[str, Any], parts: list[tuple[torch.Tensor, torch.Tensor]]) -> int:
    """Return the burn-in of windows that were saved without it: the steps that count in no row."""
    layout = RowFormat.of_description(history["fields"])
    width = math.prod(layout.fields["dones"][1])
    if LOSS_MASK not in layout.fields or not layout.fields["dones"][1]:
        return 0
    counts = torch.zeros(width, dtype=torch.bool)
    for _, records in parts:
        counts |= layout.views(records)[LOSS_MASK].any(0)
    return int(counts.to(torch.uint8).argmax())
