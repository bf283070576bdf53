"""Store each part of an environment step before the environment can overwrite it.

Many simulators return the same tensors from every step. So observations and actions are copied into rsl_rl's
storage before the environment steps; rsl_rl's ``add_transition`` copies them afterwards.
"""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill.algorithm.label_range import LabelRange
from foundation.distill.observations import prepare_storage


class StepRecorder:
    """Fills a rollout's storage, part by part."""

    def __init__(self, storage: RolloutStorage, models: list[Any], label_range: LabelRange) -> None:
        """Prepare the storage for the groups that the models read.

        Args:
            storage: rsl_rl's storage of one rollout.
            models: All policies.
            label_range: Clips the teacher's actions.

        Raises:
            ValueError: If an observation group's numbers cannot become float32.
        """
        prepare_storage(storage, models)
        self._storage, self._label_range = storage, label_range
        self._observations = storage.observations.unbind(0)

    def record_observations(self, obs: TensorDict) -> TensorDict:
        """Store observations (N, ...), and return them as stored, for the policies to read."""
        stored = self._observations[self._storage.step]
        for name, values in stored.items():
            values.copy_(obs[name])
        return stored

    def record_student_actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Store the student's actions (N, A), and return them as stored."""
        return self._storage.actions[self._storage.step].copy_(actions)

    def record_teacher_actions(self, actions: torch.Tensor) -> torch.Tensor:
        """Store the teacher's actions (N, A) as labels, and return them as stored."""
        return self._label_range.clip_(self._storage.privileged_actions[self._storage.step].copy_(actions))

    def finish_step(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        """Store rewards and done flags, (N,) or (N, 1), and go on to the next step."""
        storage = self._storage
        storage.rewards[storage.step].copy_(rewards.reshape(-1, 1))
        storage.dones[storage.step].copy_(dones.reshape(-1, 1))
        storage.step += 1
