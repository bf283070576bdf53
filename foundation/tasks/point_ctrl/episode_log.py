"""Metrics, for the logger, of the episodes that ended in a step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch

from foundation.tasks.point_ctrl.layout import Finished


def episode_metrics(finished: np.ndarray) -> dict[str, torch.Tensor]:
    """Return the metrics, by name, of K > 0 finished episodes.

    Args:
        finished: A row per episode with the columns of ``FINISHED``, shape (K, 7).
    """
    columns = torch.from_numpy(finished).unbind(dim=1)
    survived, settled = columns[Finished.SURVIVED], columns[Finished.SETTLED]
    log = {
        "Episode/return": columns[Finished.RETURN],
        "Episode/survival": survived,
        "Episode/settled": settled,
        "Episode/command_rate": columns[Finished.COMMAND_RATE],
    }
    if np.count_nonzero(finished[:, Finished.SURVIVED]):
        log["Episode/position_rmse_m"] = columns[Finished.POSITION_RMSE][survived > 0.0]
    if np.count_nonzero(finished[:, Finished.SETTLED]):
        log["Episode/settle_time_s"] = columns[Finished.SETTLE_TIME][settled > 0.0]
    return log


class DeferredEpisodeLog(Mapping):
    """Metrics of a step on a GPU, computed when they are first read, so that the step does not synchronise."""

    def __init__(self, finished: torch.Tensor, done: torch.Tensor) -> None:
        """Keep the tensors that the metrics are computed from; they must not change.

        Args:
            finished: Metrics of each environment's last finished episode, shape (N, 7).
            done: Where an episode ended in this step, int64, shape (N,).
        """
        self._parts = finished, done
        self._metrics: dict[str, torch.Tensor] | None = None

    def invalidate(self) -> None:
        """Discard the computed metrics: a CUDA graph has been launched again and has changed the tensors."""
        self._metrics = None

    def _read(self) -> dict[str, torch.Tensor]:
        if self._metrics is None:
            finished, done = self._parts
            ended = finished[done > 0].cpu().numpy()
            self._metrics = episode_metrics(ended) if len(ended) else {}
        return self._metrics

    def __getitem__(self, name: str) -> torch.Tensor:
        """Return a metric of the episodes that ended."""
        return self._read()[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the metrics."""
        return iter(self._read())

    def __len__(self) -> int:
        """Return the number of metrics: 0 where no episode ended."""
        return len(self._read())
