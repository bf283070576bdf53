"""Run a policy for one episode per environment, in any rsl_rl environment."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.distill.env_state import longest_episode
from foundation.distill.log import logger
from foundation.distill.observations import readable
from foundation.evaluation.policies import Policy
from foundation.evaluation.recording import PolicyFn, Recorder, reset_policy


class EvaluationError(ValueError):
    """A policy, an environment or an argument with which nothing can be evaluated."""


@dataclass(frozen=True)
class Metrics:
    """Numbers by name; NaN where no episode defines one."""

    def to_dict(self) -> dict[str, float | None]:
        """Return the metrics by name, with None instead of NaN, which JSON does not have."""
        return {name: None if math.isnan(value) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class EpisodeMetrics(Metrics):
    """Metrics over the first episode of each environment, as far as it has ended."""

    mean_return: float
    """Mean sum of rewards."""
    episode_length: float
    """Mean length [steps]."""
    timed_out: float
    """Share of episodes that ended at their time limit; NaN if the environment gives no ``time_outs``."""


def run_first_episodes(
    env: VecEnv,
    policy: PolicyFn,
    steps: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    recorder: Recorder | None = None,
    on_end: Callable[[torch.Tensor], None] | None = None,
) -> EpisodeMetrics:
    """Run the first episode of every environment to its end, and return metrics over those that ended.

    Environments that end early continue with new episodes, which are not counted.

    Args:
        env: The environment, freshly made or reset.
        policy: Maps observations to actions.
        steps: Most steps to run; None means ``max_episode_length``.
        progress: Called with (steps done, most steps) after each step.
        recorder: Records the flights of quadrotors.
        on_end: Called with a mask (N,) of the environments whose first episode has just ended.

    Raises:
        EvaluationError: If the environment is in the middle of an episode, actions or rewards cannot be used, or
            no episode ends.
    """
    count = _Counter(env)
    limit = longest_episode(env) if steps is None else steps
    with torch.inference_mode(), from_the_start(policy, env):
        obs = env.get_observations()
        for step in range(limit):
            obs, rewards, dones, extras = _step(env, policy, obs, step, recorder)
            newly_ended = count.add(rewards, dones, extras, step)
            if on_end is not None and newly_ended.any():
                on_end(newly_ended)
            if progress is not None:
                progress(step + 1, limit)
            if count.ended.all():
                break
    return count.metrics(limit)


def _step(
    env: VecEnv, policy: PolicyFn, obs: TensorDict, step: int, recorder: Recorder | None
) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
    """Let the policy act, and return observations, rewards (N,), done flags (N,) and extras."""
    actions = policy(readable(_model_of(policy), obs))
    _check_actions(actions, env, step)
    if recorder is not None:
        recorder.before_step(obs, actions)
    # A copy: the environment may write into its actions, and the policy may keep them.
    obs, rewards, dones, extras = env.step(actions.clone())
    dones = dones.reshape(-1)
    if recorder is not None:
        recorder.after_step(dones)
    reset_policy(policy, dones)
    return obs, rewards.reshape(-1), dones, extras


class _Counter:
    """Return, length and end of the first episode of every environment."""

    def __init__(self, env: VecEnv) -> None:
        under_way = torch.as_tensor(getattr(env, "episode_length_buf", 0)).reshape(-1) > 0
        if under_way.any():
            first = int(under_way.nonzero()[0])
            raise EvaluationError(
                f"environment {first} is in the middle of an episode (episode_length_buf "
                f"{int(env.episode_length_buf[first])}); let make_env return a new environment, or one just reset"
            )
        self.ended = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
        self._returns = torch.zeros(env.num_envs, dtype=torch.float64, device=env.device)
        self._lengths, self._timed_out = torch.zeros_like(self._returns), torch.zeros_like(self.ended)
        self._knows_time_outs = False

    def add(self, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any], step: int) -> torch.Tensor:
        """Count a step, and return where it ended a first episode, (N,)."""
        running = ~self.ended
        if not torch.isfinite(rewards[running]).all():
            where = int((running & ~torch.isfinite(rewards)).nonzero()[0])
            raise EvaluationError(
                f"environment {where} returned the reward {rewards[where].item()} in step {step}; rewards must be "
                "finite"
            )
        self._returns += torch.where(running, rewards.double(), 0.0)
        self._lengths += running
        newly_ended = running & (dones > 0)
        if "time_outs" in extras:
            self._knows_time_outs = True
            self._timed_out |= newly_ended & (extras["time_outs"].reshape(-1) > 0)
        self.ended |= newly_ended
        return newly_ended

    def metrics(self, limit: int) -> EpisodeMetrics:
        """Return the means over the episodes that ended within ``limit`` steps."""
        ended, count = self.ended, int(self.ended.sum())
        if count == 0:
            raise EvaluationError(f"no episode ended within {limit} steps; give more steps")
        if count < len(ended):
            logger.warning(
                f"[Evaluate] {len(ended) - count} of {len(ended)} episodes had not ended after {limit} steps and "
                "do not count; give more steps"
            )
        timed_out = self._timed_out[ended].double().mean().item() if self._knows_time_outs else math.nan
        return EpisodeMetrics(self._returns[ended].mean().item(), self._lengths[ended].mean().item(), timed_out)


def _check_actions(actions: Any, env: VecEnv, step: int) -> None:
    expected = (env.num_envs, env.num_actions)
    if not isinstance(actions, torch.Tensor) or tuple(actions.shape) != expected:
        shape = f"shape {tuple(actions.shape)}" if isinstance(actions, torch.Tensor) else type(actions).__name__
        raise EvaluationError(
            f"its actions must be a tensor of shape {expected} (num_envs, num_actions), got {shape}"
        )
    if not torch.isfinite(actions).all():
        where = int((~torch.isfinite(actions)).any(-1).nonzero()[0])
        raise EvaluationError(f"its action in environment {where} is not finite in step {step}")


def _model_of(policy: PolicyFn | None) -> Any:
    return policy.model if isinstance(policy, Policy) else policy


@contextlib.contextmanager
def from_the_start(policy: PolicyFn | None, env: VecEnv) -> Iterator[None]:
    """Reset a policy, and set a model to evaluation mode; afterwards a model has its former mode and hidden state.

    So a run can be evaluated between two calls of ``learn``.
    """
    model = _model_of(policy)
    if not isinstance(model, torch.nn.Module):
        reset_policy(policy, torch.ones(env.num_envs, dtype=torch.bool, device=env.device))
        yield
        return
    training, has_memory = model.training, hasattr(model, "get_hidden_state")
    hidden = model.get_hidden_state() if has_memory else None  # pyright: ignore
    model.eval()
    if has_memory:
        model.reset()  # pyright: ignore
    try:
        yield
    finally:
        model.train(training)
        if has_memory:
            model.reset(hidden_state=hidden)  # pyright: ignore
