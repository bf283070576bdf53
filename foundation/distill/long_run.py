"""rsl_rl's runners with what a long run needs: best model, exact resume, clean interruption, console lines."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from rsl_rl.utils.logger import Logger

from foundation.distill.checkpoint import (
    atomic_save,
    load_checkpoint,
)

BEST_MODEL = "best_model.pt"
"""The policy with the best mean reward; the name must not match rsl_rl's pattern for the latest checkpoint."""
TRAINING_STATE = "training_state.pt"
"""What a resumed run needs besides the newest model: history, environment, random state, statistics."""


class HookedLogger(Logger):
    """rsl_rl's logger with extra lines under each iteration's header, and a call after each iteration."""

    def __init__(
        self,
        status: Callable[[int, int], str],
        on_iteration: Callable[[int], None],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Construct as rsl_rl does; ``status`` gives the lines, ``on_iteration`` is called with the iteration."""
        super().__init__(*args, **kwargs)
        self._status = status
        self._on_iteration = on_iteration

    def log(self, it: int, start_it: int, total_it: int, *args: Any, **kwargs: Any) -> None:
        """Log an iteration; see rsl_rl."""
        with contextlib.redirect_stdout(io.StringIO()) as captured:
            super().log(it, start_it, total_it, *args, **kwargs)
        header, separator, rest = captured.getvalue().partition("\n\n")
        if separator:
            print(f"{header}\n\n{self._status(it, total_it)}{rest}", end="", flush=True)
        self._on_iteration(it)

    def keep_metrics(self, extras: dict[str, Any]) -> None:
        """Keep the environment's metrics of one step, of which rsl_rl logs the mean of all steps."""
        metrics = extras["episode"] if "episode" in extras else extras.get("log")
        # Not whether there are any: metrics may be on a GPU that is still at work.
        if self.writer is not None and metrics is not None:
            self.ep_extras.append(metrics)

    def process_rollout(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        """Do for the steps of a whole rollout, (T, N) each, what ``process_env_step`` does for one."""
        if self.writer is None:
            return
        ended, (steps, num_envs) = dones > 0, dones.shape
        # Which episode of its environment in this rollout a step belongs to, and a number for it.
        episode = ended.cumsum(0) - ended.long()
        number = episode * num_envs + torch.arange(num_envs, device=dones.device)
        under_way = ended.sum(0) * num_envs + torch.arange(num_envs, device=dones.device)
        for values, running, buffer in (
            (rewards, self.cur_reward_sum, self.rewbuffer),
            (torch.ones_like(rewards), self.cur_episode_length, self.lenbuffer),
        ):
            sums = torch.zeros((steps + 1) * num_envs, dtype=torch.float64, device=dones.device)
            sums[:num_envs] = running.double()
            sums.index_add_(0, number.flatten(), values.double().flatten())
            buffer.extend(sums[number[ended]].tolist())
            running.copy_(sums[under_way])

    def statistics_state(self) -> dict[str, Any]:
        """Return the last episodes and those under way."""
        return {
            "rewards": list(self.rewbuffer),
            "lengths": list(self.lenbuffer),
            "reward_sum": self.cur_reward_sum.clone(),
            "episode_length": self.cur_episode_length.clone(),
        }

    def load_statistics_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`statistics_state` returned."""
        self.clear_episodes()
        self.rewbuffer.extend(state["rewards"])
        self.lenbuffer.extend(state["lengths"])
        self.cur_reward_sum.copy_(state["reward_sum"])
        self.cur_episode_length.copy_(state["episode_length"])

    def clear_episodes(self) -> None:
        """Forget the episodes that have ended."""
        self.rewbuffer.clear()
        self.lenbuffer.clear()


class LongRunMixin(OnPolicyRunner):
    """Best model, atomic checkpoints, exact resume and clean interruption for any rsl_rl runner."""

    def __init__(self, env: VecEnv, train_cfg: dict, log_dir: str | None = None, device: str = "cpu") -> None:
        """Construct as rsl_rl does, with a logger that reports each iteration's end."""
        super().__init__(env, train_cfg, log_dir, device)
        self.logger = HookedLogger(
            self._status,
            self._after_iteration,
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
        self.interrupted_checkpoint: Path | None = None
        self._resume_rng: dict[str, torch.Tensor] | None = None
        self._inherited_best: Path | None = None

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Run the learning loop; see rsl_rl.

        Raises:
            KeyboardInterrupt: After saving a checkpoint, whose path is in ``interrupted_checkpoint``.
        """
        self._first_iteration = self.current_learning_iteration
        self._num_iterations = num_learning_iterations
        if self._inherited_best is not None and self._saves:
            self._path(BEST_MODEL).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self._inherited_best, self._path(BEST_MODEL))
            self._inherited_best = None
        if self._resume_rng is not None:
            _set_rng_state(self._resume_rng, self.device)
            self._resume_rng = None
        try:
            super().learn(num_learning_iterations, init_at_random_ep_len)
        except KeyboardInterrupt:
            self._save_interrupted()
            raise

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write a checkpoint atomically, and beside a numbered one the state that resuming needs."""
        iteration = self.last_completed_iteration
        atomic_save(self.alg.save() | {"iter": iteration, "infos": infos}, path)
        if Path(path).name.startswith("model_"):
            atomic_save(self._training_state(), Path(path).with_name(TRAINING_STATE))
        self.logger.save_model(path, max(iteration, 0))

    def load(
        self, path: str, load_cfg: dict | None = None, strict: bool = True, map_location: str | None = None
    ) -> Any:
        """Load a checkpoint; one of the same kind of run continues at the iteration after its last.

        Raises:
            CheckpointError: If the file cannot be used.
        """
        state = load_checkpoint(path, map_location or self.device)
        if self.alg.load(state, load_cfg, strict):
            self.last_completed_iteration = state["iter"]
            self.current_learning_iteration = state["iter"] + 1
            self._load_training_state(Path(path).with_name(TRAINING_STATE), state["iter"])
        return state.get("infos")

    def _status(self, it: int, total_it: int) -> str:
        """Return lines to print under an iteration's header."""
        return ""

    def _counts_for_best(self, it: int) -> bool:
        """Return whether the mean reward measures the policy that would be saved."""
        return True

    def _extra_state(self) -> dict[str, Any]:
        return {}

    def _load_extra_state(self, state: dict[str, Any], continues: bool) -> None:
        pass

    @property
    def _saves(self) -> bool:
        return self.logger.log_dir is not None and not self.logger.disable_logs

    def _path(self, name: str) -> Path:
        assert self.logger.log_dir is not None
        return Path(self.logger.log_dir) / name

    def _after_iteration(self, it: int) -> None:
        self.last_completed_iteration = it
        rewards = self.logger.rewbuffer
        # As many episodes as there are environments: the first to end are the first to fail.
        enough = len(rewards) >= min(self.env.num_envs, rewards.maxlen or 1)
        if self._counts_for_best(it) and self._saves and enough:
            mean_reward = statistics.mean(rewards)
            if mean_reward > self.best_mean_reward:
                self.best_mean_reward = mean_reward
                self.save(str(self._path(BEST_MODEL)))
        is_last = it + 1 == self._first_iteration + self._num_iterations
        if self._saves and is_last and not self._path(BEST_MODEL).exists():
            self.save(str(self._path(BEST_MODEL)))

    def _save_interrupted(self) -> None:
        if self._saves:
            path = self._path(f"model_{max(self.last_completed_iteration, 0)}.pt")
            self.save(str(path))
            self.interrupted_checkpoint = path
            self.logger.stop_logging_writer()

    def _training_state(self) -> dict[str, Any]:
        env_state = getattr(self.env, "state_dict", None)
        return {
            "iteration": self.last_completed_iteration,
            "rng": _rng_state(self.device),
            "env": env_state() if env_state is not None else None,
            "statistics": self.logger.statistics_state(),
            "best_mean_reward": self.best_mean_reward,
            **self._extra_state(),
        }

    def _load_training_state(self, path: Path, iteration: int) -> None:
        if not path.is_file():
            print(f"[Resume] {path.name} not found beside the checkpoint: only models and optimiser continue")
            return
        state = load_checkpoint(path, "cpu")
        continues = self._continue_environment(state, path, iteration)
        self._load_extra_state(state, continues)

    def _continue_environment(self, state: dict[str, Any], path: Path, iteration: int) -> bool:
        """Restore environment, statistics and random state; return whether that was possible."""
        if state["iteration"] != iteration:
            print(
                f"[Resume] {path.name} is of iteration {state['iteration']}, the checkpoint of {iteration}: "
                "environment and random state start afresh"
            )
            return False
        best = path.with_name(BEST_MODEL)
        if best.is_file():
            self.best_mean_reward = state["best_mean_reward"]
            self._inherited_best = best
        if state["env"] is None:
            print("[Resume] the environment keeps no state: its episodes start afresh")
            return False
        try:
            self.env.load_state_dict(state["env"])  # pyright: ignore
        except ValueError as error:
            print(f"[Resume] the environment's episodes start afresh: {error}")
            return False
        self.logger.load_statistics_state(state["statistics"])
        self._resume_rng = state["rng"]
        return True


def _rng_state(device: str) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.device(device).type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def _set_rng_state(state: dict[str, torch.Tensor], device: str) -> None:
    torch.set_rng_state(state["cpu"])
    if torch.device(device).type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
