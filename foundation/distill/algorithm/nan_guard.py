"""Keep non-finite values away from the student's weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from tensordict import TensorDict

from foundation.distill.algorithm.nan_report import (
    NonFiniteError,
    fields_of,
    listed,
    loss_error,
    rollout_error,
    zero_non_finite,
)
from foundation.distill.log import logger
from foundation.distill.tensors import all_finite, finite_rows

if TYPE_CHECKING:
    from foundation.distill.algorithm.resumable import ResumableDistillation


class NanGuard:
    """Checks rollouts before they are trained on, and gradients before they change the weights."""

    def __init__(self, alg: ResumableDistillation) -> None:
        """Guard an algorithm; its option ``on_nan`` chooses the reaction.

        Args:
            alg: The algorithm.
        """
        self.alg = alg
        self.iteration = 0
        """The iteration under way."""
        self.checks_rollouts = True
        """Whether rollouts are checked."""
        self.env_state: Any = None
        """The environment's state before the rollout's first step, if the runner records it here."""
        self.met_non_finite = False
        """Whether a rollout has had non-finite values; hidden states and rows held back may still have some."""

    def check_rollout(self, phases: torch.Tensor) -> None:
        """Check the rollout in the storage.

        Args:
            phases: Phase of every transition, (T, N).

        Raises:
            NonFiniteError: If it has non-finite values, and ``on_nan`` is ``raise``.
        """
        alg = self.alg
        # Keep the number: rsl_rl's own update increments the count when it begins.
        self.iteration = alg.iteration
        if not self.checks_rollouts or all_finite(fields := fields_of(alg.storage)):
            return
        if alg.options.on_nan == "raise":
            raise self.rollout_error(phases)
        self.met_non_finite = True
        envs = (~finite_rows(fields, 2)).any(0).nonzero()[:, 0]
        logger.warning(f"[DAgger] NaN or infinity in the rollout, environments {listed(envs)}")
        for model in (alg.student, alg.teacher):
            zero_non_finite(model.get_hidden_state())

    def allows_step(self, norm: torch.Tensor, batch: TensorDict | None = None) -> bool:
        """Return whether gradients of this norm may change the weights.

        Raises:
            NonFiniteError: If they may not, and ``on_nan`` is ``raise``.
        """
        if math.isfinite(norm.item()):
            return True
        if self.alg.options.on_nan == "raise":
            raise self.loss_error(batch)
        return False

    @property
    def history_is_finite(self) -> bool:
        """Whether the history may be saved; always, where rollouts are checked before they are appended."""
        return True

    def rollout_error(self, phases: torch.Tensor) -> NonFiniteError:
        """Return the error for the rollout in the storage."""
        alg = self.alg
        weights = {
            "student_state_dict": alg.student_model.state_dict(),
            "teacher_state_dict": alg.teacher_model.state_dict(),
        }
        return rollout_error(alg.storage, phases, self.iteration, self.env_state, weights)

    def loss_error(self, batch: TensorDict | None) -> NonFiniteError:
        """Return the error for the gradients of a mini-batch."""
        alg = self.alg
        weights = {"student_state_dict": alg.student_model.state_dict(), "optimizer": alg.optimizer.state_dict()}
        return loss_error(self.iteration, batch, weights)
