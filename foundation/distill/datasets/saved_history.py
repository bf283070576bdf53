"""The history in a checkpoint, read from its files alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.loading import load_checkpoint
from foundation.distill.checkpoint.manifest import Manifest, Shard, manifest_path
from foundation.distill.datasets.layout import as_bounds
from foundation.distill.datasets.recording import Recording, recorded
from foundation.distill.history.dealing import records_of
from foundation.distill.history.history_log import saved_rows
from foundation.distill.history.older_rows import with_origins
from foundation.distill.history.row_format import RowFormat
from foundation.distill.history.rows import LOSS_MASK


def saved_history(checkpoint: Path) -> Recording:
    """Return the history of a checkpoint as steps in order, those of several processes one after the other.

    Raises:
        CheckpointError: If the checkpoint is damaged, or holds no history.
    """
    parts = [_of_process(checkpoint, shard) for shard in _manifest_of(checkpoint).of_ranks]
    return joined([part for part in parts if part is not None], checkpoint)


def _of_process(checkpoint: Path, shard: Shard) -> Recording | None:
    """Return what one process of the run has saved; None if it is empty."""
    run_dir = checkpoint.parent
    state = load_checkpoint(run_dir / shard.state).get("algorithm")
    aggregation = None if state is None else state["aggregation"]
    if aggregation is None:
        kind = "a PPO run" if state is None else "a run with use_dagger=False"
        raise CheckpointError(f"checkpoint {checkpoint} is of {kind}, which keeps no history")
    if aggregation["history"]["size"] == 0:
        return None
    parts = list(saved_rows(run_dir, shard.segments))
    if "origins" in aggregation:
        origins, burn_in = aggregation["origins"], aggregation["origins"]["burn_in"]
    else:
        burn_in = _burn_in(aggregation["history"], parts)
        aggregation, converted = with_origins(aggregation, parts, burn_in)
        origins, parts = aggregation["origins"], list(converted or ())
    layout = RowFormat.of_description(aggregation["history"]["fields"])
    origins = {name: origins[name] for name in ("spans", "next", "continues")}
    rows = layout.views(records_of(aggregation["history"]["size"], layout, parts))
    recording = recorded(rows, origins, burn_in)
    recording.bounds = as_bounds(None if state is None else state.get("action_range"))
    return recording


def joined(recordings: list[Recording], checkpoint: Path) -> Recording:
    """Return the recordings of several processes as one; their transitions are numbered one after the other.

    Raises:
        CheckpointError: If there is none.
    """
    if not recordings:
        raise CheckpointError(f"the history of checkpoint {checkpoint} is empty: no episode has been let through")
    if len(recordings) == 1:
        return recordings[0]
    numbers, spans, end = [], [], 0
    for one in recordings:
        # One number is left out: no process continues the steps of another one.
        offset = end + 1
        numbers.append(one.numbers + offset)
        shifted = one.origins["spans"].clone()
        shifted[:, :2] += offset
        spans.append(shifted)
        end = offset + one.origins["next"]
    first = recordings[0]
    return Recording(
        {name: np.concatenate([one.fields[name] for one in recordings]) for name in first.fields},
        np.concatenate(numbers),
        np.concatenate([one.roles for one in recordings]),
        {name: np.concatenate([one.hidden[name] for one in recordings]) for name in first.hidden},
        {"spans": torch.cat(spans), "next": end, "continues": False},
        first.length,
        first.burn_in,
        first.bounds,
    )


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
