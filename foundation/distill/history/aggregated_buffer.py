"""The aggregated history: a row buffer composed of strategies by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tensordict import TensorDict

from foundation.distill.fast_paths import fastest
from foundation.distill.history.buffer import INITIAL_CAPACITY, RowBuffer
from foundation.distill.history.eviction import EVICTIONS
from foundation.distill.history.mapped_storage import MappedStorage
from foundation.distill.history.row_format import RowFormat
from foundation.distill.history.samplers import SAMPLERS
from foundation.distill.history.storage import CHANGED_BYTES, RowStorage
from foundation.distill.tensors import tensors_of

_STRATEGY_OPTIONS: dict[str, Any] = {
    "sampling": "passes",
    "eviction": "fifo",
    "recency_half_life": None,
    "priority_exponent": None,
    "phase_floor": None,
    "use_fast_paths": True,
}


class AggregatedBuffer(RowBuffer):
    """A history composed of strategies by name."""

    def __init__(
        self,
        example: TensorDict,
        max_size: int,
        device: torch.device | str,
        *,
        storage_device: torch.device | str | None = None,
        folder: str | Path | None = None,
        initial_capacity: int = INITIAL_CAPACITY,
        options: Any = None,
        **strategies: Any,
    ) -> None:
        """Allocate the initial capacity, or the maximum if that is less.

        Args:
            example: Rows, shape (B,), that give the fields' shapes and dtypes.
            max_size: Largest number of rows.
            device: Device of the mini-batches.
            storage_device: Device that the rows are stored on; None is ``device``.
            folder: Folder for a history in files instead of memory.
            initial_capacity: Rows that the new buffer has room for.
            options: The :class:`~foundation.distill.DaggerOptions`, which name the strategies.
            **strategies: Instead of ``options``, those that differ from the defaults: ``sampling``, ``eviction``,
                ``recency_half_life``, ``priority_exponent``, ``phase_floor`` and ``use_fast_paths``.

        Raises:
            TypeError: If a strategy's option is unknown.
            ValueError: If ``max_size`` is not positive, or a strategy is unknown.
            MemoryError: If there is no room for the initial capacity.
        """
        if max_size < 1:
            raise ValueError(f"max_buffer_size must be at least 1, got {max_size}")
        if options is not None and strategies:
            raise TypeError(f"AggregatedBuffer takes either options or {sorted(strategies)}, not both")
        if unknown := set(strategies) - set(_STRATEGY_OPTIONS):
            raise TypeError(
                f"AggregatedBuffer got unknown options {sorted(unknown)}; known are {[*_STRATEGY_OPTIONS]}"
            )
        if options is None:
            options = SimpleNamespace(**_STRATEGY_OPTIONS | strategies)
            SAMPLERS.check(options)
            EVICTIONS.check(options)
        row_format, device = RowFormat(tensors_of(example)), torch.device(device)
        if folder is not None:
            storage: RowStorage = MappedStorage(row_format, max_size, Path(folder), device)
        else:
            storage = RowStorage(row_format, max_size, torch.device(storage_device or device), device)
        sampler = fastest(SAMPLERS.find(options.sampling), options.use_fast_paths)
        eviction = EVICTIONS.find(options.eviction)
        where = max_size, storage.storage_device
        super().__init__(storage, sampler(*where, options), eviction(*where, options), initial_capacity)


def row_bytes(fields: Mapping[str, torch.Tensor], eviction: str = "fifo", sampling: str = "passes") -> int:
    """Return the memory of one row with fields like these (B, …), and of its bookkeeping [bytes]."""
    bookkeeping = SAMPLERS.find(sampling).bytes_per_row() + EVICTIONS.find(eviction).bytes_per_row
    return RowFormat(fields).num_bytes + bookkeeping + CHANGED_BYTES
