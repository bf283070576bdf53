"""Imitation: a mini-batch of the dataset becomes a loss, its gradients, and a step of the student's weights."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TypeVar

import torch
from tensordict import TensorDict
from torch import nn

from foundation.distill.algorithm.nan_guard import NanGuard
from foundation.distill.algorithm.objective import ImitationObjective
from foundation.distill.algorithm.resumable import ResumableDistillation
from foundation.distill.history.dataset import AggregatedDataset
from foundation.distill.history.rows import LOSS_MASK, per_step
from foundation.distill.log import logger
from foundation.distill.observations import groups_of, select_groups
from foundation.distill.tensors import gradient_norm

ROWS_PER_RELABELLING = 2048
"""Rows that a teacher relabels at once."""
Optimizer = TypeVar("Optimizer", bound=torch.optim.Optimizer)


class Imitation:
    """Trains an algorithm's student on mini-batches of its dataset."""

    def __init__(
        self,
        alg: ResumableDistillation,
        dataset: AggregatedDataset,
        objective: ImitationObjective,
        nan_guard: NanGuard,
    ) -> None:
        """Join the parts.

        Args:
            alg: The algorithm, with student and optimiser.
            dataset: The dataset.
            objective: The loss of every transition.
            nan_guard: Checks gradients before they change the weights.
        """
        self.alg, self.dataset, self.objective, self.nan_guard = alg, dataset, objective, nan_guard
        num_teachers = 0 if alg.ensemble is None else len(alg.ensemble)
        self._loss_per_teacher = torch.zeros(2, num_teachers, device=alg.device)

    @staticmethod
    def make_optimizer(optimizer: Optimizer) -> Optimizer:
        """Return the optimiser to train with, given the one that rsl_rl made."""
        return optimizer

    def train(self, mini_batches: Iterable[TensorDict]) -> list[torch.Tensor]:
        """Take one gradient step per mini-batch, and return the loss of each one that was not left out."""
        steps = [self.gradient_step(batch) for batch in mini_batches]
        losses = [loss for loss in steps if loss is not None]
        if len(losses) < len(steps):
            left_out = len(steps) - len(losses)
            logger.warning(f"[DAgger] {left_out} mini-batches with a loss of NaN or infinity are left out")
        return losses

    def gradient_step(self, batch: TensorDict) -> torch.Tensor | None:
        """Train on a mini-batch and return its mean loss; None if the batch was left out."""
        losses, loss = self.compute_gradients(batch)
        if not apply_gradients(self.alg, self.nan_guard, batch):
            return None
        self._record(batch, losses.detach())
        return loss.detach()

    def compute_gradients(self, batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the gradients of a mini-batch to the student's parameters.

        Returns:
            The loss of every transition, (B,) or (B, W), and the mean over those that count.
        """
        alg = self.alg
        precision = getattr(alg, "use_mixed_precision", False)
        with torch.autocast(torch.device(alg.device).type, enabled=precision, dtype=torch.bfloat16):
            losses = self.losses(batch)
        loss = self.mean(losses, batch)
        alg.optimizer.zero_grad()
        loss.backward()
        return losses, loss

    def losses(self, batch: TensorDict) -> torch.Tensor:
        """Return the loss of every transition, (B,) or (B, W)."""
        student, layout = self.alg.student_model, self.dataset.layout
        with self.objective.tapped():
            actions = layout.run(student, select_groups(batch, groups_of(student)), batch)
        return self.objective(actions, batch, partial(layout.arrange, batch=batch))

    @staticmethod
    def mean(losses: torch.Tensor, batch: TensorDict) -> torch.Tensor:
        """Return the mean loss of the transitions that count."""
        mask = batch.get(LOSS_MASK, None)
        return losses.mean() if mask is None else (losses * mask).sum() / mask.sum()

    def _record(self, batch: TensorDict, losses: torch.Tensor) -> None:
        """Give the losses of a mini-batch to the sampler, and add them to those of each teacher."""
        several = self.alg.ensemble is not None
        if not (several or self.dataset.buffer.sampler.reads_losses):
            return
        mask = batch.get(LOSS_MASK, None)
        counts = torch.ones_like(losses) if mask is None else mask.float()
        losses = losses * counts
        self.dataset.buffer.record_loss(batch, per_step(losses).sum(1) / per_step(counts).sum(1))
        if several:
            teacher = batch["teacher_id"].flatten().long()
            self._loss_per_teacher[0].index_add_(0, teacher, losses.flatten())
            self._loss_per_teacher[1].index_add_(0, teacher, counts.flatten())

    def loss_per_teacher(self) -> dict[str, float]:
        """Return the mean loss of each of several teachers since the last call, by metric."""
        if self.alg.ensemble is None:
            return {}
        sums, counts = self._loss_per_teacher.tolist()
        self._loss_per_teacher.zero_()
        pairs = enumerate(zip(sums, counts, strict=True))
        return {f"behavior_teacher_{i}": total / count for i, (total, count) in pairs if count}

    def check_relabel(self) -> None:
        """Check that the history can be relabelled.

        Raises:
            ValueError: If the teacher's observations are not stored, or it is recurrent or one of several.
        """
        if not self.alg.options.store_teacher_obs:
            raise ValueError("relabelling needs the teacher's observations; set store_teacher_obs=True")
        if self.alg.ensemble is not None:
            raise ValueError("relabelling needs a single teacher; there are several")
        if self.alg.teacher_model.is_recurrent:
            raise ValueError(
                "relabelling needs a feed-forward teacher: what a recurrent one remembered is not stored"
            )

    def relabel(self) -> None:
        """Replace the labels of the whole history by the teacher's, from its stored observations."""
        buffer, held_back = self.dataset.buffer, self.dataset.filter
        for first in range(0, len(buffer), ROWS_PER_RELABELLING):
            stop = min(first + ROWS_PER_RELABELLING, len(buffer))
            slots = torch.arange(first, stop, device=buffer.sampler.device)
            buffer.overwrite(slots, self._labels_of(buffer[slots]))
        for rows in [] if held_back is None else held_back.held_back:
            rows.update(self._labels_of(rows))

    def _labels_of(self, rows: TensorDict) -> dict[str, torch.Tensor]:
        teacher, shape = self.alg.teacher_model, rows["dones"].shape
        obs = {name: rows[f"obs/{name}"].flatten(0, len(shape) - 1) for name in groups_of(teacher)}
        with torch.no_grad(), self.objective.tapped():
            actions = teacher(TensorDict(obs, batch_size=[shape.numel()]))
            labels = {"teacher_actions": self.alg.label_range.clip_(actions.clone())}
            labels |= self.objective.labels(shape.numel(), lambda values: values[0])
        return {name: value.view(*shape, -1) for name, value in labels.items()}


def apply_gradients(alg: ResumableDistillation, nan_guard: NanGuard, batch: TensorDict | None = None) -> bool:
    """Clip the student's gradients and take an optimiser step; return False if they are not finite.

    Args:
        alg: The algorithm, with student and optimiser.
        nan_guard: Checks the gradients.
        batch: The mini-batch that they come from, if it is known.

    Raises:
        NonFiniteError: If they are not finite and ``on_nan`` is ``raise``; the weights are unchanged.
    """
    if alg.is_multi_gpu:
        alg.reduce_parameters()
    # Not student.parameters(): walking the modules takes as long as clipping.
    parameters = alg.optimizer.param_groups[0]["params"]
    norm = gradient_norm(parameters)
    if not nan_guard.allows_step(norm, batch):
        return False
    if alg.max_grad_norm:
        nn.utils.clip_grads_with_norm_(parameters, alg.max_grad_norm, norm)
    alg.optimizer.step()
    return True
