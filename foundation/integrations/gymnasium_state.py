"""The state of gymnasium's environments, for those that give it; a resumed run continues with it."""

from __future__ import annotations

from typing import Any

from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

_WITHOUT_STATE = (OrderEnforcing, PassiveEnvChecker, TimeLimit)
"""Wrappers of single environments whose state is not needed: episodes are cut off at our own count of steps."""


def state_of(envs: VectorEnv) -> Any:
    """Return what ``state_dict`` of the vector environment, or of each of its environments, returns.

    None if it has none, or a wrapper around it may have more.
    """
    if envs is not envs.unwrapped:
        return None
    if _gives_state(envs):
        return envs.state_dict()  # pyright: ignore
    members = _members(envs)
    if not members or not all(_gives_state(one) for one in members):
        return None
    return [{"state": one.state_dict(), "rng": one.np_random.bit_generator.state} for one in members]


def set_state(envs: VectorEnv, state: Any) -> None:
    """Restore a state of :func:`state_of`."""
    if _gives_state(envs):
        envs.load_state_dict(state)  # pyright: ignore
        return
    for one, saved in zip(_members(envs), state, strict=True):
        one.load_state_dict(saved["state"])
        one.np_random.bit_generator.state = saved["rng"]


def _gives_state(env: Any) -> bool:
    return hasattr(env, "state_dict") and hasattr(env, "load_state_dict")


def _members(envs: VectorEnv) -> list[Any]:
    """Return the environments that are stepped in this process; none if a wrapper around one may have a state."""
    members = []
    for one in envs.envs if isinstance(envs, SyncVectorEnv) else []:
        while isinstance(one, _WITHOUT_STATE):
            one = one.env
        members.append(one)
    return members if all(one is one.unwrapped for one in members) else []
