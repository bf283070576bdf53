"""rsl_rl's runners with what a long run needs: best model, exact resume, checkpoints that nothing can spoil."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner

from foundation.distill.buffer import AggregatedBuffer
from foundation.distill.checkpoint import CheckpointError, atomic_save, is_plain, load_checkpoint, moved
from foundation.distill.display import announce
from foundation.distill.finite import NonFiniteError, state_of
from foundation.distill.manifest import BEST_MODEL, RESUME_FOLDER, Manifest, is_numbered, manifest_path, prune
from foundation.distill.rng import rng_state, set_rng_state
from foundation.distill.run_logger import HookedLogger
from foundation.distill.segments import HistoryLog, saved_rows
from foundation.distill.signals import StopRequest

DEFAULT_KEEP_LAST, DEFAULT_KEEP_EVERY = 3, 1


class LongRunMixin(OnPolicyRunner):
    """Best model, atomic checkpoints, exact resume and clean interruption for any rsl_rl runner.

    The configuration may hold, besides rsl_rl's, ``keep_last`` and ``keep_every``.
    """

    def __init__(self, env: VecEnv, train_cfg: dict, log_dir: str | None = None, device: str = "cpu") -> None:
        """Construct as rsl_rl does, with a logger that reports each iteration's end."""
        super().__init__(env, train_cfg, log_dir, device)
        self.logger = HookedLogger(
            self._status,
            self._begin,
            self._end_iteration,
            log_dir=log_dir,
            cfg=self.cfg,
            env_cfg=self.env.cfg,
            num_envs=self.env.num_envs,
            is_distributed=self.is_distributed,
            gpu_world_size=self.gpu_world_size,
            gpu_global_rank=self.gpu_global_rank,
            device=self.device,
        )
        self.best_mean_reward = -math.inf
        self.last_completed_iteration = -1
        self.last_checkpoint: Path | None = None
        """Newest checkpoint that was saved with all that continuing needs; None before the first."""
        self.last_saved_iteration = -1
        """Last iteration that is in it."""
        self.first_iteration = 0
        """Iteration that the newest :meth:`learn` began with."""
        self._stop = StopRequest()
        self._history_log: HistoryLog | None = None
        self._resume_rng: dict[str, Any] | None = None
        self._inherited_best: Path | None = None
        self._env_state_refused = False

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Run the learning loop; see rsl_rl.

        Raises:
            TrainingStopped: After SIGINT or SIGTERM, when the iteration is finished and saved as
                ``last_checkpoint``.
            NonFiniteError: If there is NaN or infinity; the message tells where what was seen is saved.
        """
        self.first_iteration = self.current_learning_iteration
        self._num_iterations = num_learning_iterations
        self._hand_on_best()
        with StopRequest() as self._stop:
            try:
                super().learn(num_learning_iterations, init_at_random_ep_len)
                # One that came while the last checkpoint was being written.
                self._stop.check()
            except KeyboardInterrupt:
                self._save_interrupted()
                raise
            except NonFiniteError as error:
                if self._saves:
                    error.keep(self._path(f"not_finite_{self.last_completed_iteration + 1}.pt"))
                raise
        # rsl_rl would begin another call with the iteration that this one ended with.
        self.current_learning_iteration = self.last_completed_iteration + 1

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write a checkpoint whole or not at all; one with a number with all that continuing the run needs.

        That is ``model_<iteration>.pt`` in the run's folder; elsewhere, and by another name, it is the weights.

        A disk that is full or gone costs this checkpoint and a warning. Earlier ones stay, and the next one is
        tried again.
        """
        self._save(Path(path), infos)

    def _save(self, target: Path, infos: dict | None = None) -> bool:
        """Do what :meth:`save` says, and return whether the checkpoint was written."""
        try:
            if self._saves and is_numbered(target) and target.parent.resolve() == self._path("").resolve():
                self._save_complete(target, infos)
            else:
                self._save_weights(target, infos)
        except OSError as error:
            newest = (
                "this run has none yet"
                if self.last_checkpoint is None
                else f"the newest is {self.last_checkpoint}"
            )
            announce(f"[Checkpoint] {target.name} was not saved, training goes on; {newest}: {error}")
            return False
        self.logger.save_model(str(target), max(self.last_completed_iteration, 0))
        return True

    def load(
        self, path: str, load_cfg: dict | None = None, strict: bool = True, map_location: str | None = None
    ) -> Any:
        """Load a checkpoint; one of the same kind of run continues at the iteration after its last.

        Raises:
            CheckpointError: If a file cannot be used, or does not fit environment and models.
        """
        state = load_checkpoint(path, map_location or self.device)
        manifest = self._manifest_of(Path(path))
        self._check_models(state, path, load_cfg, strict)
        try:
            continues = self.alg.load(state, load_cfg, strict)
            iteration = int(state["iter"]) if continues else self.last_completed_iteration
        except CheckpointError:
            raise
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"checkpoint {path} does not fit the configured models: {reason}") from error
        if continues:
            self.last_completed_iteration = iteration
            self.current_learning_iteration = iteration + 1
            self._load_training_state(Path(path), manifest)
        return state.get("infos")

    def _check_models(self, state: dict[str, Any], path: str, load_cfg: dict | None, strict: bool) -> None:
        """Check that a checkpoint's weights fit the models, where the algorithm does not by itself."""

    def _save_interrupted(self) -> None:
        if self._saves:
            self.save(str(self._path(f"model_{max(self.last_completed_iteration, 0)}.pt")))
            self.logger.stop_logging_writer()

    def _status(self, it: int, total_it: int) -> str:
        """Return lines to print under an iteration's header."""
        return ""

    def _counts_for_best(self, it: int) -> bool:
        """Return whether the mean reward measures the policy that would be saved."""
        return True

    def _history(self) -> AggregatedBuffer | None:
        """Return the history whose rows belong to a checkpoint, if there is one."""
        return None

    def _extra_state(self) -> dict[str, Any]:
        """Return what else the next iteration reads, without the history's rows."""
        return {}

    def _load_extra_state(
        self, state: dict[str, Any], continues: bool, parts: Iterable[tuple[torch.Tensor, torch.Tensor]]
    ) -> None:
        """Restore it; ``parts`` are the history's rows."""

    @property
    def _saves(self) -> bool:
        return self.logger.log_dir is not None and not self.logger.disable_logs

    def _path(self, name: str) -> Path:
        assert self.logger.log_dir is not None
        return Path(self.logger.log_dir) / name

    def _begin(self) -> None:
        # Starting the logging service may have drawn random numbers.
        if self._resume_rng is not None:
            set_rng_state(self._resume_rng, self.device)
            self._resume_rng = None

    def _end_iteration(self, it: int) -> None:
        self._after_iteration(it)
        self._stop.check()

    def _after_iteration(self, it: int) -> None:
        self.last_completed_iteration = it
        rewards = self.logger.rewbuffer
        # As many episodes as there are environments: the first to end are the first to fail.
        enough = len(rewards) >= min(self.env.num_envs, rewards.maxlen or 1)
        if self._counts_for_best(it) and self._saves and enough:
            mean_reward = statistics.mean(rewards)
            if mean_reward > self.best_mean_reward:
                before, self.best_mean_reward = self.best_mean_reward, mean_reward
                if not self._save(self._path(BEST_MODEL)):
                    self.best_mean_reward = before
        is_last = it + 1 == self.first_iteration + self._num_iterations
        if self._saves and is_last and not self._path(BEST_MODEL).exists():
            self._save(self._path(BEST_MODEL))

    def _weights(self, infos: dict | None) -> dict[str, Any]:
        return self.alg.save() | {"iter": self.last_completed_iteration, "infos": infos}

    def _save_weights(self, path: Path, infos: dict | None) -> None:
        # Without a manifest a file is taken as it is; with that of another file it would be taken for damaged.
        manifest_path(path).unlink(missing_ok=True)
        files = {path.name: atomic_save(self._weights(infos), path)}
        Manifest(self.last_completed_iteration, files).write(manifest_path(path))

    def _save_complete(self, path: Path, infos: dict | None) -> None:
        history, run_dir = self._history(), path.parent
        unchanged = history is None or not bool(history.storage.changed.any())
        if (
            unchanged
            and path == self.last_checkpoint
            and self.last_completed_iteration == self.last_saved_iteration
        ):
            # rsl_rl saves the last iteration twice where the interval ends with it.
            return
        manifest_path(path).unlink(missing_ok=True)
        # The state first: weights in a run without its folder count as rsl_rl's own, which need no manifest.
        state_name = f"{RESUME_FOLDER}/state_{path.stem.removeprefix('model_')}.pt"
        state = atomic_save(self._training_state(), run_dir / state_name)
        weights = atomic_save(self._weights(infos), path)
        manifest = Manifest(self.last_completed_iteration, {path.name: weights, state_name: state}, state_name)
        if history is None:
            manifest.write(manifest_path(path))
        else:
            if self._history_log is None:
                self._history_log = HistoryLog(run_dir, history)
            with self._history_log.saved() as segments:
                manifest.files |= segments
                manifest.segments = list(segments)
                manifest.write(manifest_path(path))
        self.last_checkpoint, self.last_saved_iteration = path, self.last_completed_iteration
        keep_last = self.cfg.get("keep_last", DEFAULT_KEEP_LAST)
        try:
            prune(path, keep_last, self.cfg.get("keep_every", DEFAULT_KEEP_EVERY))
        except OSError as error:
            announce(f"[Checkpoint] what is no longer kept could not be removed: {error}")

    def _training_state(self) -> dict[str, Any]:
        return {
            "rng": rng_state(self.device),
            "env": self._env_state(),
            "counters": self.logger.counters_state(),
            "episodes": self.logger.episodes_state(),
            "best_mean_reward": self.best_mean_reward,
            **self._extra_state(),
        }

    def _env_state(self) -> Any:
        state = state_of(self.env)
        if is_plain(state):
            return moved(state, "cpu")
        if not self._env_state_refused:
            announce(
                "[Checkpoint] the environment's state_dict holds more than tensors and plain values, which alone "
                "are ever loaded: a continued run begins with new episodes",
            )
        self._env_state_refused = True
        return None

    @staticmethod
    def _manifest_of(checkpoint: Path) -> Manifest | None:
        """Return a checkpoint's manifest, if it has one, when its files have been compared with it."""
        path = manifest_path(checkpoint)
        if not path.is_file():
            return None
        manifest = Manifest.read(path)
        try:
            manifest.verify(checkpoint.parent)
        except CheckpointError as error:
            raise CheckpointError(
                f"checkpoint {checkpoint} is damaged: {error}; use an older one, as --resume does by itself"
            ) from error
        return manifest

    def _load_training_state(self, checkpoint: Path, manifest: Manifest | None) -> None:
        run_dir = checkpoint.parent
        if manifest is None or manifest.state is None:
            announce(
                f"[Resume] no training state belongs to {checkpoint.name}: only models and optimiser continue; "
                "history, environment and random states begin anew",
            )
            return
        state = load_checkpoint(run_dir / manifest.state, "cpu")
        best = run_dir / BEST_MODEL
        if best.is_file():
            self._inherit_best(best, state["best_mean_reward"])
        self.logger.load_counters_state(state["counters"])
        self._resume_rng = state["rng"]
        continues = self._continue_environment(state)
        if continues:
            self.logger.load_episodes_state(state["episodes"])
        self._load_extra_state(state, continues, saved_rows(run_dir, manifest.segments))

    def _inherit_best(self, best: Path, mean_reward: float) -> None:
        try:
            load_checkpoint(best)
        except CheckpointError as error:
            announce(f"[Resume] the best model so far is lost, and chosen anew: {error}")
        else:
            self.best_mean_reward, self._inherited_best = mean_reward, best

    def _hand_on_best(self) -> None:
        """Copy the best model of the run that is continued, so that this run has one from the beginning."""
        if self._inherited_best is None or not self._saves:
            return
        try:
            self._path("").mkdir(parents=True, exist_ok=True)
            for path in (self._inherited_best, manifest_path(self._inherited_best)):
                if path.is_file() and path.resolve() != self._path(path.name).resolve():
                    shutil.copy2(path, self._path(path.name))
        except OSError as error:
            announce(f"[Resume] the best model so far could not be copied, and is chosen anew: {error}")
            self.best_mean_reward = -math.inf
        self._inherited_best = None

    def _continue_environment(self, state: dict[str, Any]) -> bool:
        """Restore the environment; return whether that was possible."""
        if state["env"] is None or not hasattr(self.env, "load_state_dict"):
            announce("[Resume] the environment keeps no state: its episodes start afresh")
            return False
        try:
            self.env.load_state_dict(state["env"])  # pyright: ignore
        except (ValueError, KeyError, TypeError, RuntimeError) as error:
            announce(f"[Resume] the environment's episodes start afresh: {error}")
            return False
        return True
