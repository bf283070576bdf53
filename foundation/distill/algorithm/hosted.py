"""The algorithm's dealings with the runner: construction, the beginning of a run, console lines and metrics."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from rsl_rl.algorithms import Distillation
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from rsl_rl.utils.logger import Logger
from tensordict import TensorDict

from foundation.distill import ranks
from foundation.distill.algorithm.label_range import action_range
from foundation.distill.algorithm.mixing import TeacherSchedule
from foundation.distill.algorithm.resumable import ResumableDistillation
from foundation.distill.checkpoint import CheckpointError
from foundation.distill.log import logger
from foundation.distill.metrics import IterationMetrics
from foundation.distill.phases import TEACHER_PHASE
from foundation.distill.runner_keys import check_runner_cfg

_CALLERS = 4
"""Callers to inspect: a subclass may override ``train_mode``."""


class HostedDistillation(ResumableDistillation):
    """rsl_rl's ``Distillation`` that knows the run in which it trains."""

    schedule: TeacherSchedule
    """Who acts, iteration by iteration."""
    metrics: IterationMetrics
    """The iteration's metrics for the logger."""
    missing_teacher: str | None = None
    """The file of ``teacher_checkpoint`` that does not exist."""
    _run_length: int | None = None

    @staticmethod
    def construct_algorithm(obs: TensorDict, env: VecEnv, cfg: dict, device: str) -> HostedDistillation:
        """Construct the algorithm as rsl_rl does, from an environment and a runner's configuration.

        Raises:
            ValueError: If the configuration is one of rsl_rl 3, or lacks a model.
        """
        check_runner_cfg(cfg)
        alg = Distillation.construct_algorithm(obs, env, cfg, device)
        assert isinstance(alg, HostedDistillation)
        alg.label_range.set_applied(action_range(env))
        if alg.recorded_labels is not None:
            alg.recorded_labels.check(env)
        alg.set_run_length(cfg.get("max_iterations"))
        return alg

    def set_run_length(self, iterations: int | None) -> None:
        """Set the number of iterations of which a ``phase1_iterations`` below 1 is a share."""
        self._run_length = iterations
        self.schedule = self.mixer.schedule = self.options.schedule(iterations)

    def begin_run(self, first: int, end: int) -> None:
        """Begin with iteration ``first`` a run of which ``end`` is the first iteration that is not run.

        Warns if the student will never act.
        """
        if self._run_length is None:
            self.set_run_length(end)
        if self.lacks_its_history and self.gpu_global_rank == 0:
            begun = "an empty history" if self.options.init_dataset is None else "init_dataset as its history"
            logger.warning(
                f"[DAgger] the run continues at iteration {first} with {begun}, as rsl_rl's own runner "
                "restores models and optimiser only: the student is not trained on its earlier rollouts; use "
                "foundation.distill:DaggerRunner to continue with the history"
            )
        self.lacks_its_history = False
        if first < end and self.schedule.phase(end - 1) == TEACHER_PHASE:
            logger.warning(
                "[DAgger] the run ends before the student ever acts: "
                f"phase1_iterations={self.options.phase1_iterations}, and the last iteration is {end - 1}. So it "
                "never learns to correct its own errors; set phase1_iterations to a share of the run, such as "
                "0.05, or train longer"
            )

    def train_mode(self) -> None:
        """Set the student to train mode and the teacher to evaluation mode; rsl_rl's runner begins a run so."""
        iterations = iterations_of_caller()
        if iterations is not None:
            self.require_teacher()
            self.begin_run(*iterations)
        super().train_mode()

    def require_teacher(self) -> None:
        """Check that there is a teacher to learn from.

        Raises:
            CheckpointError: If the file that should hold it does not exist.
            ValueError: If none was loaded.
        """
        if self.teacher_loaded:
            return
        if self.missing_teacher is not None:
            raise CheckpointError(
                f"teacher_checkpoint {self.missing_teacher} does not exist; give the path of a file"
            )
        raise ValueError(
            "no teacher is loaded; load its checkpoint or set teacher_checkpoint. A teacher that needs none, "
            "such as a controller, has a class attribute needs_checkpoint = False"
        )

    @property
    def phase(self) -> int:
        """Phase of the iteration under way: 1 while only the teacher acts, 2 once the student takes part."""
        return self.schedule.phase(self.iteration)

    def begin_rollout(self) -> None:
        """Announce the switch to phase 2 in the iteration that begins it.

        Raises:
            ValueError: If no teacher was loaded.
        """
        self.require_teacher()
        if self.schedule.switches_at(self.iteration):
            rule = "=" * 80
            self._print(
                f"{rule}\n{rule}\n"
                "  SWITCHING TO PHASE 2: Now using STUDENT actions to update environment\n"
                f"  Iteration: {self.iteration}\n"
                f"{rule}\n{rule}"
            )

    def reduce_parameters(self) -> None:
        """Average the gradients over all ranks; see rsl_rl.

        Raises:
            LostRankError: If another process of the run has ended.
        """
        with ranks.lost_ranks_named():
            super().reduce_parameters()

    def broadcast_parameters(self) -> None:
        """Give all ranks the weights of the first; see rsl_rl.

        Raises:
            LostRankError: If another process of the run has ended.
        """
        with ranks.lost_ranks_named():
            super().broadcast_parameters()

    def log_metrics(self, extras: dict[str, Any]) -> None:
        """Add this iteration's metrics to those that the environment gives to the logger, until the next step."""
        self.metrics.add(extras, self.phase)

    def _log(self, message: str) -> None:
        self._print(f"[DAgger] {message}")

    def _print(self, message: str) -> None:
        if self.gpu_global_rank == 0:
            logger.info(message)


def require_noise(student: MLPModel) -> None:
    """Refuse a student without action noise, whose standard deviation rsl_rl's runner logs in every iteration.

    Raises:
        ValueError: If it has none, and no ``output_std`` of its own.
    """
    if getattr(student, "distribution", None) is None and type(student).output_std is MLPModel.output_std:
        raise ValueError(
            "student.distribution_cfg is None, but rsl_rl's runner logs a student's standard deviation; set it to "
            "{class_name: GaussianDistribution, init_std: 0.1}"
        )


def iterations_of_caller() -> tuple[int, int] | None:
    """Return the first iteration of the run that is about to begin, and the first one after it.

    rsl_rl's runner tells its algorithm neither; but its ``learn`` calls ``train_mode``, whose callers are
    inspected here. None if none of them is a runner's ``learn``.
    """
    frame = inspect.currentframe()
    for _ in range(_CALLERS):
        frame = frame and frame.f_back
        if frame is None:
            break
        count = frame.f_locals.get("num_learning_iterations")
        first = getattr(frame.f_locals.get("self"), "current_learning_iteration", None)
        if isinstance(first, int) and isinstance(count, int):
            return first, first + count
    return None


def require_rows(rewards: torch.Tensor, dones: torch.Tensor) -> None:
    """Refuse rewards and done flags of shape (N, 1) where rsl_rl's own logger reads them, and would misread them.

    Raises:
        ValueError: If the logger of a calling runner is rsl_rl's own, and writes a log.
    """
    if rewards.ndim == dones.ndim == 1:
        return
    frame = inspect.currentframe()
    for _ in range(_CALLERS):
        frame = frame and frame.f_back
        log = frame and getattr(frame.f_locals.get("self"), "logger", None)
        if type(log) is Logger and log.log_dir is not None:
            raise ValueError(
                f"rewards {tuple(rewards.shape)} and done flags {tuple(dones.shape)} must be of shape (N,) for "
                "rsl_rl's own logger; squeeze them in the environment, or use foundation.distill:DaggerRunner"
            )
