"""The runner of students: DAgger and two-stage distillation."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import DistillationRunner

from foundation.distill import ranks
from foundation.distill.algorithm.distillation import DaggerDistillation
from foundation.distill.checkpoint import CheckpointError
from foundation.distill.checkpoint.manifest import Manifest, Shard
from foundation.distill.checkpoint.run_state import DaggerRunState
from foundation.distill.env_state import longest_episode
from foundation.distill.fast_paths import fastest
from foundation.distill.history.buffer import RowBuffer
from foundation.distill.history.dealing import deal
from foundation.distill.history.history_log import saved_rows
from foundation.distill.history.row_format import Parts
from foundation.distill.log import logger
from foundation.distill.rollout.collector import Collector
from foundation.distill.runners.base import BaseRunner
from foundation.distill.runners.report import IterationReport


class DaggerRunner(BaseRunner, DistillationRunner):
    """rsl_rl's ``DistillationRunner`` that reports phase and history, and keeps them across a resume.

    The configuration may hold, besides rsl_rl's, ``cuda_graph`` of
    :class:`~foundation.distill.RslRlDistillationRunnerCfg`. That needs an environment with a true attribute
    ``capturable``: its ``step`` only queues work on the GPU, and keeps its state in the same memory.
    """

    # DistillationRunner is a base for isinstance checks of hosts; its loop is replaced by _learn.
    alg: DaggerDistillation  # pyright: ignore

    MOSTLY_STUDENT = 0.01
    """Largest share of the teacher's actions in rollouts whose return counts as the student's."""
    _student_iterations = 0
    _shard_dir: Path | None = None

    def __init__(self, env: VecEnv, train_cfg: dict, log_dir: str | None = None, device: str = "cpu") -> None:
        """Construct as rsl_rl does.

        Raises:
            ValueError: If the algorithm is another one, an episode filter would have to hold back more than fits,
                NaN is to be skipped but not checked for, or rollouts cannot be recorded as ``cuda_graph`` wants.
        """
        super().__init__(env, train_cfg, log_dir, device)
        if not isinstance(self.alg, DaggerDistillation):
            raise ValueError(
                f"algorithm.class_name is {type(self.alg).__name__}, but DaggerRunner trains "
                "foundation.distill:DaggerDistillation; set it, or use rsl_rl's own runner or PpoRunner"
            )
        options = self.alg.options
        self.alg.nan_guard.checks_rollouts = self.cfg.get("check_for_nan", True)
        if options.on_nan == "skip" and not self.alg.nan_guard.checks_rollouts:
            raise ValueError("on_nan=skip has no effect with check_for_nan=False; set it to True")
        self._collector_class = fastest(Collector, options.use_fast_paths)
        self._collector_class.check_recordable(env, self.alg, self.cfg.get("cuda_graph", False))
        most = env.num_envs * longest_episode(env)
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
        if self.is_distributed:
            self._shard_dir, *_ = ranks.gathered(self.run_dir)
            ranks.require_same("iterations", (self.current_learning_iteration, num_learning_iterations))
        super().learn(num_learning_iterations, init_at_random_ep_len)

    def _learn(self, num_learning_iterations: int, init_at_random_ep_len: bool) -> None:
        """Run rsl_rl's loop, with rollouts collected by a collector of ours."""
        if init_at_random_ep_len:
            lengths = self.env.episode_length_buf
            self.env.episode_length_buf = torch.randint_like(lengths, high=longest_episode(self.env))
        obs = self.env.get_observations().to(self.device)
        # Begins the run, as it does under rsl_rl's runner.
        self.alg.train_mode()
        if self.is_distributed:
            self.alg.broadcast_parameters()
        self.logger.init_logging_writer()
        collector = self.make_collector()
        first = self.current_learning_iteration
        for it in range(first, first + num_learning_iterations):
            start = time.time()
            obs = collector.collect(obs)
            collected = time.time()
            losses = self.alg.update()
            self.logger.count_deferred_episodes()
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
            if it % self.cfg["save_interval"] == 0:
                self._save_numbered(it)
        self._save_numbered(self.current_learning_iteration)
        if self.logger.writer is not None:
            self.logger.stop_logging_writer()

    def make_collector(self) -> Collector:
        """Return the collector of this run's rollouts."""
        check_for_nan, cuda_graph = self.cfg.get("check_for_nan", True), self.cfg.get("cuda_graph", False)
        return self._collector_class(self.env, self.alg, self.logger, self.device, check_for_nan, cuda_graph)

    @property
    def shard_dir(self) -> Path | None:
        """The run's folder as the first process has it, for what other processes save; None without one."""
        return self._shard_dir if self.is_distributed else self.run_dir

    @property
    def saves_together(self) -> bool:
        """Whether every process of the run takes part in a save, and not the first alone."""
        return self.is_distributed

    @property
    def history(self) -> RowBuffer | None:
        """The history whose rows belong to a checkpoint; None without DAgger."""
        return self.alg.history

    def _report(self, it: int, total_it: int) -> IterationReport:
        alg, schedule = self.alg, self.alg.schedule
        episode_filter = None if alg.dataset is None else alg.dataset.filter
        return IterationReport(
            it,
            total_it,
            phase=schedule.phase(it),
            phase1_iterations=schedule.phase1_iterations,
            schedule=None if schedule.is_two_stage else schedule.kind,
            teacher_probability=schedule.teacher_probability(it),
            rollout_size=alg.rollout_size,
            buffer_size=None if alg.dataset is None else alg.buffer_size,
            max_buffer_size=alg.options.max_buffer_size,
            rows_held_back=None if episode_filter is None else episode_filter.num_held_back(),
        )

    def _counts_for_best(self, it: int) -> bool:
        if self.alg.last_teacher_fraction > self.MOSTLY_STUDENT:
            self._student_iterations = 0
            return False
        self._student_iterations += 1
        alone = it + 1 == self._student_iterations
        mixed = 0 if alone else math.ceil(longest_episode(self.env) / self.cfg["num_steps_per_env"])
        # Until here, episodes may end that the teacher began: their return is not the student's.
        if self._student_iterations == mixed:
            self.logger.clear_episodes()
        return self._student_iterations > mixed

    def _save_interrupted(self) -> None:
        if not self.alg.nan_guard.history_is_finite:
            logger.warning("[Checkpoint] nothing is saved: NaN or infinity had been met before the interruption")
            return
        # rsl_rl's own update increments the count when it begins.
        self.alg.num_updates = self.last_completed_iteration + 1
        super()._save_interrupted()

    def run_state(self) -> DaggerRunState:
        """Return everything besides the weights and the history's rows that the next iteration reads."""
        algorithm = self.alg.training_state(with_rows=False)
        return DaggerRunState(
            **self._common_state(), algorithm=algorithm, student_iterations=self._student_iterations
        )

    def _load_run_state(self, checkpoint: Path, manifest: Manifest | None, infos: Any) -> None:
        super()._load_run_state(checkpoint, manifest, infos)
        # Where there was no history to restore, it has been said.
        self.alg.lacks_its_history = False

    def _load_own_state(self, state: dict[str, Any], env_restored: bool, parts: Parts) -> None:
        try:
            self.alg.load_training_state(state["algorithm"], env_restored, parts)
        except ValueError as error:
            raise CheckpointError(str(error)) from error
        self._student_iterations = state["student_iterations"]

    def _load_dealt_state(self, shards: list[tuple[dict[str, Any], Shard]], run_dir: Path) -> None:
        histories = [
            (state["algorithm"]["aggregation"], saved_rows(run_dir, one.segments)) for state, one in shards
        ]
        self._student_iterations = shards[0][0]["student_iterations"]
        if self.alg.dataset is None or any(history is None for history, _ in histories):
            return
        try:
            deal(self.alg.dataset, histories, ranks.rank(), ranks.world_size())
        except ValueError as error:
            raise CheckpointError(str(error)) from error
