"""rsl_rl's runners for teachers and students, fit for long runs."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.modules import GaussianDistribution, HeteroscedasticGaussianDistribution
from rsl_rl.runners import DistillationRunner

from foundation.distill.buffer import AggregatedBuffer
from foundation.distill.checkpoint import (
    STUDENT,
    CheckpointError,
    check_models,
    checkpoint_kind,
    load_checkpoint,
    load_weights,
    moved,
)
from foundation.distill.collector import Collector
from foundation.distill.dagger import DaggerDistillation
from foundation.distill.display import announce
from foundation.distill.finite import gradient_norm, loss_error
from foundation.distill.long_run import LongRunMixin
from foundation.distill.observations import prepare_for_images
from foundation.distill.rollout_graph import check_recordable
from foundation.distill.run_logger import HookedLogger
from foundation.distill.schedule import TEACHER_PHASE


class PpoRunner(LongRunMixin):
    """rsl_rl's ``OnPolicyRunner`` for teachers, and for distilled students to be fine-tuned.

    The configuration may hold, besides rsl_rl's, ``anneal_from``, ``init_from``, ``init_noise_std`` and
    ``critic_warmup_iterations`` of :class:`~foundation.distill.RslRlOnPolicyRunnerCfg`.
    """

    def __init__(self, env: VecEnv, train_cfg: dict, log_dir: str | None = None, device: str = "cpu") -> None:
        """Construct as rsl_rl does, then let the actor start from the student of ``init_from``.

        Raises:
            CheckpointError: If that checkpoint cannot be used.
            ValueError: If the actor's distribution cannot have ``init_noise_std``.
        """
        super().__init__(env, train_cfg, log_dir, device)
        prepare_for_images(self.alg.get_policy(), env.get_observations())
        self.alg.optimizer.register_step_pre_hook(self._refuse_non_finite_gradients)
        if self.cfg.get("init_from") is not None:
            self._load_student(self.cfg["init_from"])
            if self.cfg.get("init_noise_std") is not None:
                self._set_noise(self.cfg["init_noise_std"])

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Run the learning loop; the first ``critic_warmup_iterations`` leave the actor as it is."""
        # A run that had ended left a learning rate that belongs to its end.
        self._anneal(self.current_learning_iteration, self.current_learning_iteration + num_learning_iterations)
        with contextlib.ExitStack() as self._warmup:
            if self.current_learning_iteration < self._warmup_iterations:
                self._warmup.enter_context(self._frozen_actor())
            super().learn(num_learning_iterations, init_at_random_ep_len)

    def _check_models(self, state: dict[str, Any], path: str, load_cfg: dict | None, strict: bool) -> None:
        models = {"actor": self.alg.actor, "critic": self.alg.critic}
        check_models(models, state, load_cfg, strict, f"checkpoint {path}: its")

    def _refuse_non_finite_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if not math.isfinite(gradient_norm(parameters).item()):
            weights = {"actor_state_dict": self.alg.actor.state_dict(), "optimizer": optimizer.state_dict()}
            raise loss_error(self.last_completed_iteration + 1, None, weights)

    @property
    def _warmup_iterations(self) -> int:
        return self.cfg.get("critic_warmup_iterations", 0)

    def _load_student(self, path: str) -> None:
        state = load_checkpoint(path, self.device)
        if checkpoint_kind(state, path) != STUDENT:
            raise CheckpointError(f"init_from {path} holds a teacher, expected a student; load it to continue it")
        actor, weights = self.alg.get_policy(), state["student_state_dict"]
        here, there = self._num_inputs(actor.state_dict()), self._num_inputs(weights)
        if here[0] == there[0] and here[1] != there[1]:
            raise CheckpointError(
                f"init_from {path} holds a student of {there[1]} inputs, but the environment's observation groups "
                f"{', '.join(actor.obs_groups)} have {here[1]}; configure environment and groups as in its run"
            )
        load_weights(actor, weights, f"init_from {path}")

    @staticmethod
    def _num_inputs(weights: dict[str, torch.Tensor]) -> tuple[str, int]:
        """Return the name of a model's first layer, and how many values it reads."""
        for first in ("rnn.rnn.weight_ih_l0", "mlp.0.weight"):
            if first in weights:
                return first, weights[first].shape[1]
        return "", 0

    def _set_noise(self, std: float) -> None:
        distribution = self.alg.get_policy().distribution
        if not isinstance(distribution, GaussianDistribution) or isinstance(
            distribution, HeteroscedasticGaussianDistribution
        ):
            raise ValueError(
                f"init_noise_std={std} needs an actor with a GaussianDistribution, whose noise does not depend on "
                f"the observation; this one has a {type(distribution).__name__}"
            )
        low, high = distribution.std_range
        if not low <= std <= high:
            raise ValueError(f"init_noise_std must lie in the distribution's std_range [{low}, {high}], got {std}")
        with torch.no_grad():
            if distribution.std_type == "log":
                distribution.log_std_param.fill_(math.log(std))
            else:
                distribution.std_param.fill_(std)

    @contextlib.contextmanager
    def _frozen_actor(self) -> Iterator[None]:
        """Keep PPO from changing the actor's weights, noise and normaliser, and the learning rate."""
        actor = self.alg.get_policy()
        trained = [parameter for parameter in actor.parameters() if parameter.requires_grad]
        normalizes, schedule = actor.obs_normalization, self.alg.schedule
        for parameter in trained:
            parameter.requires_grad_(False)
        # Whether a model normalises is up to its normaliser; this says whether that one learns.
        actor.obs_normalization = False
        # The adaptive schedule would take a policy that does not change for one that changes too slowly.
        self.alg.schedule = "fixed"
        try:
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)
            actor.obs_normalization, self.alg.schedule = normalizes, schedule

    def _status(self, it: int, total_it: int) -> str:
        warmup = self._warmup_iterations
        return f"Critic Warm-up: {it}/{warmup} (the actor is frozen)\n\n" if it < warmup else ""

    def _extra_state(self) -> dict[str, Any]:
        hidden = [moved(model.get_hidden_state(), "cpu") for model in (self.alg.actor, self.alg.critic)]
        return {"hidden": hidden, "learning_rate": self.alg.learning_rate}

    def _load_extra_state(
        self, state: dict[str, Any], continues: bool, parts: Iterable[tuple[torch.Tensor, torch.Tensor]]
    ) -> None:
        # The adaptive schedule goes on from it; rsl_rl 5.4 does not restore it.
        self.alg.learning_rate = state["learning_rate"]
        if continues:
            for model, hidden in zip((self.alg.actor, self.alg.critic), state["hidden"], strict=True):
                model.reset(hidden_state=moved(hidden, self.device))

    def _after_iteration(self, it: int) -> None:
        super()._after_iteration(it)
        if it + 1 >= self._warmup_iterations:
            self._warmup.close()
        self._anneal(it + 1, self.first_iteration + self._num_iterations)

    def _anneal(self, completed: int, total: int) -> None:
        anneal_from = self.cfg.get("anneal_from", 1.0)
        if anneal_from >= 1.0:
            return
        share = min(1.0, (1.0 - completed / total) / (1.0 - anneal_from))
        self.alg.learning_rate = self.cfg["algorithm"]["learning_rate"] * share
        for group in self.alg.optimizer.param_groups:
            group["lr"] = self.alg.learning_rate


class _CollectorLoop(DistillationRunner):
    """rsl_rl's learning loop, with rollouts collected by a :class:`~foundation.distill.collector.Collector`."""

    logger: HookedLogger

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        if not self.alg.teacher_loaded:
            raise ValueError("no teacher is loaded; load its checkpoint or set teacher_checkpoint")
        if init_at_random_ep_len:
            lengths = self.env.episode_length_buf
            self.env.episode_length_buf = torch.randint_like(lengths, high=int(self.env.max_episode_length))
        obs = self.env.get_observations().to(self.device)
        self.alg.train_mode()
        if self.is_distributed:
            self.alg.broadcast_parameters()
        self.logger.init_logging_writer()
        collector = Collector(
            self.env,
            self.alg,  # pyright: ignore
            self.logger,
            self.device,
            self.cfg.get("check_for_nan", True),
            self.cfg.get("cuda_graph", False),
        )
        first = self.current_learning_iteration
        for it in range(first, first + num_learning_iterations):
            start = time.time()
            obs = collector.collect(obs)
            collected = time.time()
            losses = self.alg.update()
            self.logger.count_rollout()
            learned = time.time()
            self.current_learning_iteration = it
            self.logger.log(
                it=it,
                start_it=first,
                total_it=first + num_learning_iterations,
                collect_time=collected - start,
                learn_time=learned - collected,
                loss_dict=losses,
                learning_rate=self.alg.learning_rate,
                action_std=self.alg.get_policy().output_std,
                rnd_weight=None,
            )
            if self.logger.writer is not None and it % self.cfg["save_interval"] == 0:
                self.save(os.path.join(self.logger.log_dir, f"model_{it}.pt"))  # pyright: ignore
        if self.logger.writer is not None:
            self.save(os.path.join(self.logger.log_dir, f"model_{self.current_learning_iteration}.pt"))  # pyright: ignore
            self.logger.stop_logging_writer()


class DaggerRunner(LongRunMixin, _CollectorLoop):
    """rsl_rl's ``DistillationRunner`` that shows phase and history, and keeps them across a resume.

    The configuration may hold, besides rsl_rl's, ``cuda_graph`` of
    :class:`~foundation.distill.RslRlDistillationRunnerCfg`. That needs an environment with a true attribute
    ``capturable``: its ``step`` only queues work on the GPU, and keeps its state in the same memory.
    """

    alg: DaggerDistillation  # pyright: ignore

    MOSTLY_STUDENT = 0.01
    """Largest share of the teacher's actions in rollouts whose reward counts as the student's."""
    _student_iterations = 0

    def __init__(self, env: VecEnv, train_cfg: dict, log_dir: str | None = None, device: str = "cpu") -> None:
        """Construct as rsl_rl does.

        Raises:
            ValueError: If an episode filter would have to hold back more than fits, nobody looks for the NaN that
                is to be skipped, or rollouts cannot be recorded as ``cuda_graph`` wants.
        """
        super().__init__(env, train_cfg, log_dir, device)
        options = self.alg.options
        self.alg.guard.checks_rollouts = self.cfg.get("check_for_nan", True)
        if options.on_nan == "skip" and not self.alg.guard.checks_rollouts:
            raise ValueError("on_nan=skip has no effect with check_for_nan=False; set it to True")
        if self.cfg.get("cuda_graph", False):
            check_recordable(env, self.alg)
        most = env.num_envs * self._longest_episode
        if options.episode_filter is not None and options.max_buffer_size < most:
            raise ValueError(
                f"episode_filter holds episodes back until they end: max_buffer_size must be at least {most} "
                f"(num_envs * max_episode_length), got {options.max_buffer_size}"
            )

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Run the learning loop; see rsl_rl.

        Raises:
            ValueError: If the learning rate would reach zero before its end.
        """
        self.alg.learning_rates.check(self.current_learning_iteration + num_learning_iterations - 1)
        super().learn(num_learning_iterations, init_at_random_ep_len)

    @property
    def _longest_episode(self) -> int:
        return int(torch.as_tensor(self.env.max_episode_length).max())

    def _status(self, it: int, total_it: int) -> str:
        schedule = self.alg.schedule
        first = schedule.phase1_iterations
        if schedule.kind != "two_stage":
            probability = schedule.teacher_probability(it)
            lines = [
                f"Training Phase: {schedule.kind} schedule (teacher drives with probability {probability:.3f})"
            ]
        elif schedule.phase(it) == TEACHER_PHASE:
            lines = ["Training Phase: Phase 1 (teacher actions)", f"Phase Iteration: {it}/{first} (Phase 1)"]
        else:
            lines = ["Training Phase: Phase 2 (student actions)"]
            lines.append(f"Phase Iteration: {it - first}/{total_it - first} (Phase 2)")
        lines.append("")
        aggregation = self.alg.aggregation
        if aggregation is not None:
            lines.append(
                f"[DAgger] Aggregated {self.alg.rollout_size} transitions. "
                f"Total buffer size: {self.alg.buffer_size}/{self.alg.options.max_buffer_size}"
            )
            if aggregation.filter is not None:
                lines.append(f"[DAgger] {aggregation.filter.num_waiting()} rows wait for their episodes to end")
            lines.append("")
        return "\n".join(lines) + "\n"

    def _counts_for_best(self, it: int) -> bool:
        if self.alg.last_teacher_fraction > self.MOSTLY_STUDENT:
            self._student_iterations = 0
            return False
        self._student_iterations += 1
        alone = it + 1 == self._student_iterations
        mixed = 0 if alone else math.ceil(self._longest_episode / self.cfg["num_steps_per_env"])
        # Until here episodes may end that the teacher began: their reward is not the student's.
        if self._student_iterations == mixed:
            self.logger.clear_episodes()
        return self._student_iterations > mixed

    def _save_interrupted(self) -> None:
        if self.alg.guard.is_spoilt():
            announce("[Checkpoint] nothing is saved: NaN or infinity had been met before the interruption")
            return
        # rsl_rl's own update counts its iteration at its beginning.
        self.alg.num_updates = self.last_completed_iteration + 1
        super()._save_interrupted()

    def _history(self) -> AggregatedBuffer | None:
        return self.alg.history

    def _extra_state(self) -> dict[str, Any]:
        state = self.alg.training_state(with_rows=False)
        return {"algorithm": state, "student_iterations": self._student_iterations}

    def _load_extra_state(
        self, state: dict[str, Any], continues: bool, parts: Iterable[tuple[torch.Tensor, torch.Tensor]]
    ) -> None:
        try:
            self.alg.load_training_state(state["algorithm"], continues, parts)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        self._student_iterations = state["student_iterations"]
