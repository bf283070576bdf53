"""Keeping NaN and infinity away from one algorithm's weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from tensordict import TensorDict

from foundation.distill.display import announce
from foundation.distill.finite import (
    NonFiniteError,
    all_finite,
    fields_of,
    finite_rows,
    finite_yet,
    forget_non_finite,
    gradient_norm,
    listed,
    loss_error,
    rollout_error,
)

if TYPE_CHECKING:
    from foundation.distill.dagger import DaggerDistillation


class FiniteGuard:
    """Looks at rollouts before they are trained on, and at gradients before they change the weights.

    A GPU would have to be waited for at each look. There the optimiser is told, in a number that stays on the GPU,
    whether to make a step, and the host learns when the update ends whether all was well; see :attr:`defers`.
    """

    def __init__(self, alg: DaggerDistillation) -> None:
        """Guard an algorithm, whose option ``on_nan`` says what follows.

        Args:
            alg: The algorithm.
        """
        self._alg = alg
        self._iteration = 0
        self.defers = torch.device(alg.device).type != "cpu" and self._can_defer()
        """Whether NaN and infinity are told of when the update ends: the weights are as if it had been at once."""
        self._all_well = torch.ones((), device=alg.device)
        self._steps_made = torch.zeros((), device=alg.device)
        self._drawn: list[torch.Tensor] = []
        self._student_before: dict[str, torch.Tensor] = {}
        self._phases: torch.Tensor | None = None
        self._is_settled = True
        self.checks_rollouts = True
        """Whether to look at rollouts."""
        self.env_state: Any = None
        """The environment's state before the rollout's first step, where whoever collects it keeps it here."""
        self.met_non_finite = False
        """Whether a rollout has held NaN or infinity, which what is remembered of it may still hold."""

    def _can_defer(self) -> bool:
        options, optimizer = self._alg.options, self._alg.optimizer
        # Rows can be left out only by knowing which; and only a fused optimiser leaves a step out by itself.
        fused = bool(optimizer.defaults.get("fused"))
        # Processes that wait for each other's gradients have to stop at the same step.
        return options.use_dagger and options.on_nan == "raise" and fused and not self._alg.is_multi_gpu

    def check_rollout(self, phases: torch.Tensor) -> None:
        """Look at the rollout in the storage, of which ``phases`` (T, N) says who drove.

        Raises:
            NonFiniteError: If it holds NaN or infinity, and ``on_nan`` is ``raise``.
        """
        alg = self._alg
        # rsl_rl's own update counts its iteration at its beginning.
        self._iteration = alg.iteration
        if self.defers:
            self._begin_update(phases)
            return
        if not self.checks_rollouts or all_finite(fields := fields_of(alg.storage)):
            return
        if alg.options.on_nan == "raise":
            raise self._rollout_error(phases)
        self.met_non_finite = True
        envs = (~finite_rows(fields, 2)).any(0).nonzero()[:, 0]
        announce(f"[DAgger] NaN or infinity in the rollout, environments {listed(envs)}")
        for model in (alg.student, alg.teacher):
            forget_non_finite(model.get_hidden_state())

    def _begin_update(self, phases: torch.Tensor) -> None:
        if self.is_spoilt():
            raise ValueError("the history holds NaN or infinity of an earlier error; go on from a checkpoint")
        self._is_settled = False
        self._phases, self._drawn = phases, []
        self._steps_made.zero_()
        self._all_well.fill_(1.0)
        if self.checks_rollouts:
            self._all_well.copy_(finite_yet(fields_of(self._alg.storage)))
        # The normaliser takes the rollout in before anybody knows whether it should.
        self._student_before = {name: value.clone() for name, value in self._alg._raw_student.named_buffers()}

    def allows_step(self, norm: torch.Tensor, batch: TensorDict | None = None) -> bool:
        """Return whether gradients of this norm may change the weights, or let the optimiser know by itself.

        Raises:
            NonFiniteError: If they may not, and ``on_nan`` is ``raise``.
        """
        if self.defers:
            assert self._alg.aggregation is not None
            self._all_well.mul_(torch.isfinite(norm))
            self._steps_made.add_(self._all_well)
            self._drawn.append(self._alg.aggregation.buffer.newest_slots)
            # What torch's fused optimisers know from mixed precision: a step is left out where this is not zero.
            self._alg.optimizer.found_inf = 1.0 - self._all_well  # pyright: ignore
            return True
        if math.isfinite(norm.item()):
            return True
        if self._alg.options.on_nan == "raise":
            raise self._loss_error(batch)
        return False

    def is_spoilt(self) -> bool:
        """Return whether an update that has not ended met NaN or infinity, which the history then holds."""
        return not self._is_settled and not bool(self._all_well)

    def numbers(self) -> dict[str, torch.Tensor]:
        """Return what :meth:`settle` has to be told when an update ends."""
        return {"all_well": self._all_well, "steps_made": self._steps_made} if self.defers else {}

    def settle(self, numbers: Mapping[str, float]) -> None:
        """Take note of how an update went.

        Raises:
            NonFiniteError: If there was NaN or infinity; the weights are as before it.
        """
        if not self.defers:
            return
        if numbers["all_well"]:
            self._is_settled = True
            return
        alg = self._alg
        assert self._phases is not None
        assert alg.aggregation is not None
        if self.checks_rollouts and not all_finite(fields_of(alg.storage)):
            for name, value in alg._raw_student.named_buffers():
                value.copy_(self._student_before[name])
            raise self._rollout_error(self._phases)
        raise self._loss_error(alg.aggregation.buffer[self._drawn[int(numbers["steps_made"])]])

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

    def _rollout_error(self, phases: torch.Tensor) -> NonFiniteError:
        alg = self._alg
        weights = {
            "student_state_dict": alg._raw_student.state_dict(),
            "teacher_state_dict": alg._raw_teacher.state_dict(),
        }
        return rollout_error(alg.storage, phases, self._iteration, self.env_state, weights)

    def _loss_error(self, batch: TensorDict | None) -> NonFiniteError:
        alg = self._alg
        weights = {"student_state_dict": alg._raw_student.state_dict(), "optimizer": alg.optimizer.state_dict()}
        return loss_error(self._iteration, batch, weights)
