"""Collect one rollout: rsl_rl's loop."""

from __future__ import annotations

from typing import Protocol

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.distill.algorithm.distillation import DaggerDistillation
from foundation.distill.algorithm.nan_report import step_error
from foundation.distill.env_state import state_of
from foundation.distill.tensors import all_finite, tensors_of


class RolloutLogger(Protocol):
    """The part of the run's logger that a collector calls."""

    def process_env_step(self, rewards: torch.Tensor, dones: torch.Tensor, extras: dict) -> None:
        """Log one step; see rsl_rl."""
        ...

    def defer_rollout(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        """Log the episodes of a whole rollout, (T, N) each, at the end of the iteration."""
        ...

    def process_rollout(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        """Log the episodes of the steps of a rollout, (T, N) each."""
        ...

    def add_metrics(self, extras: dict) -> None:
        """Log the environment's metrics of one step."""
        ...


class Collector:
    """Fills the algorithm's storage with one rollout, step by step."""

    def __init__(
        self,
        env: VecEnv,
        alg: DaggerDistillation,
        logger: RolloutLogger,
        device: str,
        check_for_nan: bool,
        cuda_graph: bool = False,
    ) -> None:
        """Set up the loop.

        Args:
            env: The environment.
            alg: The algorithm, whose storage is filled.
            logger: Logs rewards, ended episodes and the environment's metrics.
            device: Device of the algorithm.
            check_for_nan: Whether to check every step of the environment for NaN and infinity, in runs whose
                algorithm does not check whole rollouts.
            cuda_graph: Whether to record the steps as a CUDA graph.

        Raises:
            ValueError: If they cannot be recorded.
        """
        self.env, self.alg, self.logger, self.device = env, alg, logger, device
        self._check_steps = check_for_nan and alg.dataset is None
        self.check_recordable(env, alg, cuda_graph)

    @classmethod
    def check_recordable(cls, env: VecEnv, alg: DaggerDistillation, cuda_graph: bool) -> None:
        """Check that rollouts can be recorded as a CUDA graph, if that is wanted.

        Raises:
            ValueError: If not; the message says why.
        """
        if cuda_graph:
            raise ValueError("cuda_graph=True cannot take effect with use_fast_paths=False; set it to False")

    def collect(self, obs: TensorDict) -> TensorDict:
        """Run the environment for one rollout from observations (N, ...), and return the last ones.

        Raises:
            NonFiniteError: If a step returned NaN or infinity.
        """
        with torch.inference_mode():
            self.alg.nan_guard.env_state = state_of(self.env)
            return self.run_steps(obs)

    def run_steps(self, obs: TensorDict) -> TensorDict:
        """Run all steps of a rollout from observations (N, ...), and return the last ones."""
        alg, env, logger = self.alg, self.env, self.logger
        for _ in range(alg.storage.num_transitions_per_env):
            actions = alg.act(obs)
            obs, rewards, dones, extras = env.step(actions.to(env.device))
            if self._check_steps:
                self._check_step(obs, rewards)
            obs, rewards, dones = obs.to(self.device), rewards.to(self.device), dones.to(self.device)
            alg.process_env_step(obs, rewards, dones, extras)
            logger.process_env_step(rewards, dones, extras)
        return obs

    def _check_step(self, obs: TensorDict, rewards: torch.Tensor) -> None:
        read = self.alg.storage.observations.keys()
        fields = {f"observations/{name}": values for name, values in tensors_of(obs).items() if name in read}
        fields["rewards"] = rewards
        if not all_finite(fields):
            raise step_error(fields, self.alg.storage.step)
