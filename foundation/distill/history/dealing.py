"""A history that several processes have saved, dealt out to another number of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tensordict import TensorDict

from foundation.distill.history.dataset import AggregatedDataset
from foundation.distill.history.older_rows import with_origins
from foundation.distill.history.origins import ORIGIN, as_field, isolated
from foundation.distill.history.row_format import Parts, RowFormat
from foundation.distill.tensors import moved


def deal(
    dataset: AggregatedDataset, shards: Sequence[tuple[dict[str, Any], Parts]], rank: int, num_ranks: int
) -> None:
    """Take one rank's share of a saved history into an empty one; where its rows came from is forgotten.

    Args:
        dataset: The empty dataset of the rank.
        shards: Of each process that saved, the state of its dataset without rows, and the rows.
        rank: Number of the rank.
        num_ranks: Ranks among which every row goes to one.

    Raises:
        ValueError: If the rows have other fields, or do not fit.
    """
    layout, buffer = dataset.layout, dataset.buffer
    total = sum(state["history"]["size"] for state, _ in shards)
    share, each = -(-total // num_ranks), layout.transitions_per_row
    if share > buffer.max_size:
        raise ValueError(
            f"the saved history has {total * each} transitions, {share * each} for each of {num_ranks} ranks: set "
            f"max_buffer_size to at least {share * each}, got {buffer.max_size * each}"
        )
    width, first = layout.transitions_per_row + layout.burn_in, 0
    for state, parts in shards:
        if "origins" not in state:
            state, parts = with_origins(state, parts, layout.burn_in)
        buffer.storage.check_fields(state["history"]["fields"])
        size, row_format = state["history"]["size"], buffer.storage.format
        own = records_of(size, row_format, parts or ())[(rank - first) % num_ranks :: num_ranks]
        first += size
        if len(own):
            rows = TensorDict(moved(row_format.views(own), buffer.device), batch_size=[len(own)])
            slots = torch.arange(len(buffer), len(buffer) + len(own))
            rows[ORIGIN] = as_field(isolated(slots, width, layout.burn_in)).to(buffer.device)
            buffer.append(rows)
    dataset.origins.forget(len(buffer), width)


def records_of(size: int, row_format: RowFormat, parts: Parts) -> torch.Tensor:
    """Return the records (size, words) of saved rows."""
    records = torch.empty(size, row_format.words, dtype=row_format.dtype)
    for slots, part in parts:
        records[slots] = part
    return records
