"""rsl_rl's logger for long runs: reports, counters that survive a resume, and logging services that may fail."""

from __future__ import annotations

import contextlib
import io
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from rsl_rl.utils.logger import Logger

from foundation.distill.log import logger
from foundation.distill.metrics import copy_metrics
from foundation.distill.runners.progress import Blocks, Display
from foundation.distill.runners.report import IterationReport, render_status

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


class RunLogger(Logger):
    """rsl_rl's logger that reports every iteration to a display and to the runner.

    A logging service that fails costs its metrics and one warning, not the run.
    """

    def __init__(
        self,
        report: Callable[[int, int], IterationReport],
        on_start: Callable[[], None],
        on_iteration: Callable[[int], None],
        *args: Any,
        **kwargs: Any,
    ) -> None:
        """Construct as rsl_rl does.

        Args:
            report: Returns the report of an iteration, given its number and the run's last one; the logger adds
                loss, reward and console lines.
            on_start: Called when the logging service has been started, right before the first iteration.
            on_iteration: Called with each iteration's number when it has been logged.
            *args: rsl_rl's arguments.
            **kwargs: rsl_rl's arguments.
        """
        super().__init__(*args, **kwargs)
        self._report = report
        self._on_start = on_start
        self._on_iteration = on_iteration
        self.display: Display = Blocks()
        """Shows the iterations."""
        self.copies_metrics = False
        """Whether to copy the environment's metrics; false where the algorithm does, among its own."""
        self._has_warned = False
        self._counted_from: int | None = None
        self._deferred: tuple[torch.Tensor, torch.Tensor] | None = None

    def init_logging_writer(self) -> None:
        """Start the logging service; see rsl_rl."""
        self._tolerant(super().init_logging_writer)()
        if self.writer is None and self.log_dir is not None and not self.disable_logs:
            self.writer = NoWriter()  # pyright: ignore
        for name in _WRITER_METHODS if self.writer is not None else ():
            if hasattr(self.writer, name):
                setattr(self.writer, name, self._tolerant(getattr(self.writer, name)))
        self._on_start()

    def log(self, it: int, start_it: int, total_it: int, *args: Any, **kwargs: Any) -> None:
        """Log an iteration; see rsl_rl."""
        self.count_deferred_episodes()
        if self._counted_from is None:
            self._counted_from = start_it
        with contextlib.redirect_stdout(io.StringIO()) as captured:
            # rsl_rl computes the time left from the iterations since the counters began, also before a resume.
            super().log(it, self._counted_from, total_it, *args, **kwargs)
        header, separator, rest = captured.getvalue().partition("\n\n")
        if separator:
            loss = kwargs.get("loss_dict", {}).get("behavior")
            reward = statistics.mean(self.rewbuffer) if self.rewbuffer else None
            report = replace(self._report(it, total_it), loss=loss, reward=reward)
            self._show(replace(report, console=f"{header}\n\n{render_status(report)}{rest}"))
        self._on_iteration(it)

    def _show(self, report: IterationReport) -> None:
        try:
            self.display.show(report)
        except Exception as error:  # a display must not end the run
            reason = f"{type(error).__name__}: {error}"
            logger.warning(f"[Log] the display failed, blocks are printed from now on: {reason}")
            self.display = Blocks()
            self.display.show(report)

    def process_env_step(
        self,
        rewards: torch.Tensor,
        dones: torch.Tensor,
        extras: dict,
        intrinsic_rewards: torch.Tensor | None = None,
    ) -> None:
        """Log one step; see rsl_rl. Rewards and done flags may be of shape (N, 1)."""
        if self.copies_metrics:
            # rsl_rl reads nothing else of them, and when the iteration ends.
            extras = copy_metrics(extras)
        super().process_env_step(rewards.reshape(-1), dones.reshape(-1), extras, intrinsic_rewards)

    def add_metrics(self, extras: dict[str, Any]) -> None:
        """Add the environment's metrics of one step; rsl_rl logs their mean over all steps."""
        metrics = extras["episode"] if "episode" in extras else extras.get("log")
        # Do not ask for their number: metrics of a GPU may be computed when they are first read.
        if self.writer is not None and metrics is not None:
            self.ep_extras.append(metrics)

    def defer_rollout(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        """Count the episodes of a rollout, (T, N) each, when the iteration is logged.

        Counting needs to know which episodes ended, for which the host would have to wait for a GPU. The tensors
        must not change until then.
        """
        self._deferred = rewards, dones

    def count_deferred_episodes(self) -> None:
        """Count the episodes of the rollout that was deferred."""
        if self._deferred is not None:
            rollout, self._deferred = self._deferred, None
            self.process_rollout(*rollout)

    def process_rollout(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        """Count the episodes of a whole rollout, (T, N) each, as ``process_env_step`` does step by step."""
        if self.writer is None:
            return
        ended, (steps, num_envs) = dones > 0, dones.shape
        # Number the episodes of the rollout: the first ones of all environments, then the second ones, and so on.
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
        """Return the numbers of steps and seconds, and the last episodes."""
        self.count_deferred_episodes()
        return {
            "counted_from": self._counted_from,
            "tot_timesteps": self.tot_timesteps,
            "tot_time": self.tot_time,
            "rewards": list(self.rewbuffer),
            "lengths": list(self.lenbuffer),
        }

    def load_counters_state(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`counters_state`."""
        self._counted_from = state["counted_from"]
        self.tot_timesteps, self.tot_time = state["tot_timesteps"], state["tot_time"]
        self.clear_episodes()
        self.rewbuffer.extend(state["rewards"])
        self.lenbuffer.extend(state["lengths"])

    def episodes_state(self) -> dict[str, torch.Tensor]:
        """Return the returns and lengths so far of the episodes under way, (N,) each."""
        return {"rewards": self.cur_reward_sum.clone(), "lengths": self.cur_episode_length.clone()}

    def load_episodes_state(self, state: dict[str, torch.Tensor]) -> None:
        """Restore a state of :meth:`episodes_state`."""
        self.cur_reward_sum.copy_(state["rewards"])
        self.cur_episode_length.copy_(state["lengths"])

    def clear_episodes(self) -> None:
        """Drop the episodes that have ended."""
        self.rewbuffer.clear()
        self.lenbuffer.clear()

    def save_model(self, path: str, it: int) -> None:
        """Upload a checkpoint to the logging service; see rsl_rl."""
        self._tolerant(super().save_model)(path, it)

    def _tolerant(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def tolerant(*args: Any, **kwargs: Any) -> Any:
            try:
                return call(*args, **kwargs)
            except Exception as error:  # a logging service may raise anything
                if not self._has_warned:
                    reason = " ".join(str(error).split()) or type(error).__name__
                    logger.warning(f"[Log] logging failed, training goes on without it: {reason}")
                self._has_warned = True

        return tolerant
