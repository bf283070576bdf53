"""Fly a policy for one episode per environment and measure it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from foundation.evaluation.episodes import Metrics, run_first_episodes
from foundation.evaluation.recording import PolicyFn, Recorder

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv


@dataclass(frozen=True)
class FlightMetrics(Metrics):
    """Metrics over one episode of each environment."""

    survival: float
    """Share of episodes that reached the time limit."""
    mean_return: float
    """Mean sum of rewards."""
    position_rmse_m: float
    """Root mean square distance to the target over the last window of all surviving episodes [m]."""
    settle_time_s: float
    """Mean time from which an episode stays within the settle radius, over those that do [s]."""
    settled: float
    """Share of episodes that survive and end within the settle radius."""
    command_rate: float
    """Mean change of an action between two steps, over the rotors and steps of all surviving episodes."""


def fly(
    env: PointCtrlEnv,
    policy: PolicyFn,
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    recorder: Recorder | None = None,
) -> FlightMetrics:
    """Fly the current episode of every environment to its end.

    Environments that end early continue with new episodes, which are not counted.

    Args:
        env: The environment, freshly made or reset.
        policy: Maps observations to actions.
        steps: Most steps to fly; None means an episode's.
        progress: Called with (steps done, most steps) after each step.
        recorder: Records the flights.

    Returns:
        Metrics over the episodes that ended.

    Raises:
        EvaluationError: As :func:`run_first_episodes` does.
    """
    first: dict[str, torch.Tensor] = {}
    ended = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)

    def keep(newly_ended: torch.Tensor) -> None:
        for name, values in env.last_episode().items():
            first[name] = torch.where(newly_ended, values, first.get(name, values))
        ended.logical_or_(newly_ended)

    run_first_episodes(env, policy, steps, progress, recorder, keep)
    return _metrics({name: values[ended] for name, values in first.items()})


def _metrics(episode: dict[str, torch.Tensor]) -> FlightMetrics:
    survived, settled = episode["survived"], episode["settled"]
    return FlightMetrics(
        survival=survived.double().mean().item(),
        mean_return=episode["return"].double().mean().item(),
        position_rmse_m=episode["position_rmse"][survived].double().square().mean().sqrt().item(),
        settle_time_s=episode["settle_time"][settled].double().mean().item(),
        settled=settled.double().mean().item(),
        command_rate=episode["command_rate"][survived].double().mean().item(),
    )
