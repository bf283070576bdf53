"""Run policies on several seeds, in quadrotors and in any other rsl_rl environment."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rsl_rl.env import VecEnv

from foundation.distill.env_state import longest_episode
from foundation.evaluation.columns import EPISODE_COLUMNS, FLIGHT_COLUMNS
from foundation.evaluation.episodes import EvaluationError, from_the_start, run_first_episodes
from foundation.evaluation.evaluation import Evaluation
from foundation.evaluation.flights import fly
from foundation.evaluation.intervals import MOST_SEEDS
from foundation.evaluation.recording import PolicyFn, Recorder, Recording

MOST_RECORDED = 1024
"""Vehicles of each seed whose flights are recorded for the report."""


def evaluate(
    policies: Mapping[str, PolicyFn],
    make_env: Callable[[int], VecEnv],
    seeds: Sequence[int],
    *,
    task: str | None = None,
    steps: int | None = None,
    record_flights: bool = True,
    progress: Callable[[str], Callable[[int, int], None] | None] | None = None,
) -> Evaluation:
    """Compare policies on the same seeds, by the first whole episode of every environment.

    Each policy gets a new environment for each seed, which is closed afterwards if it has ``close``. Quadrotors
    are measured as by ``foundation evaluate``, other environments by return, episode length and the share of
    episodes that reach their time limit (``extras["time_outs"]``).

    Args:
        policies: By name, functions from observations to actions (N, A), such as rsl_rl's models and what
            ``load_policy`` returns; a recurrent one has ``reset(dones)``. The others are compared with the first.
        make_env: Returns an environment for a seed; equal seeds should give equal first states.
        seeds: Seeds, at most 30; from two on there are confidence intervals.
        task: Name in the report; None means that of the environment's class.
        steps: Most steps to run; None means the environment's ``max_episode_length``.
        record_flights: Whether to record quadrotors, for the charts of the report.
        progress: Called with a label, returns a function that is called with (steps done, most steps).

    Raises:
        EvaluationError: If nothing can be evaluated; the message names policy, seed and reason.
    """
    _check_arguments(policies, make_env, seeds, steps)
    result, progress = Evaluation(task or "", list(seeds)), progress or (lambda label: None)
    for name in policies:
        for seed in result.seeds:
            label = f"{name}, seed {seed}" if len(result.seeds) > 1 else name
            with _environment(make_env, name, seed) as env:
                _describe(result, env, steps)
                _run(result, policies, name, env, record_flights, progress(label))
    return result


def _run(
    result: Evaluation,
    policies: Mapping[str, PolicyFn],
    name: str,
    env: Any,
    record_flights: bool,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Add a policy's metrics in an environment to the result, and of recorded flights what is drawn."""
    policy, first = policies[name], next(iter(policies.values()))
    rows = result.metrics.setdefault(name, [])
    if not (record_flights and _is_quadrotor(env)):
        run: Any = fly if _is_quadrotor(env) else run_first_episodes
        rows.append(run(env, policy, result.steps, progress).to_dict())
        return
    # The first seed's flight is the one that is drawn.
    labels = None if rows or policy is first else first
    with from_the_start(labels, env):
        recorder = Recorder(env, MOST_RECORDED, labels)
        rows.append(fly(env, policy, result.steps, progress, recorder).to_dict())
    flight = recorder.recording()
    result.flights.setdefault(name, flight)
    places = [result.deaths[name]] if name in result.deaths else []
    result.deaths[name] = np.concatenate([*places, _last_positions(flight, result.steps)])


def _check_arguments(policies: Any, make_env: Any, seeds: Any, steps: int | None) -> None:
    if not isinstance(policies, Mapping):
        raise EvaluationError(
            f'policies must be a mapping by name, such as {{"teacher": ...}}, got {type(policies)}'
        )
    if not policies:
        raise EvaluationError("there are no policies to evaluate; give at least one")
    for name, policy in policies.items():
        if not callable(policy):
            raise EvaluationError(
                f"policy {name!r} is a {type(policy).__name__}, expected a function from observations to actions; "
                "load_policy makes one of a checkpoint"
            )
    if not callable(make_env):
        raise EvaluationError(
            f"make_env is a {type(make_env).__name__}, expected a function from a seed to an environment"
        )
    if not isinstance(seeds, Sequence) or isinstance(seeds, str):
        raise EvaluationError(f"seeds must be several numbers, such as range(5), got {seeds!r}")
    if not 1 <= len(seeds) <= MOST_SEEDS:
        raise EvaluationError(f"there must be 1 ... {MOST_SEEDS} seeds, got {len(seeds)}")
    if len(set(seeds)) < len(seeds):
        raise EvaluationError(f"seeds must differ, got {list(seeds)}: equal ones would make intervals too narrow")
    if steps is not None and steps < 1:
        raise EvaluationError(f"steps must be at least 1, got {steps}")


@contextlib.contextmanager
def _environment(make_env: Callable[[int], VecEnv], policy: str, seed: int) -> Iterator[VecEnv]:
    """Make an environment and close it; name policy and seed in errors of the evaluation."""
    env = make_env(seed)
    try:
        if not isinstance(getattr(env, "num_envs", None), int) or not hasattr(env, "get_observations"):
            raise EvaluationError(f"make_env returned a {type(env).__name__}, expected an rsl_rl VecEnv")
        yield env
    except EvaluationError as error:
        raise EvaluationError(f"policy {policy!r}, seed {seed}: {error}") from None
    finally:
        close = getattr(env, "close", None)
        if close is not None:
            close()


def _describe(result: Evaluation, env: VecEnv, steps: int | None) -> None:
    result.task = result.task or type(env).__name__
    result.episodes, result.steps = env.num_envs, longest_episode(env) if steps is None else steps
    if _is_quadrotor(env):
        result.columns, result.env_cfg = FLIGHT_COLUMNS, env.cfg
    else:
        result.columns = EPISODE_COLUMNS


def _is_quadrotor(env: Any) -> bool:
    """Return whether an environment measures its own flights, as :class:`PointCtrlEnv` does."""
    return hasattr(env, "last_episode") and hasattr(env, "sim")


def _last_positions(flight: Recording, steps: int) -> np.ndarray:
    lost = np.flatnonzero(flight.length < steps)
    return flight.error_w[flight.length[lost] - 1, lost]
