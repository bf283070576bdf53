"""rsl_rl's logger for long runs: extra console lines, counters that survive, and services that may fail."""

from __future__ import annotations

import contextlib
import io
import statistics
from collections.abc import Callable
from typing import Any

import torch
from rsl_rl.utils.logger import Logger

from foundation.distill.display import Blocks, Display, Iteration, announce

_WRITER_METHODS = (
    "add_scalar",
    "store_config",
    "save_model",
    "save_file",
    "save_video",
    "stop",
    "flush",
    "close",
)


class NoWriter:
    """Takes the place of a logging service that could not be started."""

    def add_scalar(self, *_: Any, **__: Any) -> None:
        """Do nothing."""


class HookedLogger(Logger):
    """rsl_rl's logger with extra lines under each iteration's header, and calls at the run's events.

    A logging service that fails costs its metrics and one warning, not the run.
    """

    def __init__(
        self,
        status: Callable[[int, int], str],
        on_start: Callable[[], None],
        on_iteration: Callable[[int], None],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Construct as rsl_rl does.

        Args:
            status: Gives the lines.
            on_start: Called when the logging service has been started, right before the first iteration.
            on_iteration: Called with each iteration when it has been logged.
            *args: rsl_rl's arguments.
            **kwargs: rsl_rl's arguments.
        """
        super().__init__(*args, **kwargs)
        self._status = status
        self._on_start = on_start
        self._on_iteration = on_iteration
        self.display: Display = Blocks()
        """Shows the iterations."""
        self._warned = False
        self._counted_from: int | None = None
        self._rollout: tuple[torch.Tensor, torch.Tensor] | None = None

    def init_logging_writer(self) -> None:
        """Start the logging service; see rsl_rl."""
        self._tolerantly(super().init_logging_writer)()
        if self.writer is None and self.log_dir is not None and not self.disable_logs:
            self.writer = NoWriter()  # pyright: ignore
        for name in _WRITER_METHODS if self.writer is not None else ():
            if hasattr(self.writer, name):
                setattr(self.writer, name, self._tolerantly(getattr(self.writer, name)))
        self._on_start()

    def log(self, it: int, start_it: int, total_it: int, *args: Any, **kwargs: Any) -> None:
        """Log an iteration; see rsl_rl."""
        self.count_rollout()
        if self._counted_from is None:
            self._counted_from = start_it
        with contextlib.redirect_stdout(io.StringIO()) as captured:
            # The time that counters show is that of all iterations since they began, also before a resume.
            super().log(it, self._counted_from, total_it, *args, **kwargs)
        header, separator, rest = captured.getvalue().partition("\n\n")
        if separator:
            status = self._status(it, total_it)
            loss = kwargs.get("loss_dict", {}).get("behavior")
            reward = statistics.mean(self.rewbuffer) if self.rewbuffer else None
            block = f"{header}\n\n{status}{rest}"
            self._show(Iteration(it, total_it, block, status, loss, reward))
        self._on_iteration(it)

    def _show(self, iteration: Iteration) -> None:
        try:
            self.display.show(iteration)
        except Exception as error:  # what shows a run must not end it
            announce(f"[Log] the display failed, blocks are printed from now on: {type(error).__name__}: {error}")
            self.display = Blocks()
            self.display.show(iteration)

    def keep_metrics(self, extras: dict[str, Any]) -> None:
        """Keep the environment's metrics of one step, of which rsl_rl logs the mean of all steps."""
        metrics = extras["episode"] if "episode" in extras else extras.get("log")
        # Not whether there are any: metrics may be on a GPU that is still at work.
        if self.writer is not None and metrics is not None:
            self.ep_extras.append(metrics)

    def keep_rollout(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        """Take a whole rollout, (T, N) each, which stays as it is until the iteration is logged.

        Its episodes are counted only then: which ended, a GPU tells no sooner than it has caught up.
        """
        self._rollout = rewards, dones

    def count_rollout(self) -> None:
        """Count the episodes of the rollout that was taken last."""
        if self._rollout is not None:
            rollout, self._rollout = self._rollout, None
            self.process_rollout(*rollout)

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

    def counters_state(self) -> dict[str, Any]:
        """Return the counts of steps and seconds, and the last episodes."""
        self.count_rollout()
        return {
            "counted_from": self._counted_from,
            "tot_timesteps": self.tot_timesteps,
            "tot_time": self.tot_time,
            "rewards": list(self.rewbuffer),
            "lengths": list(self.lenbuffer),
        }

    def load_counters_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`counters_state` returned."""
        self._counted_from = state["counted_from"]
        self.tot_timesteps, self.tot_time = state["tot_timesteps"], state["tot_time"]
        self.clear_episodes()
        self.rewbuffer.extend(state["rewards"])
        self.lenbuffer.extend(state["lengths"])

    def episodes_state(self) -> dict[str, torch.Tensor]:
        """Return rewards and lengths so far of the episodes under way, (N,) each."""
        return {"rewards": self.cur_reward_sum.clone(), "lengths": self.cur_episode_length.clone()}

    def load_episodes_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore what :meth:`episodes_state` returned."""
        self.cur_reward_sum.copy_(state["rewards"])
        self.cur_episode_length.copy_(state["lengths"])

    def clear_episodes(self) -> None:
        """Forget the episodes that have ended."""
        self.rewbuffer.clear()
        self.lenbuffer.clear()

    def save_model(self, path: str, it: int) -> None:
        """Hand a checkpoint to the logging service; see rsl_rl."""
        self._tolerantly(super().save_model)(path, it)

    def _tolerantly(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def tolerant(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except Exception as error:  # whatever a logging service raises
                if not self._warned:
                    reason = " ".join(str(error).split()) or type(error).__name__
                    announce(f"[Log] logging failed, training goes on without it: {reason}")
                self._warned = True

        return tolerant
