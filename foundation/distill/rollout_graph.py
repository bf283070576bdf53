"""A rollout's steps as one CUDA graph: the host launches it instead of every operation of every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill.acting import FrozenMlp
from foundation.distill.dagger import DaggerDistillation

Steps = Callable[[TensorDict], tuple[TensorDict, list[dict[str, Any]]]]
"""Runs a rollout's steps from the first observations; returns the last ones, and each step's extras."""


class RolloutGraph:
    """Steps that run as they are the first time, and are recorded the second time and repeated from then on.

    A recording reads and writes the memory that it was made with. So the policies' weights and the environment's
    state have to stay where they are, and what is returned is that of the newest repetition.
    """

    def __init__(self, steps: Steps, storage: RolloutStorage) -> None:
        """Begin with nothing recorded.

        Args:
            steps: The steps, which only queue work on the GPU.
            storage: What they fill, on that GPU.
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
            # Kernels are compiled, and libraries make themselves ready, when they are first used.
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
            if hasattr(log, "renew"):
                log.renew()  # pyright: ignore
        return self._last.clone(), self._extras

    def _record(self, obs: TensorDict) -> None:
        self._first = obs.clone()
        graph = torch.cuda.CUDAGraph()
        try:
            # The stream inside is left for the one before also where recording fails.
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
            # Nothing of it has been run.
            self._storage.step = 0
        self._graph = graph


def check_recordable(env: VecEnv, alg: DaggerDistillation) -> None:
    """Check that rollouts can be recorded.

    Raises:
        ValueError: If not; the message says what is in the way.
    """
    options, aggregation = alg.options, alg.aggregation
    in_the_way = {
        f"the device is {alg.device}": torch.device(alg.device).type == "cpu",
        "use_dagger is off": aggregation is None,
        "the student or the teacher is no plain MLPModel": not (
            FrozenMlp.supports(alg._raw_student) and FrozenMlp.supports(alg._raw_teacher)
        ),
        "torch_compile_mode is set": alg.teacher is not alg._raw_teacher,
        f"teacher_schedule is {alg.schedule.kind}, not two_stage": alg.schedule.kind != "two_stage",
        "disagreement_threshold is set": options.disagreement_threshold is not None,
        "loss_type, latent_matching, episode_filter or several teachers need every step": (
            aggregation is not None and aggregation.needs_every_step
        ),
        f"{type(env).__name__}.capturable is missing or false, as where a dashboard watches the steps": (
            not getattr(env, "capturable", False)
        ),
    }
    reasons = [reason for reason, holds in in_the_way.items() if holds]
    if reasons:
        raise ValueError(f"cuda_graph=True cannot take effect, set it to False: {'; '.join(reasons)}")
