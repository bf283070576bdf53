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
        self._first: dict[str, int] = {}
        end = 0
        for name in sorted(example, key=lambda name: -example[name].element_size()):
            values = example[name]
            shape = tuple(values.shape[1:])
            self.fields[name] = values.dtype, shape
            self._first[name] = end // values.element_size()
            end += math.prod(shape) * values.element_size()
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
        out = {}
        for name, (dtype, shape) in self.fields.items():
            first = self._first[name]
            flat = records.view(dtype)[:, first : first + math.prod(shape)]
            out[name] = flat[:, 0] if not shape else flat.unflatten(1, shape) if len(shape) > 1 else flat
        return out

    def description(self) -> dict[str, str]:
        """Return the fields as text, to compare the formats of two histories."""
        return {name: f"{dtype} {list(shape)}" for name, (dtype, shape) in self.fields.items()}
