"""Checks of the arguments that make an environment of gymnasium one of rsl_rl."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorEnv


def require_whole(name: str, value: int | None) -> None:
    """Refuse a number that is not whole or below 1; None is one that was not given.

    Raises:
        ValueError: If it is one.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name} must be a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def vector_environment(env: Any) -> VectorEnv:
    """Return a vector environment of gymnasium as it is, and refuse anything else.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(env, VectorEnv):
        return env
    if isinstance(env, gymnasium.Env):
        name = type(env.unwrapped).__name__ if env.spec is None else env.spec.id
        raise ValueError(
            f"{name} is a single environment; give its registered name and num_envs, or a vector environment, "
            "such as gymnasium.vector.SyncVectorEnv([make_env] * 4)"
        )
    raise ValueError(f"env must be a registered name or a vector environment of gymnasium, got {env!r}")


def usable(device: torch.device | str) -> torch.device:
    """Return a device on which tensors can be made.

    Raises:
        ValueError: If there is no such device on this machine.
    """
    try:
        torch.empty(0, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"device={device} cannot be used on this machine ({reason}); device='cpu' can") from error
