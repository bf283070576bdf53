"""rsl_rl's runner for long runs: best model, exact resume, and checkpoints that survive a crash."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rsl_rl.env import VecEnv

from foundation.distill import ranks
from foundation.distill.algorithm.nan_report import NonFiniteError
from foundation.distill.checkpoint.random_state import rng_state, set_rng_state
from foundation.distill.checkpoint.run_state import RunState
from foundation.distill.history.buffer import RowBuffer
from foundation.distill.log import logger
from foundation.distill.runners.best_model import BestModel
from foundation.distill.runners.checkpointing import Checkpoints
from foundation.distill.runners.continued import ContinuedRunner
from foundation.distill.runners.environment import ResumableEnvironment
from foundation.distill.runners.logger import RunLogger
from foundation.distill.runners.report import IterationReport
from foundation.distill.runners.stop_request import StopRequest


class BaseRunner(ContinuedRunner):
    """The features of long runs, as members: ``checkpoints``, ``best``, ``logger`` and a stop request.

    The configuration may hold, besides rsl_rl's, ``keep_last`` and ``keep_every``, and mjlab's
    ``upload_model``: False keeps checkpoints from the logging service.
    """

    logger: RunLogger

    def __init__(self, env: VecEnv, train_cfg: dict, log_dir: str | None = None, device: str = "cpu") -> None:
        """Construct as rsl_rl does, and add the features."""
        super().__init__(env, train_cfg, log_dir, device)
        self.logger = RunLogger(
            self._report,
            self._on_start,
            self._on_iteration,
            log_dir=log_dir,
            cfg=self.cfg,
            env_cfg=self.env.cfg,
            num_envs=self.env.num_envs,
            is_distributed=self.is_distributed,
            gpu_world_size=self.gpu_world_size,
            gpu_global_rank=self.gpu_global_rank,
            device=self.device,
        )
        self.environment = ResumableEnvironment(env)
        self.checkpoints = Checkpoints(self, self.cfg)
        self.after_save: list[Callable[[Path], None]] = []
        """Called with the path of every checkpoint that has been written, ``best_model.pt`` included."""
        episodes = min(self.env.num_envs, self.logger.rewbuffer.maxlen or 1)
        self.best = BestModel(self._save_best, episodes)
        self.last_completed_iteration = -1
        self.first_iteration = 0
        """First iteration of the last call of :meth:`learn`."""
        self._stop = StopRequest()

    def _configure_multi_gpu(self) -> None:
        """Join the processes that torchrun has started, on CPUs too; see rsl_rl.

        Raises:
            ValueError: If the device is a GPU of another process.
        """
        if ranks.launched_size() == 1:
            super()._configure_multi_gpu()
            return
        device, local = torch.device(self.device), os.environ.get("LOCAL_RANK", "0")
        if device.type != "cpu" and str(device) != f"cuda:{local}":
            raise ValueError(f"process {local} of this machine trains on cuda:{local} or cpu, got {device}")
        self.cfg["multi_gpu"] = described = ranks.join(device)
        self.is_distributed, self.gpu_world_size = True, described["world_size"]
        self.gpu_local_rank, self.gpu_global_rank = described["local_rank"], described["global_rank"]

    @property
    def best_mean_reward(self) -> float:
        """Mean return of the best policy so far; minus infinity before the first."""
        return self.best.mean_reward

    @property
    def last_checkpoint(self) -> Path | None:
        """Newest checkpoint from which the run can continue exactly; None before the first."""
        return self.checkpoints.last

    @property
    def last_saved_iteration(self) -> int:
        """Last iteration that is in :attr:`last_checkpoint`."""
        return self.checkpoints.last_iteration

    @property
    def run_dir(self) -> Path | None:
        """The run's folder; None if the run saves nothing."""
        if self.logger.log_dir is None or self.logger.disable_logs:
            return None
        return Path(self.logger.log_dir)

    @property
    def shard_dir(self) -> Path | None:
        """The run's folder as the first process has it, for what other processes save; None without one."""
        return self.run_dir

    @property
    def saves_together(self) -> bool:
        """Whether every process of the run takes part in a save, and not the first alone."""
        return False

    @property
    def history(self) -> RowBuffer | None:
        """The history whose rows belong to a checkpoint; None without one."""
        return None

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Run the learning loop; see rsl_rl.

        Args:
            num_learning_iterations: Iterations to run.
            init_at_random_ep_len: Whether to draw how far each environment is in its episode before the first
                iteration. Episodes that a checkpoint has restored go on as they were.

        Raises:
            TrainingStopped: After SIGINT or SIGTERM, when the iteration is finished and saved as
                ``last_checkpoint``.
            NonFiniteError: If there is NaN or infinity; the message names the file that reproduces it.
        """
        self.first_iteration = self.current_learning_iteration
        self._num_iterations = num_learning_iterations
        if init_at_random_ep_len and self.environment.is_restored:
            logger.info("[Resume] the restored episodes go on: init_at_random_ep_len does not draw their lengths")
            init_at_random_ep_len = False
        self.environment.is_restored = False
        self.best.hand_on(self.run_dir)
        with StopRequest() as self._stop:
            try:
                self._learn(num_learning_iterations, init_at_random_ep_len)
                # A signal may have come while the last checkpoint was being written.
                self._stop.check()
            except KeyboardInterrupt:
                self._save_interrupted()
                raise
            except NonFiniteError as error:
                if self.run_dir is not None:
                    error.keep(self.run_dir / f"not_finite_{self.last_completed_iteration + 1}.pt")
                raise
        # rsl_rl would repeat the last iteration in the next call.
        self.current_learning_iteration = self.last_completed_iteration + 1

    def _learn(self, num_learning_iterations: int, init_at_random_ep_len: bool) -> None:
        """Run the loop itself."""
        super().learn(num_learning_iterations, init_at_random_ep_len)

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write a checkpoint whole or not at all; see :class:`Checkpoints`.

        With several processes a numbered checkpoint in the run's folder needs all of them.
        """
        target = Path(path)
        if self.checkpoints.has(target) or not self.checkpoints.save(target, infos):
            return
        if self.cfg.get("upload_model", True):
            self.logger.save_model(path, max(self.last_completed_iteration, 0))
        if self.after_save:
            self._call_after_save(target)

    def _save_best(self, path: Path) -> bool:
        """Save as any checkpoint, also where a host overrides ``save``; return whether it was written."""
        self.save(str(path))
        return self.checkpoints.failed != path

    def _call_after_save(self, path: Path) -> None:
        """Call the hooks; the run goes on as it would without them, even if one fails."""
        with self.undisturbed():
            for hook in self.after_save:
                try:
                    hook(path)
                except Exception as error:  # a hook may raise anything
                    name, reason = getattr(hook, "__qualname__", type(hook).__name__), " ".join(str(error).split())
                    logger.warning(
                        f"[Checkpoint] {name} failed after {path.name} was saved, training goes on: "
                        f"{type(error).__name__}: {reason}"
                    )

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Restore random states, and the modes of all modules, when something of a host's is done."""
        rng = rng_state(self.device)
        modules = [part for part in vars(self.alg).values() if isinstance(part, torch.nn.Module)]
        modes = [module.training for module in modules]
        try:
            yield
        finally:
            set_rng_state(rng, self.device)
            for module, mode in zip(modules, modes, strict=True):
                module.train(mode)

    def weights(self, infos: dict | None) -> dict[str, Any]:
        """Return the contents of ``model_<iteration>.pt``."""
        return self.alg.save() | {"iter": self.last_completed_iteration, "infos": infos}

    @abstractmethod
    def run_state(self) -> RunState:
        """Return everything else that the next iteration reads, without the history's rows."""

    def _common_state(self) -> dict[str, Any]:
        """Return the fields of :class:`RunState`."""
        return {
            "rng": rng_state(self.device),
            "env": self.environment.state(),
            "env_training": self.environment.training_state(),
            "counters": self.logger.counters_state(),
            "episodes": self.logger.episodes_state(),
            "best_mean_reward": self.best_mean_reward,
        }

    @abstractmethod
    def _report(self, it: int, total_it: int) -> IterationReport:
        """Return the report of an iteration, without loss, reward and console lines."""

    def _counts_for_best(self, it: int) -> bool:
        """Return whether the mean return measures the policy that would be saved."""
        return True

    def _save_interrupted(self) -> None:
        self._save_numbered(max(self.last_completed_iteration, 0))
        if self.run_dir is not None:
            self.logger.stop_logging_writer()

    def _save_numbered(self, it: int) -> None:
        if self.run_dir is not None:
            self.save(str(self.run_dir / f"model_{it}.pt"))
            return
        # A host's ``save`` may do what only the first process is to do, such as writing ONNX.
        target = None if self.shard_dir is None else self.shard_dir / f"model_{it}.pt"
        if target is not None and not self.checkpoints.has(target):
            self.checkpoints.save(target)

    def _on_start(self) -> None:
        # Not earlier: starting the logging service may draw random numbers.
        if self._rng_to_restore is not None:
            set_rng_state(self._rng_to_restore, self.device)
            self._rng_to_restore = None

    def _on_iteration(self, it: int) -> None:
        self._after_iteration(it)
        self._stop.check()

    def _after_iteration(self, it: int) -> None:
        self.last_completed_iteration = it
        counts, run_dir = self._counts_for_best(it), self.run_dir
        if run_dir is None:
            return
        if counts:
            self.best.update(run_dir, self.logger.rewbuffer)
        if it + 1 == self.first_iteration + self._num_iterations:
            self.best.save_last(run_dir)
