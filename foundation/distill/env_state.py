"""The state of an environment that can be saved and restored."""

from __future__ import annotations

from typing import Any

from rsl_rl.env import VecEnv


def state_of(env: VecEnv) -> Any:
    """Return an environment's ``state_dict``; None if it has none, or no ``load_state_dict``."""
    if not hasattr(env, "state_dict") or not hasattr(env, "load_state_dict"):
        return None
    return env.state_dict()  # pyright: ignore
