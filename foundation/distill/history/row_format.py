"""Rows as records: all fields of a row side by side, so that gathering a row reads one place in memory.

A mini-batch is thousands of rows from random places of a history that no cache holds. With one tensor per field,
each row would cost a cache miss in every field; as a record it costs one or two. Fields are laid out as a C
compiler would lay out a struct: the widest numbers first, so that each is aligned, and records padded to whole
64-bit words. A history is then a single tensor of words, shape (slots, words), that can be gathered, saved and
mapped into files without knowing its fields; :meth:`RowFormat.views` gives the fields back without copying.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np
import torch

_WORD = torch.int64

Parts = Iterable[tuple[torch.Tensor, torch.Tensor]]
"""Slots (B,) and records (B, words) of saved rows, later ones replacing earlier ones."""


class RowFormat:
    """The layout of a row's fields in a record of whole 64-bit words."""

    def __init__(self, example: Mapping[str, torch.Tensor]) -> None:
        """Lay out the fields, the widest numbers first, so that each is aligned.

        Args:
            example: Tensors of shape (B, …) that give the fields' shapes and dtypes.
        """
        self.fields: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
        self._places: list[tuple[str, torch.dtype, tuple[int, ...], tuple[int, ...], int]] = []
        offsets: list[int] = []
        end = 0
        for name in sorted(example, key=lambda name: (-example[name].element_size(), name)):
            values = example[name]
            shape = tuple(values.shape[1:])
            self.fields[name] = values.dtype, shape
            inner = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
            self._places.append((name, values.dtype, shape, inner, end // values.element_size()))
            offsets.append(end)
            end += math.prod(shape) * values.element_size()
        self._dtypes = {dtype for dtype, _ in self.fields.values()}
        self.words = -(-end // _WORD.itemsize)
        sizes = [after - first for first, after in zip(offsets, [*offsets[1:], end], strict=True)]
        self.structure = np.dtype(
            {
                "names": [place[0] for place in self._places],
                "formats": [f"V{size}" for size in sizes],
                "offsets": offsets,
                "itemsize": self.num_bytes,
            }
        )
        """The record as a NumPy dtype, each field as raw bytes."""

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
        count, out = records.shape[0], {}
        typed = {}
        for dtype in self._dtypes:
            values = records.view(dtype)
            typed[dtype] = values, values.stride(0), values.storage_offset()
        for name, dtype, shape, inner, first in self._places:
            values, stride, offset = typed[dtype]
            # One call instead of slicing and reshaping: this runs for every field of every mini-batch.
            out[name] = values.as_strided((count, *shape), (stride, *inner), offset + first)
        return out

    def structured(self, records: torch.Tensor) -> np.ndarray:
        """Return records (B, words) in host memory as an array (B,) of :attr:`structure`, sharing their memory."""
        return records.numpy().view(self.structure)[:, 0]

    def as_bytes(self, name: str, values: torch.Tensor) -> np.ndarray:
        """Return one field's values (B, ...) as raw bytes, in the dtype of :meth:`structured`, shape (B,)."""
        dtype, shape = self.fields[name]
        if values.dtype != dtype or values.device.type != "cpu":
            values = values.to("cpu", dtype)
        size = math.prod(shape)
        if size == 0:
            return np.zeros(len(values), self.structure[name])
        # A contiguous tensor with a single element may have any stride, and view(uint8) needs a stride of 1.
        flat = values.detach().contiguous().as_strided((values.shape[0], size), (size, 1))
        return flat.view(torch.uint8).numpy().view(self.structure[name])[:, 0]

    def description(self) -> dict[str, str]:
        """Return each field's dtype and shape as text, to compare the formats of two histories."""
        return {name: f"{dtype} {list(shape)}" for name, (dtype, shape) in self.fields.items()}

    @staticmethod
    def of_description(description: Mapping[str, str]) -> RowFormat:
        """Return the format with a :meth:`description`.

        Raises:
            ValueError: If the text is none.
        """
        example = {}
        for name, text in description.items():
            found = re.fullmatch(r"torch\.(\w+) \[([\d, ]*)\]", text)
            dtype = None if found is None else getattr(torch, found[1], None)
            if found is None or not isinstance(dtype, torch.dtype):
                raise ValueError(f"field {name!r} of the saved history is of no known type: {text!r}")
            example[name] = torch.empty(1, *map(int, filter(None, found[2].split(", "))), dtype=dtype)
        return RowFormat(example)
