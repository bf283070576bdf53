"""The metrics that an environment gives to rsl_rl's logger, and ours among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def copy_metrics(extras: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the metrics of one step under the key at which rsl_rl's logger reads them; empty if there are none.

    They are copied: the logger reads them when the iteration ends, and the environment may overwrite its own until
    then. A mapping other than a dictionary stays as it is: it may compute its values when they are read.
    """
    # rsl_rl logs one of the two, the first that is there.
    key = "episode" if "episode" in extras else "log"
    if key not in extras:
        return {}
    metrics = extras[key]
    if isinstance(metrics, dict):
        metrics = {
            name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in metrics.items()
        }
    return {key: metrics}


class IterationMetrics:
    """An iteration's metrics, among those of the environment from a step's end to the beginning of the next one.

    Then the environment's ``extras`` are again as they were: it may keep them, and write into them.
    """

    def __init__(self, names: list[str]) -> None:
        """Begin with zeros.

        Args:
            names: Names of the metrics, without ``Distillation/``.
        """
        # The logger reads them at the end of an iteration, after the update has written them.
        self._values = {f"Distillation/{name}": torch.zeros(1) for name in names}
        self._replaced: tuple[dict[str, Any], str, Any] | None = None

    def set(self, name: str, value: float) -> None:
        """Set a metric of the iteration under way."""
        self._values[f"Distillation/{name}"].fill_(value)

    def add(self, extras: dict[str, Any], phase: int) -> None:
        """Let the logger find the metrics, and the phase, beside those of the environment."""
        [(key, values)] = (copy_metrics(extras) or {"log": {}}).items()
        self._replaced = extras, key, extras.get(key)
        extras[key] = {**values, "Distillation/training_phase": float(phase), **self._values}

    def remove(self) -> None:
        """Restore the environment's ``extras``."""
        if self._replaced is None:
            return
        extras, key, own = self._replaced
        self._replaced = None
        if own is None:
            extras.pop(key, None)
        else:
            extras[key] = own
