"""The metrics that an environment gives to rsl_rl's logger, and ours among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def copy_metrics(extras: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the metrics of one step under the key at which rsl_rl's logger reads them.

    They are copied: the logger reads them when the iteration ends, and the environment may overwrite its own until
    then. A mapping other than a dictionary stays as it is: it may compute its values when they are read.
    """
    # rsl_rl logs one of the two, the first that is there.
    key = "episode" if "episode" in extras else "log"
    metrics = extras.get(key, {})
    if isinstance(metrics, dict):
        metrics = {
            name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in metrics.items()
        }
    return {key: metrics}


class AddedMetrics:
    """Metrics among those of the environment, from a step's end to the beginning of the next one.

    Later the environment's ``extras`` are as they were: it may keep them, and write into them.
    """

    def __init__(self) -> None:
        """Begin without any."""
        self._replaced: tuple[dict[str, Any], str, Any] | None = None

    def add(self, extras: dict[str, Any], metrics: Mapping[str, Any]) -> None:
        """Let the logger find metrics beside those of the environment."""
        for key, values in copy_metrics(extras).items():
            self._replaced = extras, key, extras.get(key)
            extras[key] = {**values, **metrics}

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
