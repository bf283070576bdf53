"""Read scalars that were computed on the training's device."""

from __future__ import annotations

from typing import Any

import torch


class ScalarReader:
    """Returns scalars as floats."""

    def __init__(self, alg: Any) -> None:
        """Read scalars for an algorithm."""
        self.alg = alg

    def read(self, **scalars: torch.Tensor | float) -> dict[str, float]:
        """Return scalars as floats, by name."""
        return {name: float(value) for name, value in scalars.items()}
