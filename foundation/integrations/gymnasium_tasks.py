"""The quadrotor tasks as environments of gymnasium: ``Foundation/PointCtrl-v0``.

The names exist once :mod:`foundation.integrations.gymnasium` has been imported, by yourself or by the name::

    envs = gymnasium.make_vec("foundation.integrations.gymnasium:Foundation/PointCtrl-v0", num_envs=100)
    env = gymnasium.make("foundation.integrations.gymnasium:Foundation/PointCtrl-v0")

Further arguments are ``task``, whose settings differ, ``overrides`` of settings, and ``device``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

import foundation
from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv


class PointCtrlVectorEnv(VectorEnv):
    """Quadrotors that fly to the origin and stay there.

    Observations are a dictionary with the groups of the task's environment, ``student`` and ``teacher``; actions
    are rotor commands in [-1, 1]. An episode begins in the step that ends the one before
    (``AutoresetMode.SAME_STEP``), with ``final_obs`` in ``infos`` as gymnasium's own vector environments have it.
    """

    def __init__(
        self,
        num_envs: int = 1,
        task: str = "distillation",
        overrides: Sequence[str] = (),
        device: str = "cpu",
        seed: int = 0,
        max_episode_steps: int | None = None,
    ) -> None:
        """Make the environments.

        Args:
            num_envs: Number of environments.
            task: A task of :func:`foundation.make_env`.
            overrides: Settings in Hydra's grammar, such as ``env.sim.dt=0.005``.
            device: Device of the simulation; observations are arrays in host memory.
            seed: Seed of vehicles and episodes until ``reset`` gets another one.
            max_episode_steps: Length of an episode [steps]; None takes the task's.

        Raises:
            ConfigError: If the task or a setting is unknown, or a value cannot work.
            MissingExtraError: If the extra ``quadrotor`` is not installed.
        """
        length = [] if max_episode_steps is None else [f"env.episode_steps={max_episode_steps}"]
        self._made = {"task": task, "overrides": [*overrides, *length], "device": device}
        self.num_envs = num_envs
        self.env = self._make(seed)
        self.max_episode_steps = int(self.env.max_episode_length)
        """Length of an episode [steps]."""
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}
        shapes = {str(name): tuple(value.shape[1:]) for name, value in self.env.get_observations().items()}
        self.single_observation_space = Dict(
            {name: Box(-np.inf, np.inf, shape, np.float32) for name, shape in shapes.items()}
        )
        self.single_action_space = Box(-1.0, 1.0, (self.env.num_actions,), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin a new episode in every environment; with a seed, as a new environment with it does."""
        super().reset(seed=seed)
        if options and "reset_mask" in options:
            raise ValueError(
                "reset_mask is for AutoresetMode.DISABLED; finished environments reset themselves here"
            )
        if seed is None:
            return _arrays(self.env.reset()[0]), {}
        self.env = self._make(seed)
        return _arrays(self.env.get_observations()), {}

    def step(
        self, actions: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advance by one control step, with rotor commands (N, 4)."""
        obs, rewards, dones, extras = self.env.step(torch.as_tensor(actions), autoreset=False)
        ended, truncated = dones.cpu().numpy() > 0, extras["time_outs"].cpu().numpy()
        infos = {}
        if ended.any():
            infos = {"final_obs": _of_each(_arrays(obs), ended), "_final_obs": ended}
            obs = self.env.reset_finished()
        return _arrays(obs), rewards.double().cpu().numpy(), ended & ~truncated, truncated, infos

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return everything that the next step reads."""
        return self.env.state_dict()

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Continue from such a state.

        Raises:
            ValueError: If it belongs to other vehicles or another number of environments.
        """
        self.env.load_state_dict(state)

    def _make(self, seed: int) -> PointCtrlEnv:
        env = foundation.make_env(num_envs=self.num_envs, seed=seed, **self._made)
        assert isinstance(env, PointCtrlEnv)
        return env


class PointCtrl(gymnasium.Env):
    """One quadrotor that flies to the origin and stays there; see :class:`PointCtrlVectorEnv`."""

    metadata = {"render_modes": []}  # noqa: RUF012 - as in gymnasium

    def __init__(self, **settings: Any) -> None:
        """Take the settings of :class:`PointCtrlVectorEnv`, without ``num_envs``."""
        self._envs = PointCtrlVectorEnv(1, **settings)
        self.observation_space = self._envs.single_observation_space
        self.action_space = self._envs.single_action_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        obs, infos = self._envs.reset(seed=seed)
        return _of_one(obs, 0), infos

    def step(self, action: np.ndarray) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Advance by one control step, with rotor commands (4,)."""
        obs, rewards, terminated, truncated, infos = self._envs.step(action[None])
        last = infos["final_obs"][0] if infos else _of_one(obs, 0)
        return last, float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}


def _of_one(obs: dict[str, np.ndarray], env: int) -> dict[str, np.ndarray]:
    return {name: values[env] for name, values in obs.items()}


def _of_each(obs: dict[str, np.ndarray], where: np.ndarray) -> np.ndarray:
    """Return the observations of single environments, shape (N,), None where the mask is false."""
    each = np.full(len(where), None, dtype=object)
    for env in where.nonzero()[0].tolist():
        each[env] = _of_one(obs, env)
    return each


def _arrays(obs: Any) -> dict[str, np.ndarray]:
    return {str(name): values.cpu().numpy() for name, values in obs.items()}
