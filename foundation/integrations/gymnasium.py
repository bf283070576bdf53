"""Any vector environment of gymnasium as an environment of rsl_rl.

Importing this module also registers the quadrotor tasks with gymnasium; see
:mod:`foundation.integrations.gymnasium_tasks`.
"""

# VecEnv annotates its attributes more widely, and has no properties.
# pyright: reportIncompatibleVariableOverride=false
from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.extras import needs_extra

with needs_extra("gymnasium", "foundation.integrations.gymnasium"):
    import gymnasium
    from gymnasium.envs.registration import EnvSpec
    from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

    from foundation.integrations.gymnasium_checks import require_whole, usable, vector_environment
    from foundation.integrations.gymnasium_spaces import ActionRange, Selection, observation_groups
    from foundation.integrations.gymnasium_state import set_state, state_of


class GymnasiumVecEnv(VecEnv):
    """A vector environment of gymnasium, for rsl_rl and this project.

    Actions in [-1, 1] cover the action space; dimensions without limits are passed on as they are. Observations
    arrive as float32, images of bytes as bytes (N, C, H, W). An episode that reaches ``max_episode_length`` is
    truncated here, so that rsl_rl's ``init_at_random_ep_len`` takes effect.
    """

    device: torch.device

    def __init__(
        self,
        env: str | VectorEnv,
        num_envs: int | None = None,
        groups: Mapping[str, Selection] | None = None,
        seed: int = 0,
        device: torch.device | str = "cpu",
        scale_actions: bool = True,
        max_episode_length: int | None = None,
        vectorization_mode: str | None = None,
        **env_kwargs: Any,
    ) -> None:
        """Make the environment, and reset it.

        Args:
            env: The name of a registered environment, or a vector environment.
            num_envs: Number of environments; needed with a name.
            groups: The observation groups. Of an observation that is one vector, indices by group's name, such as
                ``{"student": range(5), "teacher": slice(None)}``; the default is one group, ``policy``. Of a
                dictionary, the entries of a group, ``{"student": "joints"}``, or indices by entry,
                ``{"student": {"joints": range(5)}}``; the default is a group per entry.
            seed: Seed of the first reset; environment ``i`` has ``seed + i``.
            device: Device of the tensors.
            scale_actions: Whether [-1, 1] covers the action space. Otherwise actions have the space's units.
            max_episode_length: Longest episode [steps]; the default is that of the registered environment.
            vectorization_mode: ``sync``, ``async`` (a process per environment) or ``vector_entry_point``; the
                default is gymnasium's. Only with a name.
            **env_kwargs: Further arguments of the environment. Only with a name.

        Raises:
            ValueError: If the spaces or the episode length cannot be used, or an argument has no effect.
        """
        if isinstance(env, str):
            envs = _make(env, num_envs, max_episode_length, vectorization_mode, env_kwargs)
        else:
            envs = vector_environment(env)
            given = {"num_envs": num_envs, "vectorization_mode": vectorization_mode, **env_kwargs}
            _reject(given, envs)
        self.envs, self.num_envs, self.device = envs, envs.num_envs, usable(device)
        self._range = ActionRange(envs.single_action_space, scale_actions)
        self._resets_itself = _resets_itself(envs)
        self._takes_masks = _takes_masks(envs)
        self.max_episode_length = self._longest(max_episode_length)
        self.num_actions = self._range.num_actions
        self.single_action_space = self._range.policy_space
        self._groups = observation_groups(envs.single_observation_space, groups)
        self.cfg: Any = {"id": _name_of(envs), "num_envs": self.num_envs, "seed": seed, **env_kwargs}
        self.reset(seed)

    @property
    def unwrapped(self) -> VectorEnv:
        """The environment as gymnasium has it, without wrappers."""
        return self.envs.unwrapped

    @property
    def episode_length_buf(self) -> torch.Tensor:
        """Steps since the reset of each episode, int64, shape (N,)."""
        return self._length

    @episode_length_buf.setter
    def episode_length_buf(self, value: torch.Tensor) -> None:
        if not self._takes_masks:
            raise ValueError(
                f"{self.cfg['id']} resets its environments itself, at lengths of its own: call learn without "
                "init_at_random_ep_len"
            )
        self._length = value.to(self._length)

    def reset(self, seed: int | None = None) -> tuple[TensorDict, dict]:
        """Begin a new episode in every environment, and return the first observations."""
        self._obs, _ = self.envs.reset(seed=seed)
        # A new tensor: the last one may come from inference mode, where it cannot be written from outside.
        self._length = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        return self.get_observations(), {}

    def get_observations(self) -> TensorDict:
        """Return the current observations, each group (N, D) or (N, C, H, W)."""
        groups = {name: group.read(self._obs, self.device) for name, group in self._groups.items()}
        return TensorDict(groups, batch_size=[self.num_envs], device=self.device)  # pyright: ignore

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        """Advance by one step; finished environments return the first observation of a new episode.

        Args:
            actions: Actions (N, A).

        Returns:
            Observations, rewards (N,), dones (N,) int64, and extras: ``time_outs`` (N,) bool, true where an
            episode was cut off by its time limit and by nothing else.

        Raises:
            ValueError: If the actions are of another shape, or no tensor.
        """
        if not isinstance(actions, torch.Tensor) or actions.shape != (self.num_envs, self.num_actions):
            raise ValueError(
                f"actions must be a tensor of shape ({self.num_envs}, {self.num_actions}), got "
                f"{type(actions).__name__} of shape {tuple(getattr(actions, 'shape', ()))}"
            )
        self._obs, rewards, terminated, truncated, _ = self.envs.step(self._range.applied(actions))
        self._length = self._length + 1
        terminated, truncated = np.asarray(terminated, bool), np.asarray(truncated, bool)
        to_reset = np.zeros_like(truncated) if self._resets_itself else terminated | truncated
        if self._takes_masks:
            cut_off = (self._length >= self.max_episode_length).cpu().numpy() & ~(terminated | truncated)
            truncated, to_reset = truncated | cut_off, to_reset | cut_off
        if to_reset.any():
            self._obs, _ = self.envs.reset(options={"reset_mask": to_reset})
        ended = self._on_device(terminated | truncated)
        self._length = torch.where(ended, 0, self._length)
        extras = {"time_outs": self._on_device(truncated & ~terminated)}
        return self.get_observations(), self._on_device(rewards).float(), ended.long(), extras

    def state_dict(self) -> dict[str, Any] | None:
        """Return everything that the next step reads; None if the environments do not give their state.

        They do so by ``state_dict`` and ``load_state_dict``, of the vector environment or of each environment that
        it steps in this process. Their random generators are kept as well.
        """
        own = state_of(self.envs)
        if own is None:
            return None
        obs = self._obs if isinstance(self._obs, dict) else {"": self._obs}
        tensors = {name: torch.as_tensor(np.array(values)) for name, values in obs.items()}
        return {"envs": own, "obs": tensors, "length": self._length.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from such a state.

        Raises:
            ValueError: If it belongs to another number of environments.
        """
        if len(state["length"]) != self.num_envs:
            raise ValueError(f"environment state is of {len(state['length'])} environments, not {self.num_envs}")
        # Wrappers such as TimeLimit count from here on.
        self.envs.reset()
        set_state(self.envs, state["envs"])
        obs = {name: values.cpu().numpy().copy() for name, values in state["obs"].items()}
        self._obs = obs.get("", obs)
        self._length = state["length"].to(self._length)

    def close(self) -> None:
        """Close gymnasium's environment."""
        self.envs.close()

    def _longest(self, wanted: int | None) -> int:
        """Return the longest episode [steps], which is cut off here if the environment's own limit is higher."""
        limit = _registered_length(self.envs)
        if limit is None and wanted is None:
            raise ValueError(
                f"{_name_of(self.envs)} is registered without max_episode_steps; give max_episode_length, the "
                "longest episode in steps"
            )
        require_whole("max_episode_length", wanted)
        if wanted is None or wanted == limit:
            return int(limit or 0)
        if limit is not None and (wanted > limit or not self._takes_masks):
            raise ValueError(
                f"max_episode_length={wanted} has no effect: {_name_of(self.envs)} ends its episodes after "
                f"{limit} steps"
            )
        return wanted

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.asarray(values)).to(self.device)


def _make(
    name: str, num_envs: int | None, longest: int | None, mode: str | None, kwargs: dict[str, Any]
) -> VectorEnv:
    if num_envs is None:
        raise ValueError("num_envs must be at least 1, got None")
    require_whole("num_envs", num_envs)
    require_whole("max_episode_length", longest)
    if longest is not None:
        kwargs = {**kwargs, "max_episode_steps": longest}
    if mode is None:
        mode = "sync" if _spec(name).vector_entry_point is None else "vector_entry_point"
    # Where gymnasium steps one environment after the other, episodes are begun here alone.
    own_resets = {} if mode == "vector_entry_point" else {"autoreset_mode": AutoresetMode.DISABLED}
    return gymnasium.make_vec(name, num_envs, vectorization_mode=mode, vector_kwargs=own_resets, **kwargs)


def _spec(name: str) -> EnvSpec:
    """Return the registered environment; its name may begin with the module that registers it."""
    module, _, name = name.rpartition(":")
    if module:
        importlib.import_module(module)
    return gymnasium.spec(name)


def _reject(given: dict[str, Any], envs: VectorEnv) -> None:
    same_number = {"num_envs": envs.num_envs}
    without_effect = [
        name for name, value in given.items() if value is not None and value != same_number.get(name)
    ]
    if without_effect:
        raise ValueError(
            f"{', '.join(without_effect)} cannot change a vector environment that exists, of {envs.num_envs} "
            "environments; give its registered name instead"
        )


def _takes_masks(envs: VectorEnv) -> bool:
    """Return whether single environments can be reset, with gymnasium's option ``reset_mask``."""
    mode = envs.metadata.get("autoreset_mode")
    return mode == AutoresetMode.DISABLED or isinstance(envs.unwrapped, (SyncVectorEnv, AsyncVectorEnv))


def _resets_itself(envs: VectorEnv) -> bool:
    """Return whether the environment begins an episode in the step that ends one.

    Raises:
        ValueError: If it does so in the step after, and in no other way.
    """
    mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
    # Without shared memory an AsyncVectorEnv resets an environment again that was reset by a mask.
    unshared = isinstance(envs.unwrapped, AsyncVectorEnv) and not envs.unwrapped.shared_memory
    if mode == AutoresetMode.NEXT_STEP and (unshared or not _takes_masks(envs)):
        raise ValueError(
            f"{_name_of(envs)} begins an episode in the step after its end (AutoresetMode.NEXT_STEP), where the "
            "policy's action is not applied; construct it with AutoresetMode.SAME_STEP"
        )
    return mode == AutoresetMode.SAME_STEP


def _registered_length(envs: VectorEnv) -> int | None:
    if isinstance(envs.unwrapped, (SyncVectorEnv, AsyncVectorEnv)):
        spec = envs.unwrapped.get_attr("spec")[0]
        return None if spec is None else spec.max_episode_steps
    spec = envs.spec
    registered = None if spec is None else spec.kwargs.get("max_episode_steps", spec.max_episode_steps)
    return registered or getattr(envs.unwrapped, "max_episode_steps", None)


def _name_of(envs: VectorEnv) -> str:
    return type(envs.unwrapped).__name__ if envs.spec is None else envs.spec.id


gymnasium.register(
    "Foundation/PointCtrl-v0",
    entry_point="foundation.integrations.gymnasium_tasks:PointCtrl",
    vector_entry_point="foundation.integrations.gymnasium_tasks:PointCtrlVectorEnv",
    # The task ends its episodes itself, and says how many steps they have.
    max_episode_steps=None,
)
