"""Fly a policy along paths and record what it was to do and what it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from foundation.control.rotations import twist_and_swing
from foundation.evaluation.recording import PolicyFn, reset_policy

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
    from foundation.tasks.point_ctrl.references import ReferenceTable


@dataclass(frozen=True)
class TrackedFlight:
    """References, states before and actions in T steps of N vehicles; NaN after a vehicle is lost."""

    dt: float
    """Control step [s]."""
    desired_pos: np.ndarray
    """Position of the reference, world frame [m], shape (T, N, 3)."""
    actual_pos: np.ndarray
    """Position, world frame [m], shape (T, N, 3)."""
    desired_vel: np.ndarray
    """Velocity of the reference, world frame [m/s], shape (T, N, 3)."""
    actual_vel: np.ndarray
    """Velocity, world frame [m/s], shape (T, N, 3)."""
    heading_error: np.ndarray
    """Heading less that of the reference, in [-pi, pi] [rad], shape (T, N).

    It is the rotation about the vertical without the tilt (the twist), as in the reward: a tilt alone is no error.
    """
    actions: np.ndarray
    """Actions, clipped to [-1, 1], shape (T, N, 4)."""
    mass: np.ndarray
    """Mass of the vehicles [kg], shape (N,)."""
    survived: np.ndarray
    """Whether a vehicle was not lost, shape (N,)."""
    path: np.ndarray
    """Which of the paths a vehicle followed, from 0, shape (N,)."""

    @property
    def position_error(self) -> np.ndarray:
        """Position less that of the reference [m], shape (T, N, 3)."""
        return self.actual_pos - self.desired_pos

    @property
    def velocity_error(self) -> np.ndarray:
        """Velocity less that of the reference [m/s], shape (T, N, 3)."""
        return self.actual_vel - self.desired_vel

    @property
    def timestamps(self) -> np.ndarray:
        """Time since the start [s], shape (T,)."""
        return np.arange(len(self.desired_pos)) * self.dt


@torch.inference_mode()
def track(
    env: PointCtrlEnv,
    policy: PolicyFn,
    paths: ReferenceTable,
    progress: Callable[[int, int], None] | None = None,
) -> TrackedFlight:
    """Fly one episode per environment along one of some paths each.

    Args:
        env: The environment.
        policy: Maps observations to actions; its recurrent state is reset before the first step.
        paths: The paths.
        progress: Called with (steps done, steps) after each step.
    """
    obs = env.follow(paths)
    reset_policy(policy, torch.ones(env.num_envs, dtype=torch.bool, device=env.device))
    alive = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    survived = alive.clone()
    mass = env.sim.params.mass[env.sim.vehicle.long().cpu().numpy()]
    assert env.path is not None
    path = env.path.cpu().numpy()
    rows: dict[str, list[torch.Tensor]] = {}
    steps = env.cfg.max_episode_length
    for step in range(steps):
        actions = policy(obs).clamp(-1.0, 1.0)
        for name, values in _before(env, actions).items():
            unseen = ~alive if values.dim() == 1 else ~alive[:, None]
            rows.setdefault(name, []).append(values.masked_fill(unseen, torch.nan))
        obs, _, dones, extras = env.step(actions)
        survived &= ~((dones > 0) & ~extras["time_outs"] & alive)
        alive &= dones == 0
        reset_policy(policy, dones)
        if progress is not None:
            progress(step + 1, steps)
    arrays = {name: torch.stack(values).cpu().numpy() for name, values in rows.items()}
    return TrackedFlight(env.sim.dt, **arrays, mass=mass, survived=survived.cpu().numpy(), path=path)


def joined(flights: Sequence[TrackedFlight]) -> TrackedFlight:
    """Return flights of several seeds as one, vehicles side by side."""
    columns = {
        item.name: np.concatenate(
            [getattr(flight, item.name) for flight in flights], axis=_VEHICLES.get(item.name, 1)
        )
        for item in fields(TrackedFlight)
        if item.name != "dt"
    }
    return TrackedFlight(flights[0].dt, **columns)


def part(flight: TrackedFlight, which: np.ndarray) -> TrackedFlight:
    """Return the vehicles of a flight that a mask or indices select."""
    columns = {
        item.name: np.take(
            getattr(flight, item.name), np.arange(flight.mass.size)[which], _VEHICLES.get(item.name, 1)
        )
        for item in fields(TrackedFlight)
        if item.name != "dt"
    }
    return TrackedFlight(flight.dt, **columns)


_VEHICLES = {"mass": 0, "survived": 0, "path": 0}
"""Axis of the vehicles where it is not the second."""


def _before(env: PointCtrlEnv, actions: torch.Tensor) -> dict[str, torch.Tensor]:
    reference = env.reference
    assert reference is not None
    _, heading_error, _ = twist_and_swing(reference.relative_attitude(env.sim.quat_wb))
    return {
        "desired_pos": reference.position,
        "actual_pos": env.sim.pos_w.clone(),
        "desired_vel": reference.velocity,
        "actual_vel": env.sim.vel_w.clone(),
        "heading_error": heading_error,
        "actions": actions,
    }
