"""Rows as records: all fields of a row side by side, so that reading a row touches one place in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch

_WORD = torch.int64


class RecordFormat:
    """Where each field lies in a record of whole 64-bit words."""

    def __init__(self, example: Mapping[str, torch.Tensor]) -> None:
        """Lay the fields out, the widest numbers first, so that every one is aligned.

        Args:
            example: Tensors of shape (B, …) that give the fields' shapes and dtypes.
        """
        self.fields: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        self._places: list[tuple[str, torch.dtype, int | slice, tuple[int, ...]]] = []
        end = 0
        for name in sorted(example, key=lambda name: (-example[name].element_size(), name)):
            values = example[name]
            shape = tuple(values.shape[1:])
            self.fields[name] = values.dtype, shape
            first = end // values.element_size()
            place = slice(first, first + math.prod(shape)) if shape else first
            self._places.append((name, values.dtype, place, shape))
            end += math.prod(shape) * values.element_size()
        self._dtypes = {dtype for dtype, _ in self.fields.values()}
        self.words = -(-end // _WORD.itemsize)

    @property
    def num_bytes(self) -> int:
        """Size of a record [bytes]."""
        return self.words * _WORD.itemsize

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of a record's words."""
        return _WORD

    def views(self, records: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the fields of records (B, words), each (B, …), sharing their memory."""
        typed = {dtype: records.view(dtype) for dtype in self._dtypes}
        out = {}
        for name, dtype, place, shape in self._places:
            flat = typed[dtype][:, place]
            out[name] = flat if len(shape) < 2 else flat.unflatten(1, shape)
        return out

    def description(self) -> dict[str, str]:
        """Return the fields as text, to compare the formats of two histories."""
        return {name: f"{dtype} {list(shape)}" for name, (dtype, shape) in self.fields.items()}
