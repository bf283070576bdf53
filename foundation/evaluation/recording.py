"""Recordings of flights: states, references and actions of every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from tensordict import TensorDict

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv

PolicyFn = Callable[[TensorDict], torch.Tensor]
"""Maps observations to actions. A recurrent one has ``reset(dones)``, called after every step.

One that is no rsl_rl model is also called before the first step, with a mask of all environments.
"""
ROTORS = ("front-right", "back-right", "back-left", "front-left")
"""Names of the rotors, in their order."""


@dataclass(frozen=True)
class Recording:
    """States before and actions in T steps of N vehicles; NaN after an episode's end."""

    dt: float
    """Control step [s]."""
    pos_w: np.ndarray
    """Position relative to the origin, which is the target unless that moves, world frame [m], shape (T, N, 3)."""
    quat_wb: np.ndarray
    """Attitude, body to world, (x, y, z, w), shape (T, N, 4)."""
    rotor: np.ndarray
    """Rotor speeds as a share of full speed, shape (T, N, 4)."""
    actions: np.ndarray
    """Actions of the policy that flew, clipped to [-1, 1], shape (T, N, 4)."""
    labels: np.ndarray | None = None
    """Actions of another policy in the same states, clipped, shape (T, N, 4)."""
    target_w: np.ndarray | None = None
    """Position of the reference, world frame [m], shape (T, N, 3); None if the target is the origin."""

    @property
    def time(self) -> np.ndarray:
        """Time since the start [s], shape (T,)."""
        return np.arange(len(self.pos_w)) * self.dt

    @property
    def error_w(self) -> np.ndarray:
        """Position relative to the target, world frame [m], shape (T, N, 3)."""
        return self.pos_w if self.target_w is None else self.pos_w - self.target_w

    @property
    def distance(self) -> np.ndarray:
        """Distance to the target [m], shape (T, N)."""
        return np.linalg.norm(self.error_w, axis=-1)

    @property
    def tilt(self) -> np.ndarray:
        """Angle between body and world vertical [rad], shape (T, N)."""
        return tilt(self.quat_wb)

    @property
    def length(self) -> np.ndarray:
        """Recorded steps of each episode, shape (N,)."""
        return (~np.isnan(self.pos_w[..., 0])).sum(axis=0)


def tilt(quat_wb: np.ndarray) -> np.ndarray:
    """Return the angle between body and world vertical [rad], shape (...), of attitudes (x, y, z, w), (..., 4)."""
    x, y = quat_wb[..., 0], quat_wb[..., 1]
    return np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0))


class Recorder:
    """Records the first episode of an environment's first vehicles."""

    def __init__(self, env: PointCtrlEnv, vehicles: int, label: PolicyFn | None = None) -> None:
        """Start from the current episodes.

        Args:
            env: The environment.
            vehicles: Number of vehicles to record, at most all.
            label: A policy whose actions in the same states are recorded as well.
        """
        self._env = env
        self._count = min(vehicles, env.num_envs)
        self._label = label
        self._alive = torch.ones(self._count, dtype=torch.bool, device=env.device)
        self._rows: dict[str, list[torch.Tensor]] = {}

    def before_step(self, obs: TensorDict, actions: torch.Tensor) -> None:
        """Record the state, the reference, the actions and the labels."""
        sim, reference = self._env.sim, self._env.reference
        state = {
            "pos_w": sim.pos_w,
            "quat_wb": sim.quat_wb,
            "rotor": sim.rotor,
            "actions": actions.clamp(-1.0, 1.0),
        }
        if reference is not None:
            state["target_w"] = reference.position
        if self._label is not None:
            state["labels"] = self._label(obs).clamp(-1.0, 1.0)
        for name, values in state.items():
            kept = torch.where(self._alive[:, None], values[: self._count], torch.nan)
            self._rows.setdefault(name, []).append(kept)

    def after_step(self, dones: torch.Tensor) -> None:
        """Stop recording the vehicles whose episode ended."""
        self._alive &= dones[: self._count] == 0
        reset_policy(self._label, dones)

    def recording(self) -> Recording:
        """Return the recording so far."""
        arrays = {name: torch.stack(rows).cpu().numpy() for name, rows in self._rows.items()}
        return Recording(self._env.sim.dt, **arrays)


def record(env: PointCtrlEnv, policy: PolicyFn, steps: int) -> Recording:
    """Fly the current episodes for ``steps`` steps and record them until they end."""
    recorder = Recorder(env, env.num_envs)
    with torch.inference_mode():
        obs = env.get_observations()
        for _ in range(steps):
            actions = policy(obs)
            recorder.before_step(obs, actions)
            obs, _, dones, _ = env.step(actions)
            recorder.after_step(dones)
            reset_policy(policy, dones)
    return recorder.recording()


def reset_policy(policy: PolicyFn | None, dones: torch.Tensor) -> None:
    """Reset a policy's recurrent state where an episode ended; do nothing for a policy without ``reset``."""
    reset = getattr(policy, "reset", None)
    if reset is not None:
        # The state was created in inference mode, and torch allows in-place writes to it in that mode only.
        with torch.inference_mode():
            reset(dones)
