"""Check for non-finite values on a GPU without waiting for the result before the end of the update.

The plain guard reads a scalar from the device before every gradient step. Here the device decides by itself: a
fused optimiser skips its step where ``found_inf`` is not zero, as it does in mixed precision. The host reads once,
at the end of the update, whether everything was finite. The weights are then those that an error at once would
have left; only the history has the rollout's rows already, so it is neither saved nor trained on any more.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from tensordict import TensorDict

from foundation.distill.algorithm.nan_guard import NanGuard
from foundation.distill.algorithm.nan_report import fields_of
from foundation.distill.algorithm.resumable import ResumableDistillation
from foundation.distill.tensors import all_finite


class DeferredNanGuard(NanGuard):
    """A guard that reports non-finite values at the end of the update if it can, and at once otherwise."""

    def __init__(self, alg: ResumableDistillation) -> None:
        """Decide whether checks can be deferred for this algorithm and device."""
        super().__init__(alg)
        self.defers = torch.device(alg.device).type != "cpu" and self._can_defer()
        """Whether non-finite values are reported at the end of the update."""
        # On the device: whether everything has been finite in this update, and the gradient steps made until then.
        self._all_finite = torch.ones((), device=alg.device)
        self._steps_made = torch.zeros((), device=alg.device)
        self._drawn: list[torch.Tensor] = []
        self._buffers_before: dict[str, torch.Tensor] = {}
        self._phases: torch.Tensor | None = None
        self._is_checked = True

    def _can_defer(self) -> bool:
        options, optimizer = self.alg.options, self.alg.optimizer
        # Leaving rows out takes knowing which; and only a fused optimiser skips a step by itself.
        fused = bool(optimizer.defaults.get("fused"))
        # Processes that exchange gradients have to stop at the same step.
        return options.use_dagger and options.on_nan == "raise" and fused and not self.alg.is_multi_gpu

    def check_rollout(self, phases: torch.Tensor) -> None:
        """Check the rollout in the storage, or queue the check on the device."""
        if not self.defers:
            super().check_rollout(phases)
            return
        self.iteration = self.alg.iteration
        if not self.history_is_finite:
            raise ValueError("the history holds NaN or infinity of an earlier error; go on from a checkpoint")
        self._is_checked = False
        self._phases, self._drawn = phases, []
        self._steps_made.zero_()
        self._all_finite.fill_(1.0)
        if self.checks_rollouts:
            self._all_finite.copy_(_all_finite_on_device(fields_of(self.alg.storage)))
        # The normaliser learns from the rollout before the result of the check is known.
        self._buffers_before = {name: value.clone() for name, value in self.alg.student_model.named_buffers()}

    def allows_step(self, norm: torch.Tensor, batch: TensorDict | None = None) -> bool:
        """Return whether gradients of this norm may change the weights; deferred, the optimiser decides."""
        if not self.defers:
            return super().allows_step(norm, batch)
        assert self.alg.history is not None
        self._all_finite.mul_(torch.isfinite(norm))
        self._steps_made.add_(self._all_finite)
        self._drawn.append(self.alg.history.last_slots)
        self.alg.optimizer.found_inf = 1.0 - self._all_finite  # pyright: ignore
        return True

    @property
    def history_is_finite(self) -> bool:
        """Whether the history may be saved: no unfinished update has met non-finite values."""
        return self._is_checked or bool(self._all_finite)

    def device_scalars(self) -> dict[str, torch.Tensor]:
        """Return the scalars that :meth:`receive` needs at the end of an update."""
        return {"all_finite": self._all_finite, "steps_made": self._steps_made} if self.defers else {}

    def receive(self, scalars: Mapping[str, float]) -> None:
        """Finish the check of an update.

        Raises:
            NonFiniteError: If there were non-finite values; the weights are as before them.
        """
        if not self.defers:
            return
        if scalars["all_finite"]:
            self._is_checked = True
            return
        alg = self.alg
        assert self._phases is not None
        assert alg.history is not None
        if self.checks_rollouts and not all_finite(fields_of(alg.storage)):
            for name, value in alg.student_model.named_buffers():
                value.copy_(self._buffers_before[name])
            raise self.rollout_error(self._phases)
        raise self.loss_error(alg.history[self._drawn[int(scalars["steps_made"])]])


def _all_finite_on_device(fields: Mapping[str, torch.Tensor]) -> torch.Tensor:
    bounds = [bound for values in fields.values() if values.is_floating_point() for bound in torch.aminmax(values)]
    return torch.isfinite(torch.stack(bounds)).all()
