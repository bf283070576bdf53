"""Keeping NaN and infinity away from one algorithm's weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from tensordict import TensorDict

from foundation.distill.display import announce
from foundation.distill.finite import (
    NonFiniteError,
    all_finite,
    fields_of,
    finite_rows,
    forget_non_finite,
    gradient_norm,
    listed,
    loss_error,
    rollout_error,
)

if TYPE_CHECKING:
    from foundation.distill.dagger import DaggerDistillation


class FiniteGuard:
    """Looks at rollouts before they are trained on, and at gradients before they change the weights."""

    def __init__(self, alg: DaggerDistillation) -> None:
        """Guard an algorithm, whose option ``on_nan`` says what follows.

        Args:
            alg: The algorithm.
        """
        self._alg = alg
        self._iteration = 0
        self.checks_rollouts = True
        """Whether to look at rollouts."""
        self.env_state: Any = None
        """The environment's state before the rollout's first step, where whoever collects it keeps it here."""
        self.met_non_finite = False
        """Whether a rollout has held NaN or infinity, which what is remembered of it may still hold."""

    def check_rollout(self, phases: torch.Tensor) -> None:
        """Look at the rollout in the storage, of which ``phases`` (T, N) says who drove.

        Raises:
            NonFiniteError: If it holds NaN or infinity, and ``on_nan`` is ``raise``.
        """
        alg = self._alg
        # rsl_rl's own update counts its iteration at its beginning.
        self._iteration = alg.iteration
        if not self.checks_rollouts or all_finite(fields := fields_of(alg.storage)):
            return
        if alg.options.on_nan == "raise":
            weights = {
                "student_state_dict": alg._raw_student.state_dict(),
                "teacher_state_dict": alg._raw_teacher.state_dict(),
            }
            raise rollout_error(alg.storage, phases, self._iteration, self.env_state, weights)
        self.met_non_finite = True
        envs = (~finite_rows(fields, 2)).any(0).nonzero()[:, 0]
        announce(f"[DAgger] NaN or infinity in the rollout, environments {listed(envs)}")
        for model in (alg.student, alg.teacher):
            forget_non_finite(model.get_hidden_state())

    def allows_step(self, norm: torch.Tensor, batch: TensorDict | None = None) -> bool:
        """Return whether gradients of this norm may change the weights.

        Raises:
            NonFiniteError: If they may not, and ``on_nan`` is ``raise``.
        """
        if math.isfinite(norm.item()):
            return True
        if self._alg.options.on_nan == "raise":
            raise self._error(batch)
        return False

    def watch_rsl_rls_update(self) -> None:
        """Look at the losses and gradients of rsl_rl's own update, which makes its steps by itself."""
        loss_fn = self._alg.loss_fn

        def checked(actions: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            loss = loss_fn(actions, target)
            # Before the gradient: clipping may turn what belongs to an infinite loss into zero.
            self.allows_step(loss)
            return loss

        def check_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            self.allows_step(gradient_norm(optimizer.param_groups[0]["params"]))

        self._alg.loss_fn = checked
        self._alg.optimizer.register_step_pre_hook(check_gradients)

    def _error(self, batch: TensorDict | None) -> NonFiniteError:
        alg = self._alg
        weights = {"student_state_dict": alg._raw_student.state_dict(), "optimizer": alg.optimizer.state_dict()}
        return loss_error(self._iteration, batch, weights)
