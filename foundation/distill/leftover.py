"""The steps of a rollout for which rsl_rl's own update never makes a gradient step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage

from foundation.distill.checkpoint import moved


class LeftoverSteps:
    """A rollout's last steps, which rsl_rl leaves untrained where ``gradient_length`` does not divide all."""

    def __init__(self, student: MLPModel, storage: RolloutStorage, count: int) -> None:
        """Set which steps are left over.

        Args:
            student: The student, recurrent or not.
            storage: Storage of one rollout.
            count: Number of steps left over; more than a rollout's are those of the whole rollout.
        """
        self._student, self._storage = student, storage
        self._first = max(0, storage.num_transitions_per_env - count)
        self._hidden = None

    def before_step(self) -> None:
        """Record the hidden state that the left-over steps begin with."""
        if self._storage.step == self._first:
            self._hidden = moved(self._student.get_hidden_state(), self._storage.device)

    def loss(self, loss_fn: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return the sum of their losses, as rsl_rl accumulates it; the hidden state stays as it was."""
        student, storage = self._student, self._storage
        before = student.get_hidden_state()
        # Recorded in inference mode, so only a copy can be trained on.
        student.reset(hidden_state=moved(self._hidden, storage.device))
        total = torch.zeros((), device=storage.device)
        for step in range(self._first, storage.num_transitions_per_env):
            actions = student(storage.observations[step])
            total = total + loss_fn(actions, storage.privileged_actions[step])
            dones = storage.dones[step].view(-1)
            student.reset(dones)
            student.detach_hidden_state(dones)
        student.reset(hidden_state=before)
        return total
