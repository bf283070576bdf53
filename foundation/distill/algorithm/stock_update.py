"""rsl_rl's own update on the newest rollout, where DAgger is off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from foundation.distill.algorithm.imitation import apply_gradients
from foundation.distill.algorithm.losses import LOSSES, Actions, Loss, weights_per_action
from foundation.distill.algorithm.nan_guard import NanGuard
from foundation.distill.algorithm.resumable import ResumableDistillation
from foundation.distill.log import logger
from foundation.distill.tensors import gradient_norm, moved

STOCK_LOSSES = ("mse", "huber")
"""Losses that rsl_rl knows by name."""


class StockUpdate:
    """Runs rsl_rl's update with our losses and checks, and trains on the steps that it leaves out.

    rsl_rl takes a gradient step every ``gradient_length`` steps, and none for the last ones if that does not
    divide ``num_learning_epochs`` times the steps of a rollout. With two-stage training those are trained on, too;
    with both switches off they are not, and the weights are rsl_rl's bit for bit.
    """

    def __init__(self, alg: ResumableDistillation, nan_guard: NanGuard) -> None:
        """Replace the loss of rsl_rl's update where the options ask for another, and check its steps.

        Args:
            alg: The algorithm.
            nan_guard: Checks losses and gradients before they change the weights.

        Raises:
            ValueError: If the loss needs a history.
        """
        self._alg, self._nan_guard = alg, nan_guard
        options, storage = alg.options, alg.storage
        steps = storage.num_transitions_per_env
        count = options.num_epochs * steps % options.gradient_length
        self._first_left_out = steps
        if options.use_two_stage_training:
            self._first_left_out = max(0, steps - count)
        self._hidden = None
        if options.num_mini_batches or options.mini_batch_size or options.max_updates_per_iteration:
            logger.warning(
                "[DAgger] use_dagger is off: num_mini_batches, mini_batch_size and max_updates_per_iteration "
                "are unused"
            )
        self._set_loss()
        self._check_every_step()

    def before_step(self) -> None:
        """Record the hidden state with which the steps begin that rsl_rl leaves out."""
        if self._alg.storage.step == self._first_left_out:
            self._hidden = moved(self._alg.student_model.get_hidden_state(), self._alg.storage.device)

    def run(self, update: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Run rsl_rl's update and return its losses."""
        alg = self._alg
        # rsl_rl resets a recurrent teacher with every update.
        hidden = alg.teacher.get_hidden_state()
        losses = update()
        alg.teacher.reset(hidden_state=hidden)
        if self._first_left_out < alg.storage.num_transitions_per_env:
            alg.optimizer.zero_grad()
            self.loss_of_left_out_steps().backward()
            apply_gradients(alg, self._nan_guard)
        return losses

    def loss_of_left_out_steps(self) -> torch.Tensor:
        """Return the sum of their losses, as rsl_rl accumulates it; the student's hidden state is unchanged."""
        student, storage = self._alg.student_model, self._alg.storage
        before = student.get_hidden_state()
        # A copy: the recorded state was created in inference mode and cannot be trained on.
        student.reset(hidden_state=moved(self._hidden, storage.device))
        total = torch.zeros((), device=storage.device)
        for step in range(self._first_left_out, storage.num_transitions_per_env):
            actions = student(storage.observations[step])
            total = total + self._alg.loss_fn(actions, storage.privileged_actions[step])
            dones = storage.dones[step].view(-1)
            student.reset(dones)
            student.detach_hidden_state(dones)
        student.reset(hidden_state=before)
        return total

    def _set_loss(self) -> None:
        options = self._alg.options
        loss: Loss = LOSSES.find(options.loss_type)(options)
        if loss.reads_std:
            raise ValueError(
                f"loss_type={options.loss_type} needs use_dagger=True: in rsl_rl's own update a loss has no "
                "standard deviations"
            )
        if options.loss_type in STOCK_LOSSES and options.action_weights is None:
            return
        weights: Any = 1.0
        if options.action_weights is not None:
            num_actions = self._alg.storage.privileged_actions.shape[-1]
            weights = weights_per_action(options.action_weights, num_actions, self._alg.device)
        self._alg.loss_fn = lambda actions, target: (loss(Actions(actions), Actions(target)) * weights).mean()

    def _check_every_step(self) -> None:
        """Check the losses and gradients of rsl_rl's update, which takes its steps by itself."""
        loss_fn = self._alg.loss_fn

        def checked(actions: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            loss = loss_fn(actions, target)
            # Before the gradient: clipping may turn that of an infinite loss into zero.
            self._nan_guard.allows_step(loss)
            return loss

        def check_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            self._nan_guard.allows_step(gradient_norm(optimizer.param_groups[0]["params"]))

        self._alg.loss_fn = checked
        self._alg.optimizer.register_step_pre_hook(check_gradients)


def name_for_rsl_rl(loss_type: str) -> str:
    """Return the ``loss_type`` to give to rsl_rl, which refuses the names of other losses."""
    return loss_type if loss_type in STOCK_LOSSES else "mse"
