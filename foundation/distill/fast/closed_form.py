"""Train plain students with gradients in closed form, fused optimiser steps and as many threads as pay."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from tensordict import TensorDict

from foundation.distill.algorithm.imitation import Imitation, Optimizer
from foundation.distill.fast.gradients import MlpBackprop, closed_form_gradients
from foundation.distill.fast.threads import threads_for
from foundation.distill.history.rows import LOSS_MASK
from foundation.distill.observations import groups_of


class ClosedFormImitation(Imitation):
    """Computes gradients in closed form if the student and the loss allow it, and by autograd otherwise."""

    _closed_form: MlpBackprop | None = None

    @staticmethod
    def make_optimizer(optimizer: Optimizer) -> Optimizer:
        """Return the same optimiser with its step in one fused kernel, if torch has one."""
        if "fused" not in optimizer.defaults:
            return optimizer
        group = optimizer.param_groups[0]
        return type(optimizer)(group["params"], lr=group["lr"], fused=True)  # pyright: ignore

    def train(self, mini_batches: Iterable[TensorDict]) -> list[torch.Tensor]:
        """Take one gradient step per mini-batch, and return the loss of each one that was not left out."""
        self._closed_form = self.find_closed_form()
        # A recurrent student computes one step of all windows at a time, so windows count, not their transitions.
        with threads_for(self.dataset.mini_batch_rows(), self.alg.device):
            return super().train(mini_batches)

    def find_closed_form(self) -> MlpBackprop | None:
        """Return the function that computes loss and gradients in closed form; None if only autograd can."""
        alg = self.alg
        # Compiled students and lower precision need autograd.
        if alg.student is not alg.student_model or getattr(alg, "use_mixed_precision", False):
            return None
        masked = LOSS_MASK in self.dataset.buffer.storage.fields and not alg.student_model.is_recurrent
        if masked or self.objective.reads_modules:
            return None
        return closed_form_gradients(alg.student_model, type(self.objective.loss), self.objective.action_weights)

    def compute_gradients(self, batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the gradients of a mini-batch to the student's parameters."""
        if self._closed_form is None:
            return super().compute_gradients(batch)
        obs = {group: batch[f"obs/{group}"] for group in groups_of(self.alg.student_model)}
        losses = self._closed_form(obs, batch)  # pyright: ignore
        return losses, self.mean(losses, batch)
