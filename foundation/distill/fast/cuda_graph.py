"""Record the steps of a rollout as a CUDA graph: one launch instead of one for every operation of every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

Steps = Callable[[TensorDict], tuple[TensorDict, list[dict[str, Any]]]]
"""Runs a rollout's steps from the first observations; returns the last observations, and each step's extras."""


class RolloutGraph:
    """Runs the steps normally at the first call, records them at the second, and replays them from then on.

    A replay reads and writes the memory that was recorded. So policies' weights and the environment's state must
    keep their addresses, and what is returned is overwritten by the next replay.
    """

    def __init__(self, steps: Steps, storage: RolloutStorage) -> None:
        """Begin without a recording.

        Args:
            steps: The steps, which only queue work on the GPU.
            storage: The storage that they fill, on that GPU.
        """
        self._steps, self._storage = steps, storage
        self._graph: torch.cuda.CUDAGraph | None = None
        self._is_warm = False

    def __call__(self, obs: TensorDict) -> tuple[TensorDict, list[dict[str, Any]]]:
        """Run the steps from observations (N, ...).

        Raises:
            ValueError: If they cannot be recorded.
        """
        if not self._is_warm:
            # Kernels are compiled and libraries initialised at first use, which cannot be recorded.
            self._is_warm = True
            return self._steps(obs)
        if self._graph is None:
            self._record(obs)
        assert self._graph is not None
        self._first.copy_(obs)
        with torch.cuda.device(self._storage.device):
            self._graph.replay()
        self._storage.step = self._storage.num_transitions_per_env
        for extras in self._extras:
            log = extras.get("log")
            if hasattr(log, "invalidate"):
                log.invalidate()  # pyright: ignore
        return self._last.clone(), self._extras

    def _record(self, obs: TensorDict) -> None:
        self._first = obs.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            # The inner stream context restores the current stream even if recording fails.
            with (
                torch.cuda.device(self._storage.device),
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph),
            ):
                self._last, self._extras = self._steps(self._first)
        except RuntimeError as error:
            raise ValueError(
                f"the rollout cannot be recorded as a CUDA graph; set cuda_graph=False: {error}"
            ) from error
        finally:
            # Recording has queued nothing.
            self._storage.step = 0
        self._graph = graph
