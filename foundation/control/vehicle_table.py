"""What a controller knows of each vehicle, for environments that fly different ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch


class VehicleTable:
    """Named columns of V vehicles, from which each environment reads those of its own."""

    def __init__(self, columns: Mapping[str, np.ndarray], device: torch.device | str, dtype: torch.dtype) -> None:
        """Take over columns by name, each of shape (V, K)."""
        self._widths = {name: values.shape[1] for name, values in columns.items()}
        self._values = torch.as_tensor(np.column_stack(list(columns.values()))).to(device, dtype)

    def __len__(self) -> int:
        return len(self._values)

    def of(self, vehicle: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the columns by name, each of shape (N, K), for rows of the table, integer, shape (N,)."""
        columns = self._values[vehicle.long()].split(list(self._widths.values()), dim=1)
        return dict(zip(self._widths, columns, strict=True))
