"""DAgger with a true aggregated history, and two-stage training, as an rsl_rl algorithm."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from rsl_rl.algorithms import Distillation
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict
from torch import nn

from foundation.distill.buffer import AggregatedBuffer, transition_bytes
from foundation.distill.checkpoint import CheckpointError, load_checkpoint, load_weights
from foundation.distill.memory import check_fits
from foundation.distill.schedule import TEACHER_PHASE, TwoStageSchedule

DEFAULT_MINI_BATCH_SIZE = 2048
_STATE_VERSION = 1


class DaggerDistillation(Distillation):
    """rsl_rl's ``Distillation`` with an aggregated history and a phase driven by the teacher.

    Works under rsl_rl's own ``DistillationRunner``. With ``use_dagger`` the student is trained on every
    transition of every rollout so far, in shuffled mini-batches; without it, rsl_rl's own update trains it
    on the newest rollout. With ``use_two_stage_training`` the teacher drives the environment during the
    first ``phase1_iterations`` iterations. With both off this is rsl_rl's ``Distillation``, bit for bit.

    Reference: Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to
    no-regret online learning", AISTATS 2011.
    """

    def __init__(
        self,
        student: MLPModel,
        teacher: MLPModel,
        storage: RolloutStorage,
        *,
        num_learning_epochs: int = 4,
        gradient_length: int = 15,
        max_grad_norm: float | None = 1.0,
        use_two_stage_training: bool = True,
        phase1_iterations: int = 500,
        use_dagger: bool = True,
        max_buffer_size: int = 1_000_000,
        num_mini_batches: int | None = None,
        mini_batch_size: int | None = None,
        max_updates_per_iteration: int | None = None,
        teacher_checkpoint: str | None = None,
        **stock_options: Any,
    ) -> None:
        """Set up models, history and schedule.

        Args:
            student: The policy to train.
            teacher: The policy to imitate.
            storage: Storage of one rollout.
            num_learning_epochs: Passes per iteration, over the history with DAgger, over the newest rollout
                without.
            gradient_length: Steps between gradient steps of rsl_rl's own update, which runs without DAgger.
            max_grad_norm: Largest norm of a gradient; None does not clip.
            use_two_stage_training: Whether the teacher drives the first iterations.
            phase1_iterations: Number of iterations that the teacher drives.
            use_dagger: Whether to train on the aggregated history.
            max_buffer_size: Largest size of the history [transitions].
            num_mini_batches: Mini-batches per pass over the history; excludes ``mini_batch_size``.
            mini_batch_size: Transitions per mini-batch; with neither of the two, 2048.
            max_updates_per_iteration: Largest number of gradient steps per iteration. A pass that it cuts
                short goes on in the next iteration, so every transition is visited equally often over time.
            teacher_checkpoint: Checkpoint of the teacher (a PPO run's, or a distillation run's); None if the
                runner loads it.
            **stock_options: Options of rsl_rl's ``Distillation``: ``learning_rate``, ``loss_type``,
                ``optimizer``, ``device``, ``multi_gpu_cfg`` and others of the installed version.

        Raises:
            TypeError: If an option is unknown.
            ValueError: If an option's value cannot work; the message names the limit.
            CheckpointError: If the teacher's checkpoint cannot be used.
        """
        _reject_unknown(stock_options)
        for name, value in (("use_dagger", use_dagger), ("use_two_stage_training", use_two_stage_training)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        if not isinstance(phase1_iterations, int):
            raise TypeError(f"phase1_iterations must be a whole number, got {phase1_iterations!r}")
        for name, value in (
            ("num_learning_epochs", num_learning_epochs),
            ("gradient_length", gradient_length),
            ("num_mini_batches", num_mini_batches),
            ("mini_batch_size", mini_batch_size),
            ("max_updates_per_iteration", max_updates_per_iteration),
        ):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if num_mini_batches is not None and mini_batch_size is not None:
            raise ValueError(
                f"num_mini_batches={num_mini_batches} and mini_batch_size={mini_batch_size} exclude each other; "
                "set one of them"
            )
        rollout_steps = storage.num_transitions_per_env
        if not use_dagger and gradient_length > num_learning_epochs * rollout_steps:
            raise ValueError(
                f"gradient_length must be at most num_learning_epochs * num_steps_per_env "
                f"({num_learning_epochs * rollout_steps}), or no gradient step is ever made; got {gradient_length}"
            )
        # rsl_rl's update is not used with DAgger: keep its warning about left-over steps silent.
        stock_length = 1 if use_dagger else gradient_length
        super().__init__(
            student,
            teacher,
            storage,
            num_learning_epochs=num_learning_epochs,
            gradient_length=stock_length,
            max_grad_norm=max_grad_norm,
            **stock_options,
        )
        self.gradient_length = gradient_length
        self.schedule = TwoStageSchedule(phase1_iterations if use_two_stage_training else 0)
        self.use_dagger = use_dagger
        self.num_mini_batches = num_mini_batches
        self.mini_batch_size = mini_batch_size
        self.max_updates_per_iteration = max_updates_per_iteration
        self.rollout_size = rollout_steps * storage.num_envs
        self.history: AggregatedBuffer | None = None
        if use_dagger:
            self._create_history(max_buffer_size)
        elif num_mini_batches or mini_batch_size or max_updates_per_iteration:
            self._say("use_dagger is off: num_mini_batches, mini_batch_size and max_updates_per_iteration unused")
        if teacher_checkpoint is not None:
            self._load_teacher(teacher_checkpoint)

    @property
    def iteration(self) -> int:
        """Number of iterations completed so far, also before a resumed run."""
        return self.num_updates

    @property
    def phase(self) -> int:
        """Phase of the iteration under way: 1, the teacher drives, or 2, the student drives."""
        return self.schedule.phase(self.iteration)

    def act(self, obs: TensorDict) -> torch.Tensor:
        """Compute both policies' actions and return those of the one that drives, shape (N, A)."""
        if self.storage.step == 0 and self.schedule.switches_at(self.iteration):
            self._announce_switch()
        # The student acts also where the teacher drives: its action is stored and its std is logged.
        student_actions = super().act(obs)
        if self.phase == TEACHER_PHASE:
            return self.transition.privileged_actions  # pyright: ignore
        return student_actions

    def process_env_step(
        self, obs: TensorDict, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]
    ) -> None:
        """Record one environment step, and hand the metrics of this iteration to the runner's logger."""
        self._log_metrics(extras)
        if not self.use_dagger:
            super().process_env_step(obs, rewards, dones, extras)
            return
        # As rsl_rl, but the normaliser is updated from the history and nowhere else (5.4 does it here).
        self.transition.rewards = rewards
        self.transition.dones = dones
        self.storage.add_transition(self.transition)
        self.transition.clear()
        self.student.reset(dones)
        self.teacher.reset(dones)

    def update(self) -> dict[str, float]:
        """Train the student and return the mean loss as ``behavior``."""
        if self.history is None:
            return super().update()
        self._aggregate()
        losses = [self._gradient_step(batch) for batch in self._mini_batches(self.history)]
        self.num_updates += 1
        self.storage.clear()
        return {"behavior": torch.stack(losses).mean().item()}

    def save(self) -> dict[str, Any]:
        """Return models, optimiser and progress, without the history, which :class:`DaggerRunner` saves."""
        progress = {"version": _STATE_VERSION, "iteration": self.iteration}
        return super().save() | {"dagger_state_dict": progress}

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Load a teacher from a PPO run's checkpoint, or everything from a distillation run's.

        Args:
            loaded_dict: The checkpoint.
            load_cfg: Which parts to load; ``actor`` means the student, as in play scripts written for PPO.
            strict: Whether missing and unexpected weights are errors.

        Returns:
            Whether the runner should take over the checkpoint's iteration.

        Raises:
            CheckpointError: If the weights do not fit or the file is from a newer version.
        """
        if load_cfg is not None and load_cfg.get("actor"):
            load_cfg = {**load_cfg, "student": True}
        progress = loaded_dict.get("dagger_state_dict", {"version": _STATE_VERSION})
        if progress["version"] > _STATE_VERSION:
            raise CheckpointError(
                f"the checkpoint has version {progress['version']}, this release reads up to {_STATE_VERSION}; "
                "upgrade foundation-distill"
            )
        try:
            load_iteration = super().load(loaded_dict, load_cfg, strict)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"the checkpoint does not fit the configured models: {reason}") from error
        if load_iteration:
            self.num_updates = progress.get("iteration", loaded_dict.get("iter", -1) + 1)
        return load_iteration

    def _create_history(self, max_buffer_size: int) -> None:
        if self.student.is_recurrent or self.teacher.is_recurrent:
            raise ValueError(
                "use_dagger=True trains feed-forward students of feed-forward teachers, got "
                f"{type(self.student).__name__} and {type(self.teacher).__name__}; use MLPModel, or "
                "use_dagger=False"
            )
        if max_buffer_size < self.rollout_size:
            raise ValueError(
                f"max_buffer_size must be at least one rollout ({self.rollout_size} = num_envs * "
                f"num_steps_per_env), got {max_buffer_size}"
            )
        example = self._rollout(TEACHER_PHASE)[:1]
        check_fits(max_buffer_size, transition_bytes(dict(example.items())), self.device, self._say)
        self.history = AggregatedBuffer(example, max_buffer_size, self.device)
        self._say(f"Initialized aggregated buffer with capacity: {self.history.capacity} transitions")
        self._say(f"Maximum buffer size: {max_buffer_size} transitions")

    def _rollout(self, phase: int) -> TensorDict:
        """Return the storage's transitions, flat, oldest first, with the observations the student sees."""
        storage = self.storage
        fields = {f"obs/{group}": storage.observations[group] for group in self.student.obs_groups}
        fields["teacher_actions"] = storage.privileged_actions
        fields["student_actions"] = storage.actions
        fields["dones"] = storage.dones.squeeze(-1).bool()
        fields["phase"] = torch.full_like(fields["dones"], phase, dtype=torch.uint8)
        flat = {name: values.flatten(0, 1) for name, values in fields.items()}
        return TensorDict(flat, batch_size=[self.rollout_size], device=self.device)

    def _student_obs(self, batch: TensorDict) -> TensorDict:
        groups = {group: batch[f"obs/{group}"] for group in self.student.obs_groups}
        return TensorDict(groups, batch_size=batch.batch_size, device=self.device)

    def _aggregate(self) -> None:
        assert self.history is not None
        rollout = self._rollout(self.phase)
        self.history.append(rollout)
        # Running statistics over every rollout are the statistics of all data ever aggregated.
        self.student.update_normalization(self._student_obs(rollout))

    def _mini_batches(self, history: AggregatedBuffer) -> Iterator[TensorDict]:
        size = self.mini_batch_size or DEFAULT_MINI_BATCH_SIZE
        if self.num_mini_batches is not None:
            size = -(-len(history) // self.num_mini_batches)
        count = self.num_learning_epochs * history.num_mini_batches(size)
        if self.max_updates_per_iteration is not None:
            count = min(count, self.max_updates_per_iteration)
        return history.mini_batches(size, count)

    def _gradient_step(self, batch: TensorDict) -> torch.Tensor:
        with torch.autocast(
            torch.device(self.device).type,
            enabled=getattr(self, "use_mixed_precision", False),
            dtype=torch.bfloat16,
        ):
            loss = self.loss_fn(self.student(self._student_obs(batch)), batch["teacher_actions"])
        self.optimizer.zero_grad()
        loss.backward()
        if self.is_multi_gpu:
            self.reduce_parameters()
        if self.max_grad_norm:
            nn.utils.clip_grad_norm_(self.student.parameters(), self.max_grad_norm)
        self.optimizer.step()
        return loss.detach()

    def _log_metrics(self, extras: dict[str, Any]) -> None:
        metrics = {"Distillation/training_phase": float(self.phase)}
        if self.history is not None:
            size = min(len(self.history) + self.rollout_size, self.history.max_size)
            metrics["Distillation/buffer_size"] = float(size)
            metrics["Distillation/buffer_capacity"] = float(self.history.capacity_for(size))
        # rsl_rl logs one of the two, the first that is there.
        key = "episode" if "episode" in extras else "log"
        extras[key] = {**extras.get(key, {}), **metrics}

    def _load_teacher(self, path: str) -> None:
        state = load_checkpoint(path, map_location=self.device)
        weights = state.get("actor_state_dict") or state.get("teacher_state_dict")
        if weights is None:
            raise CheckpointError(
                f"teacher_checkpoint {path} holds neither an actor nor a teacher: {sorted(state)}"
            )
        load_weights(self._raw_teacher, weights, f"teacher_checkpoint {path}")
        self.teacher_loaded = True

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


def _reject_unknown(options: dict[str, Any]) -> None:
    """Raise on options that rsl_rl's ``Distillation`` would swallow."""
    stock = set(inspect.signature(Distillation.__init__).parameters) - {"self", "kwargs"}
    own = set(inspect.signature(DaggerDistillation.__init__).parameters) - {"self", "stock_options"}
    # rsl_rl's construct_algorithm always passes these two, as None.
    passed_as_none = {"rnd_cfg", "symmetry_cfg"}
    for name, value in options.items():
        if name in stock or (name in passed_as_none and value is None):
            continue
        near = difflib.get_close_matches(name, stock | own, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"DaggerDistillation got an unknown option {name!r}{hint}")
