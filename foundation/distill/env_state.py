"""What rsl_rl's ``VecEnv`` does not say: an environment's state to save and restore, and its longest episode."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.env import VecEnv

COUNTER = "common_step_counter"
"""Steps since training began, in environments of Isaac Lab and mjlab; curricula and events read it."""
TRAINING_STATE = "training_state"
"""What an environment returns from ``get_training_state``."""


def longest_episode(env: VecEnv) -> int:
    """Return the most steps of an episode, of environments that may differ in it."""
    return int(torch.as_tensor(env.max_episode_length).max())


def state_of(env: VecEnv) -> Any:
    """Return an environment's ``state_dict``; None if it has none, or no ``load_state_dict``."""
    if not hasattr(env, "state_dict") or not hasattr(env, "load_state_dict"):
        return None
    return env.state_dict()  # pyright: ignore


def training_state_of(env: VecEnv) -> dict[str, Any]:
    """Return what of an environment outlives its episodes, by name; empty if it tells nothing.

    That is ``get_training_state()`` of the environment or of what it wraps (``env.unwrapped``), and the attribute
    ``common_step_counter`` of the latter.
    """
    host, inner = _host(env), _unwrapped(env)
    found = {} if host is None else {TRAINING_STATE: host.get_training_state()}
    counter = getattr(inner, COUNTER, None)
    if counter is not None:
        found[COUNTER] = counter.clone() if isinstance(counter, torch.Tensor) else int(counter)
    return found


def set_training_state(env: VecEnv, name: str, value: Any) -> None:
    """Restore one part of what :func:`training_state_of` returned.

    Raises:
        AttributeError: If the environment has no place for it.
    """
    if name == COUNTER:
        inner = _unwrapped(env)
        if not hasattr(inner, COUNTER):
            raise AttributeError(f"the environment has no {COUNTER}")
        own = getattr(inner, COUNTER)
        # A tensor stays where it is: kernels and curricula may hold it.
        setattr(inner, COUNTER, own.fill_(value) if isinstance(own, torch.Tensor) and own.ndim == 0 else value)
        return
    host = _host(env)
    if host is None:
        raise AttributeError("the environment has no set_training_state")
    host.set_training_state(value)


def counter_in(infos: Any) -> dict[str, Any]:
    """Return the counter in a checkpoint of mjlab's own runner, as :func:`training_state_of` does."""
    saved = infos.get("env_state") if isinstance(infos, dict) else None
    return {COUNTER: saved[COUNTER]} if isinstance(saved, dict) and COUNTER in saved else {}


def _unwrapped(env: VecEnv) -> Any:
    return getattr(env, "unwrapped", env)


def _host(env: VecEnv) -> Any:
    """Return the environment that has both methods, the wrapper or the wrapped one; None if neither has."""
    for host in (env, _unwrapped(env)):
        if hasattr(host, "get_training_state") and hasattr(host, "set_training_state"):
            return host
    return None
