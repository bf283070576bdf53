"""DAgger with a true aggregated dataset, and schedules of who acts, as an rsl_rl algorithm."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill import ranks
from foundation.distill.algorithm.assembly import make_dataset, make_objective
from foundation.distill.algorithm.hosted import HostedDistillation, require_noise, require_rows
from foundation.distill.algorithm.imitation import Imitation
from foundation.distill.algorithm.label_range import LabelRange
from foundation.distill.algorithm.learning_rate import LearningRate, with_learning_rate
from foundation.distill.algorithm.mixing import ActionMixer
from foundation.distill.algorithm.nan_guard import NanGuard
from foundation.distill.algorithm.options import OPTION_NAMES, DaggerOptions, reject_unknown
from foundation.distill.algorithm.step_recorder import StepRecorder
from foundation.distill.algorithm.stock_update import StockUpdate, name_for_rsl_rl
from foundation.distill.algorithm.teachers import load_teacher, load_teachers
from foundation.distill.checkpoint.loading import expanded, missing_file
from foundation.distill.fast_paths import fastest
from foundation.distill.history.rows import LOSS_MASK
from foundation.distill.log import logger
from foundation.distill.metrics import IterationMetrics
from foundation.distill.observations import converted, prepare_inputs
from foundation.distill.phases import STUDENT_PHASE, TEACHER_PHASE
from foundation.distill.scalars import ScalarReader


class DaggerDistillation(HostedDistillation):
    """rsl_rl's ``Distillation`` with an aggregated dataset and a teacher that also acts in the environment.

    Works under rsl_rl's own ``DistillationRunner``. With ``use_dagger`` the student is trained on every
    transition of every rollout so far, in shuffled mini-batches, a recurrent one on windows of consecutive steps;
    without it, rsl_rl's own update trains it on the newest rollout. ``teacher_schedule`` says who acts, by
    default the teacher during the first ``phase1_iterations`` iterations. With ``use_dagger`` and
    ``use_two_stage_training`` off this is rsl_rl's ``Distillation``, bit for bit, except that a recurrent teacher
    keeps its hidden state from one iteration to the next.

    Reference: Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to
    no-regret online learning", AISTATS 2011.
    """

    def __init__(self, student: MLPModel, teacher: MLPModel, storage: RolloutStorage, **options: Any) -> None:
        """Set up models, dataset and schedules.

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
        options = with_learning_rate(options)
        own = DaggerOptions(**{name: value for name, value in options.items() if name in OPTION_NAMES})
        stock_options = {name: value for name, value in options.items() if name not in OPTION_NAMES}
        own.check_run(storage.num_transitions_per_env, stock_options.get("multi_gpu_cfg") is not None)
        rate = stock_options["learning_rate"]
        self.learning_rates = LearningRate(rate, own.learning_rate_schedule, own.learning_rate_iterations)
        super().__init__(
            student,
            teacher,
            storage,
            num_learning_epochs=own.num_epochs,
            # 1 avoids rsl_rl's warning about left-over steps, which is true of rsl_rl's own behaviour only.
            gradient_length=1 if own.use_dagger or own.use_two_stage_training else own.gradient_length,
            max_grad_norm=own.max_grad_norm,
            loss_type=name_for_rsl_rl(own.loss_type),
            **stock_options,
        )
        self.options = own
        self.gradient_length = own.gradient_length
        self.rollout_size = storage.num_transitions_per_env * storage.num_envs
        self._set_up_teacher(teacher)
        self._set_up_rollout(storage)
        self.last_teacher_fraction = math.nan
        self.buffer_size = 0
        self.dataset = None
        self._set_up_training()
        require_noise(student)
        self.metrics = IterationMetrics(
            ["teacher_fraction", *(["buffer_size", "buffer_capacity"] if own.use_dagger else [])]
        )

    def _set_up_teacher(self, teacher: MLPModel) -> None:
        """Load the teachers that the options name; one that is missing may still come with a run's checkpoint."""
        files = self.options.teacher_checkpoint
        if files is None:
            self.teacher_loaded = not getattr(teacher, "needs_checkpoint", True)
            return
        files = expanded(files)
        self.missing_teacher = missing_file(files)
        if self.missing_teacher is not None:
            logger.warning(
                f"[DAgger] teacher_checkpoint {self.missing_teacher} does not exist: there is no teacher until a "
                "checkpoint of a run is loaded, which holds it"
            )
        found, self.teacher_network = load_teachers(teacher, files, self.teacher_site)
        self.teacher = self._raw_teacher = found  # pyright: ignore
        self.teacher_loaded = self.missing_teacher is None

    def _set_up_rollout(self, storage: RolloutStorage) -> None:
        """Set up the recording of steps and the choice of who acts."""
        options, models = self.options, [self.student_model, *self.teachers]
        self.label_range = LabelRange(options.label_clip, self.device)
        first = storage.observations[0]  # in the environment's types, before they are converted for storing
        self.recorder = StepRecorder(storage, models, self.label_range)
        for model in models:
            prepare_inputs(model, first)
        self.schedule = options.schedule()
        mixing, threshold = options.teacher_mixing or "episode", options.disagreement_threshold
        self.mixer = ActionMixer(self.schedule, storage.num_envs, self.device, mixing, threshold)
        shape = storage.num_transitions_per_env, storage.num_envs
        self.phases = torch.zeros(*shape, dtype=torch.uint8, device=self.device)
        """Phase of every transition of the rollout under way, (T, N)."""

    def _set_up_training(self) -> None:
        """Set up the update on the dataset, or rsl_rl's own."""
        fast = self.options.use_fast_paths
        self.scalars = fastest(ScalarReader, fast)(self)
        imitation = fastest(Imitation, fast)
        if self.options.use_dagger:
            self.optimizer = imitation.make_optimizer(self.optimizer)
        self.nan_guard = fastest(NanGuard, fast)(self)
        self.imitation: Imitation | None = None
        self.stock_update: StockUpdate | None = None
        if self.options.use_dagger:
            objective = make_objective(self)
            self.dataset = make_dataset(self, objective, self._log)
            self.imitation = imitation(self, self.dataset, objective, self.nan_guard)
        else:
            self.stock_update = StockUpdate(self, self.nan_guard)

    def _replace_teacher(self, teacher: Any) -> None:
        """Put another model into the teacher's place; the objective reads its modules."""
        super()._replace_teacher(teacher)
        if self.imitation is not None:
            self.imitation.objective = make_objective(self)

    @property
    def buffer_capacity(self) -> int:
        """Number of transitions that the history has room for at present."""
        assert self.dataset is not None
        return self.dataset.capacity

    @property
    def needs_every_step(self) -> bool:
        """Whether the dataset needs more of each step than observations, both actions and done flags."""
        assert self.dataset is not None
        assert self.imitation is not None
        return (
            self.ensemble is not None or self.dataset.filter is not None or self.imitation.objective.reads_modules
        )

    def act(self, obs: TensorDict) -> torch.Tensor:
        """Compute both policies' actions and return those to apply, shape (N, A)."""
        self.metrics.remove()
        if self.storage.step == 0:
            self.begin_rollout()
        self._assign_teachers(obs)
        self._ask_both_policies(self.recorder.record_observations(obs))
        transition = self.transition
        assert transition.actions is not None
        assert transition.privileged_actions is not None
        student_actions = transition.actions = self.recorder.record_student_actions(transition.actions)
        teacher_actions = self.recorder.record_teacher_actions(transition.privileged_actions)
        transition.privileged_actions = teacher_actions
        actions, teacher_acts = self.mixer.choose(self.iteration, student_actions, teacher_actions)
        self.phases[self.storage.step] = torch.where(teacher_acts, TEACHER_PHASE, STUDENT_PHASE)
        # The environment may write into the actions, as into everything that it has returned.
        return actions.clone()

    def _ask_both_policies(self, obs: TensorDict) -> None:
        """Compute both policies' actions, and store the other labels of this step."""
        # The student acts also where the teacher's action is applied: it is stored, and its std is logged.
        if self.stock_update is not None:
            self.stock_update.before_step()
            super().act(obs)
            return
        assert self.dataset is not None
        assert self.imitation is not None
        objective = self.imitation.objective
        self.dataset.before_step()
        with objective.tapped():
            super().act(obs)
        ensemble = self.ensemble
        if ensemble is None:
            labels = objective.labels(self.storage.num_envs, lambda values: values[0])
        else:
            labels = objective.labels(self.storage.num_envs, ensemble.select) | ensemble.labels(LOSS_MASK)
        self.dataset.rollout.set_labels(labels)

    def process_env_step(
        self, obs: TensorDict, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]
    ) -> None:
        """Store one environment step, and add the metrics of this iteration to the environment's."""
        self._assign_teachers(extras)
        if self.ensemble is not None and self.ensemble.assignment is None:
            raise ValueError(
                f"{len(self.ensemble)} teachers are configured, but neither observations nor extras of the "
                f"environment hold {self.options.teacher_id!r}; name the key with teacher_id"
            )
        require_rows(rewards, dones)
        rewards, dones = rewards.reshape(-1), dones.reshape(-1)
        self.log_metrics(extras)
        self.mixer.episodes_ended(dones)
        if self.dataset is None:
            # rsl_rl 5.4 gives them to the student's normaliser.
            super().process_env_step(converted(obs, self.storage.observations[0]), rewards, dones, extras)
            return
        self.dataset.after_step(rewards, dones, extras)
        # As in rsl_rl, but without its update of the normaliser (5.4): that learns from the dataset alone.
        self.recorder.finish_step(rewards, dones)
        self.transition.clear()
        self.student.reset(dones)
        self.teacher.reset(dones)

    def update(self) -> dict[str, float]:
        """Train the student; return the mean loss as ``behavior``, and that of each of several teachers."""
        self._set_learning_rate()
        self.metrics.set("teacher_fraction", self._teacher_fraction())
        self.nan_guard.check_rollout(self.phases)
        self.label_range.report(self.storage.privileged_actions)
        if self.stock_update is not None:
            return self.stock_update.run(super().update)
        return self._update_on_dataset()

    def _update_on_dataset(self) -> dict[str, float]:
        """Append the rollout to the dataset, and train on mini-batches of the whole dataset."""
        assert self.dataset is not None
        assert self.imitation is not None
        spoilt = self.nan_guard.met_non_finite
        appended = self.dataset.append(self.phases, spoilt, self.iteration, self.phase)
        # Running statistics over every rollout are the statistics of all data ever aggregated.
        ranks.update_normaliser(self.student_model, appended.observations)
        if appended.num_left_out:
            logger.warning(f"[DAgger] {appended.num_left_out} rows with NaN or infinity are left out")
        losses = self.imitation.train(self.dataset.mini_batches())
        if not losses and len(self.dataset.buffer) == 0:
            reason = f"episode_filter={self.options.episode_filter} has let no transition through yet"
            reason = "every row is left out" if appended.num_left_out else reason
            logger.warning(f"[DAgger] No gradient step: {reason}")
        loss = torch.stack(losses).mean() if losses else math.nan
        scalars = self.scalars.read(loss=loss, size=self.dataset.buffer.num_counted)
        self.buffer_size = int(scalars["size"])
        self.metrics.set("buffer_size", self.buffer_size)
        self.metrics.set("buffer_capacity", self.buffer_capacity)
        self.num_updates += 1
        self.storage.clear()
        return {"behavior": ranks.mean(scalars["loss"])} | self.imitation.loss_per_teacher()

    def relabel(self, teacher_checkpoint: str | Path) -> None:
        """Load another teacher, and replace the labels of the whole history by its actions.

        Args:
            teacher_checkpoint: Checkpoint of a teacher of the same architecture.

        Raises:
            ValueError: If there is no history, the teacher's observations are not stored in it, or the teacher is
                recurrent or one of several.
            CheckpointError: If the checkpoint cannot be used.
        """
        if self.imitation is None:
            raise ValueError("relabelling needs a history; set use_dagger=True")
        self.imitation.check_relabel()
        load_teacher(self.teacher_model, teacher_checkpoint)
        self.imitation.relabel()
        assert self.history is not None
        self._log(f"{self.history.num_transitions()} transitions relabelled by {teacher_checkpoint}")

    def _teacher_fraction(self) -> float:
        alone = self.mixer.acts_alone(self.iteration)
        if alone is not None:
            self.last_teacher_fraction = float(alone == TEACHER_PHASE)
        else:
            self.last_teacher_fraction = (self.phases == TEACHER_PHASE).float().mean().item()
        return self.last_teacher_fraction

    def _assign_teachers(self, source: Any) -> None:
        """Read each environment's teacher from observations or extras, if it is there."""
        if self.ensemble is not None and self.options.teacher_id in source.keys():  # noqa: SIM118 - a TensorDict
            self.ensemble.assign(source[self.options.teacher_id])

    def _set_learning_rate(self) -> None:
        self.learning_rate = self.learning_rates.at(self.iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate
