"""Environments that treat tensors as simulators do: reuse of buffers, other types, other shapes."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict


class HostEnv(VecEnv):
    """An environment around another one, to override what it returns."""

    def __init__(self, env: VecEnv) -> None:
        self.env = env
        self.num_envs, self.num_actions = env.num_envs, env.num_actions
        self.max_episode_length, self.device, self.cfg = env.max_episode_length, env.device, env.cfg

    @property
    def episode_length_buf(self) -> torch.Tensor:
        return self.env.episode_length_buf

    @episode_length_buf.setter
    def episode_length_buf(self, value: torch.Tensor) -> None:
        self.env.episode_length_buf = value

    def get_observations(self) -> TensorDict:
        return self.env.get_observations()

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        return self.env.step(actions)


class ReusingEnv(HostEnv):
    """Returns the same objects from every step, and overwrites all of them, and the actions, in the next one."""

    def __init__(self, env: VecEnv) -> None:
        super().__init__(env)
        self._obs = env.get_observations()
        self._returned: tuple[torch.Tensor, torch.Tensor, dict] | None = None

    def get_observations(self) -> TensorDict:
        self._obs.update_(self.env.get_observations())
        return self._obs

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        obs, *others = self.env.step(actions.clone())
        # Bytes cannot be NaN, and the runner refuses NaN: any other wrong number will do.
        actions.fill_(77.0)
        if self._returned is None:
            self._returned = tuple(others)
        _overwrite(self._returned, others)
        self._obs.update_(obs)
        return self._obs, *self._returned


def _overwrite(old: Any, new: Any) -> None:
    """Write new values into nested containers of the same structure."""
    items = new.items() if isinstance(new, dict) else enumerate(new)
    for key, value in items:
        if isinstance(value, torch.Tensor) and key in (old if isinstance(old, dict) else range(len(old))):
            old[key].copy_(value)
        elif isinstance(value, dict):
            _overwrite(old[key], value)
        else:
            old[key] = value
