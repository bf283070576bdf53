"""The rows of a history, cut from a recording."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from tensordict import TensorDict

from foundation.distill.datasets.recording import BEGINS_ROW, HIDDEN, Recording
from foundation.distill.history.origins import ORIGIN, as_field
from foundation.distill.history.rows import LOSS_MASK

Fields = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]
"""Dtype and shape of the fields of a row, by name."""


class RowShape(NamedTuple):
    """What the rows of a history look like."""

    fields: Fields
    """Dtype and shape of each field."""
    length: int
    """Steps of a row that count."""
    burn_in: int
    """Steps of a row before them."""

    @property
    def is_window(self) -> bool:
        """Whether rows are windows of a recurrent student."""
        return len(self.fields["dones"][1]) > 0

    def per_step(self) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
        """Return dtype and shape of what a recording has to hold of each step, by name."""
        skip = 1 if self.is_window else 0
        return {
            name: (dtype, shape[skip:])
            for name, (dtype, shape) in self.fields.items()
            if name not in (ORIGIN, LOSS_MASK) and not name.startswith(HIDDEN)
        }


def rows_of(recording: Recording, shape: RowShape) -> TensorDict:
    """Return the rows of a recording, oldest first, and of the fields those that the history stores.

    Windows are those that were recorded if they are of the same length and burn-in, with their hidden states. Else
    they are cut from the consecutive steps of each rollout, and their hidden states are zeros.
    """
    trained = recording.fields.get(LOSS_MASK, np.ones(len(recording), bool))
    if not shape.is_window:
        index = np.flatnonzero(trained)
        index = index[np.argsort(recording.numbers[index], kind="stable")]
        fields = {name: recording.fields[name][index] for name in shape.per_step()}
        if LOSS_MASK in shape.fields:
            fields[LOSS_MASK] = trained[index]
        return _tensors(fields, recording.numbers[index])
    starts = _starts(recording, shape)
    offsets = np.arange(-shape.burn_in, shape.length)
    index = starts[:, None] + offsets
    inside = index.clip(0, len(recording) - 1)
    before = recording.stretches[inside] == recording.stretches[starts][:, None]
    counted = recording.blocks[inside] == recording.blocks[starts][:, None]
    there = (index == inside) & np.where(offsets < 0, before, counted)
    mask = there & (offsets >= 0) & trained[inside]
    kept = mask.any(1)
    starts, inside, there, mask = starts[kept], inside[kept], there[kept], mask[kept]
    fields = {}
    for name in shape.per_step():
        values = recording.fields[name][inside]
        values[~there] = 0
        fields[name] = values
    # What precedes the first step is another episode.
    missing = (~there[:, : shape.burn_in]).sum(1)
    rows = np.flatnonzero(missing)
    fields["dones"][rows, missing[rows] - 1] = True
    fields[LOSS_MASK] = mask
    for name, (_, size) in shape.fields.items():
        if name.startswith(HIDDEN):
            known = has_hidden(recording, shape)
            fields[name] = recording.hidden[name][starts] if known else np.zeros((len(starts), *size), np.float32)
    return _tensors(fields, recording.numbers[starts])


def has_hidden(recording: Recording, shape: RowShape) -> bool:
    """Return whether a recording has the windows of a history, with the hidden states at their first steps."""
    sizes = {name: size for name, (_, size) in shape.fields.items() if name.startswith(HIDDEN)}
    recorded = {name: values.shape[1:] for name, values in recording.hidden.items()}
    return _same_windows(recording, shape) and sizes == recorded


def _same_windows(recording: Recording, shape: RowShape) -> bool:
    return bool(recording.hidden) and (recording.length, recording.burn_in) == (shape.length, shape.burn_in)


def _starts(recording: Recording, shape: RowShape) -> np.ndarray:
    """Return the first steps that count of all windows, (B,), oldest first."""
    if _same_windows(recording, shape):
        starts = np.flatnonzero(recording.roles == BEGINS_ROW)
    else:
        begins = np.flatnonzero(np.diff(recording.blocks, prepend=0))
        place = np.arange(len(recording)) - begins[recording.blocks - 1]
        starts = np.flatnonzero(place % shape.length == 0)
    return starts[np.argsort(recording.numbers[starts], kind="stable")]


def _tensors(fields: dict[str, np.ndarray], numbers: np.ndarray) -> TensorDict:
    tensors = {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in fields.items()}
    tensors[ORIGIN] = as_field(torch.from_numpy(numbers))
    return TensorDict(tensors, batch_size=[len(numbers)])  # pyright: ignore
