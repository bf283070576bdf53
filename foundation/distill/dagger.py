"""DAgger with a true aggregated history, and schedules of who drives, as an rsl_rl algorithm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import nn

from foundation.distill.aggregation import Aggregation
from foundation.distill.backprop import MlpBackprop
from foundation.distill.buffer import AggregatedBuffer
from foundation.distill.display import announce
from foundation.distill.finite import gradient_norm
from foundation.distill.guard import FiniteGuard
from foundation.distill.learning_rate import LearningRate
from foundation.distill.leftover import LeftoverSteps
from foundation.distill.look import look
from foundation.distill.losses import elementwise, weights_per_action
from foundation.distill.observations import prepare_for_images
from foundation.distill.options import OPTION_NAMES, DaggerOptions, reject_unknown
from foundation.distill.resumable import ResumableDistillation
from foundation.distill.schedule import STUDENT_PHASE, TEACHER_PHASE, Driver
from foundation.distill.teachers import load_teacher, load_teachers
from foundation.distill.threads import threads_for


class DaggerDistillation(ResumableDistillation):
    """rsl_rl's ``Distillation`` with an aggregated history and a teacher that takes part in driving.

    Works under rsl_rl's own ``DistillationRunner``. With ``use_dagger`` the student is trained on every
    transition of every rollout so far, in shuffled mini-batches, a recurrent one on windows of consecutive steps;
    without it, rsl_rl's own update trains it on the newest rollout. ``teacher_schedule`` says who drives, by
    default the teacher during the first ``phase1_iterations`` iterations. With ``use_dagger`` and
    ``use_two_stage_training`` off this is rsl_rl's ``Distillation``, bit for bit, except that a recurrent teacher
    keeps its hidden state from one iteration to the next.

    Reference: Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to
    no-regret online learning", AISTATS 2011.
    """

    def __init__(self, student: MLPModel, teacher: MLPModel, storage: RolloutStorage, **options: Any) -> None:
        """Set up models, history and schedule.

        Args:
            student: The policy to train.
            teacher: The policy to imitate.
            storage: Storage of one rollout.
            **options: The fields of :class:`~foundation.distill.DaggerOptions`, and those of rsl_rl's
                ``Distillation``: ``learning_rate``, ``optimizer``, ``device``, ``multi_gpu_cfg`` and others of
                the installed version.

        Raises:
            TypeError: If an option is unknown.
            ValueError: If an option's value cannot work or take effect; the message names the limit.
            CheckpointError: If the teacher's checkpoint cannot be used.
        """
        reject_unknown(options)
        own = DaggerOptions(**{name: value for name, value in options.items() if name in OPTION_NAMES})
        stock_options = {name: value for name, value in options.items() if name not in OPTION_NAMES}
        steps = storage.num_transitions_per_env
        if not own.use_dagger and own.gradient_length > own.num_learning_epochs * steps:
            raise ValueError(
                f"gradient_length must be at most num_learning_epochs * num_steps_per_env "
                f"({own.num_learning_epochs * steps}), or no gradient step is ever made; got {own.gradient_length}"
            )
        if stock_options.get("multi_gpu_cfg") is not None:
            own.check_several_processes()
        super().__init__(
            student,
            teacher,
            storage,
            num_learning_epochs=own.num_learning_epochs,
            # Its warning about left-over steps is true of rsl_rl's own behaviour only.
            gradient_length=1 if own.use_dagger or own.use_two_stage_training else own.gradient_length,
            max_grad_norm=own.max_grad_norm,
            loss_type="mse" if own.loss_type == "kl" else own.loss_type,
            **stock_options,
        )
        self.options = own
        self.gradient_length = own.gradient_length
        self.learning_rates = LearningRate(
            self.learning_rate, own.learning_rate_schedule, own.learning_rate_iterations
        )
        self.rollout_size = steps * storage.num_envs
        if own.teacher_checkpoint is not None:
            self.teacher = self._raw_teacher = load_teachers(self._raw_teacher, own.teacher_checkpoint)  # pyright: ignore
            self.teacher_loaded = True
        for model in (self._raw_student, *self._teachers()):
            prepare_for_images(model, storage.observations[0])
        self.schedule = own.schedule()
        self.driver = Driver(
            self.schedule,
            storage.num_envs,
            self.device,
            own.teacher_mixing or "episode",
            own.disagreement_threshold,
        )
        self.last_teacher_fraction = math.nan
        self._phases = torch.zeros(steps, storage.num_envs, dtype=torch.uint8, device=self.device)
        self.buffer_size = 0
        self.aggregation: Aggregation | None = None
        self._leftover: LeftoverSteps | None = None
        if own.use_dagger:
            if "fused" in self.optimizer.defaults:
                # The same step in one kernel instead of a dozen.
                parameters = self.student.parameters()
                self.optimizer = type(self.optimizer)(parameters, lr=self.learning_rate, fused=True)
            self.aggregation = Aggregation(own, self._raw_student, self._raw_teacher, storage, self._say)
        self.guard = FiniteGuard(self)
        if not own.use_dagger:
            self._set_up_stock_update()
        # The logger reads them when an iteration ends, after the update has written them.
        names = ["teacher_fraction", *(["buffer_size", "buffer_capacity"] if own.use_dagger else [])]
        self._metrics = {f"Distillation/{name}": torch.zeros(1) for name in names}

    @property
    def phase(self) -> int:
        """Phase of the iteration under way: 1, only the teacher drives, or 2, the student takes part."""
        return self.schedule.phase(self.iteration)

    @property
    def history(self) -> AggregatedBuffer | None:
        """The aggregated history; None without DAgger."""
        return None if self.aggregation is None else self.aggregation.buffer

    def act(self, obs: TensorDict) -> torch.Tensor:
        """Compute both policies' actions and return those that drive, shape (N, A)."""
        step = self.storage.step
        if step == 0:
            self.begin_rollout()
        self._assign_teachers(obs)
        # The student acts also where the teacher drives: its action is stored and its std is logged.
        if self.aggregation is None:
            if self._leftover is not None:
                self._leftover.before_step()
            student_actions = super().act(obs)
        else:
            self.aggregation.before_step()
            with self.aggregation.loss.listening():
                student_actions = super().act(obs)
        teacher_actions = self.transition.privileged_actions
        assert teacher_actions is not None
        actions, teacher_drives = self.driver.choose(self.iteration, student_actions, teacher_actions)
        self._phases[step] = torch.where(teacher_drives, TEACHER_PHASE, STUDENT_PHASE)
        if self.aggregation is not None:
            self.aggregation.after_act()
        return actions

    def process_env_step(
        self, obs: TensorDict, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]
    ) -> None:
        """Record one environment step, and hand the metrics of this iteration to the runner's logger."""
        self._assign_teachers(extras)
        if self._ensemble is not None and self._ensemble.assignment is None:
            raise ValueError(
                f"{len(self._ensemble)} teachers are configured, but neither observations nor extras of the "
                f"environment hold {self.options.teacher_id!r}; name the key with teacher_id"
            )
        self.log_metrics(extras)
        self.driver.episodes_ended(dones)
        if self.aggregation is None:
            super().process_env_step(obs, rewards, dones, extras)
            return
        self.aggregation.after_step(rewards, dones, extras)
        # As rsl_rl, but the normaliser is updated from the history and nowhere else (5.4 does it here).
        self.transition.rewards = rewards
        self.transition.dones = dones
        self.storage.add_transition(self.transition)
        self.transition.clear()
        self.student.reset(dones)
        self.teacher.reset(dones)

    def begin_rollout(self) -> None:
        """Announce the student's taking over where it does."""
        if self.schedule.switches_at(self.iteration):
            self._announce_switch()

    def end_rollout(self, phase: int, dones: torch.Tensor) -> None:
        """Take note of a rollout that one policy drove alone, when its steps are in the storage.

        Args:
            phase: 1 if that was the teacher, 2 for the student.
            dones: Environments (N,) whose episode ended in the last step.
        """
        self._phases.fill_(phase)
        self.driver.drove_alone(phase)
        self.driver.episodes_ended(dones)

    def log_metrics(self, extras: dict[str, Any]) -> None:
        """Add this iteration's metrics, known when it ends, to what the environment gives to the logger."""
        metrics = {"Distillation/training_phase": float(self.phase), **self._metrics}
        # rsl_rl logs one of the two, the first that is there.
        key = "episode" if "episode" in extras else "log"
        extras[key] = {**extras.get(key, {}), **metrics}

    def update(self) -> dict[str, float]:
        """Train the student and return the mean loss as ``behavior``, and each of several teachers' loss."""
        self._set_learning_rate()
        self.last_teacher_fraction = self._teacher_fraction()
        self._metrics["Distillation/teacher_fraction"].fill_(self.last_teacher_fraction)
        self.guard.check_rollout(self._phases)
        if self.aggregation is None:
            return self._update_on_newest_rollout()
        left_out = self.aggregation.aggregate(self._phases, finite_only=self.guard.met_non_finite)
        if left_out:
            announce(f"[DAgger] {left_out} rows with NaN or infinity are left out")
        losses = self._train_on_history(self.aggregation)
        if not losses and len(self.aggregation.buffer) == 0:
            reason = f"episode_filter={self.options.episode_filter} has let no transition through yet"
            announce("[DAgger] No gradient step: " + ("every row is left out" if left_out else reason))
        history, upcoming = self.aggregation.buffer, self.aggregation.upcoming()
        loss = torch.stack(losses).mean() if losses else math.nan
        numbers = {"loss": loss, "size": history.transitions_yet(), **self.guard.numbers(), **upcoming}
        known = look(numbers)
        self.guard.settle(known)
        history.foresee({name: known[name] for name in upcoming})
        self.buffer_size = int(known["size"])
        self._metrics["Distillation/buffer_size"].fill_(self.buffer_size)
        self._metrics["Distillation/buffer_capacity"].fill_(self.buffer_capacity)
        self.num_updates += 1
        self.storage.clear()
        return {"behavior": known["loss"]} | self.aggregation.loss_per_teacher()

    def _teacher_fraction(self) -> float:
        alone = self.driver.drives_alone(self.iteration)
        if alone is not None:
            return float(alone == TEACHER_PHASE)
        return (self._phases == TEACHER_PHASE).float().mean().item()

    def _update_on_newest_rollout(self) -> dict[str, float]:
        """Make rsl_rl's own update."""
        # It forgets what a recurrent teacher remembers.
        hidden = self.teacher.get_hidden_state()
        losses = super().update()
        self.teacher.reset(hidden_state=hidden)
        if self._leftover is not None:
            self.optimizer.zero_grad()
            self._leftover.loss(self.loss_fn).backward()
            self._step()
        return losses

    def _train_on_history(self, aggregation: Aggregation) -> list[torch.Tensor]:
        """Make one iteration's gradient steps and return the losses of those that count."""
        # Neither a compiled student nor lower precision can do without autograd.
        plain = self.student is self._raw_student and not getattr(self, "use_mixed_precision", False)
        backprop = aggregation.backprop() if plain else None
        transitions = aggregation.mini_batch_rows() * aggregation.layout.transitions_per_row
        with threads_for(transitions, self.device):
            steps = [self._gradient_step(aggregation, batch, backprop) for batch in aggregation.mini_batches()]
        losses = [loss for loss in steps if loss is not None]
        if len(losses) < len(steps):
            announce(
                f"[DAgger] {len(steps) - len(losses)} mini-batches with a loss of NaN or infinity are left out"
            )
        return losses

    def relabel(self, teacher_checkpoint: str | Path) -> None:
        """Take another teacher, and let it label the whole history anew.

        Args:
            teacher_checkpoint: Checkpoint of a teacher of the same architecture.

        Raises:
            ValueError: If there is no history, the teacher's observations are not stored in it, or the teacher is
                recurrent or one of several.
            CheckpointError: If the checkpoint cannot be used.
        """
        if self.aggregation is None:
            raise ValueError("relabelling needs a history; set use_dagger=True")
        self.aggregation.check_relabel()
        load_teacher(self._raw_teacher, teacher_checkpoint)
        self.aggregation.relabel()
        self._say(f"{self.aggregation.buffer.num_transitions()} transitions relabelled by {teacher_checkpoint}")

    @property
    def buffer_capacity(self) -> int:
        """Number of transitions that the history has room for at present."""
        assert self.aggregation is not None
        return min(
            self.aggregation.buffer.capacity * self.aggregation.layout.transitions_per_row,
            self.options.max_buffer_size,
        )

    def _teachers(self) -> list[MLPModel]:
        return [self._raw_teacher] if self._ensemble is None else list(self._ensemble.models)  # pyright: ignore

    def _set_up_stock_update(self) -> None:
        own = self.options
        count = own.num_learning_epochs * self.storage.num_transitions_per_env % own.gradient_length
        # With both switches off nothing is different from rsl_rl.
        if count and own.use_two_stage_training:
            self._leftover = LeftoverSteps(self._raw_student, self.storage, count)
        if own.loss_type == "kl":
            raise ValueError("loss_type=kl needs use_dagger=True; rsl_rl's own update knows mse and huber")
        if own.num_mini_batches or own.mini_batch_size or own.max_updates_per_iteration:
            announce(
                "[DAgger] use_dagger is off: num_mini_batches, mini_batch_size and max_updates_per_iteration "
                "are unused"
            )
        if own.action_weights is not None:
            weights = weights_per_action(
                own.action_weights, self.storage.privileged_actions.shape[-1], self.device
            )
            unweighted = elementwise(own.loss_type)
            self.loss_fn = lambda actions, target: (unweighted(actions, target) * weights).mean()
        self.guard.watch_rsl_rls_update()

    def _assign_teachers(self, source: Any) -> None:
        """Read each environment's teacher, where observations or extras tell it."""
        if self._ensemble is not None and self.options.teacher_id in source.keys():  # noqa: SIM118 - a TensorDict
            self._ensemble.assign(source[self.options.teacher_id])

    def _set_learning_rate(self) -> None:
        self.learning_rate = self.learning_rates.at(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate

    def _gradient_step(
        self, aggregation: Aggregation, batch: TensorDict, backprop: MlpBackprop | None
    ) -> torch.Tensor | None:
        """Train on a mini-batch and return its loss; None if it was left out."""
        if backprop is not None:
            losses, counts = aggregation.closed_form_losses(backprop, batch)
        else:
            with torch.autocast(
                torch.device(self.device).type,
                enabled=getattr(self, "use_mixed_precision", False),
                dtype=torch.bfloat16,
            ):
                losses, counts = aggregation.losses(batch)
        loss = losses.mean() if counts is None else (losses * counts).sum() / counts.sum()
        if backprop is None:
            self.optimizer.zero_grad()
            loss.backward()
        if not self._step(batch):
            return None
        aggregation.record_losses(batch, losses.detach(), counts)
        return loss.detach()

    def _step(self, batch: TensorDict | None = None) -> bool:
        """Change the weights by the gradients that the parameters hold; return whether these are finite.

        Raises:
            NonFiniteError: If they are not, and ``on_nan`` is ``raise``; the weights are as before.
        """
        if self.is_multi_gpu:
            self.reduce_parameters()
        # Asking the model for its parameters takes as long as clipping them.
        parameters = self.optimizer.param_groups[0]["params"]
        norm = gradient_norm(parameters)
        if not self.guard.allows_step(norm, batch):
            return False
        if self.max_grad_norm:
            nn.utils.clip_grads_with_norm_(parameters, self.max_grad_norm, norm)
        self.optimizer.step()
        return True

    def _announce_switch(self) -> None:
        rule = "=" * 80
        self._print(
            f"{rule}\n{rule}\n"
            "  SWITCHING TO PHASE 2: Now using STUDENT actions to update environment\n"
            f"  Iteration: {self.iteration}\n"
            f"{rule}\n{rule}"
        )

    def _say(self, message: str) -> None:
        self._print(f"[DAgger] {message}")

    def _print(self, message: str) -> None:
        if self.gpu_global_rank == 0:
            print(message, flush=True)
