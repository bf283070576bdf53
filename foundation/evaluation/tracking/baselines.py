"""Policies to be measured against: RAPTOR's released one, and the cascaded PID controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tensordict import TensorDict

from foundation.control.pid import CascadedPid
from foundation.extras import needs_extra
from foundation.tasks.point_ctrl.layout import STUDENT

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv


class Raptor:
    """RAPTOR's released policy (arXiv 2509.11481, package ``foundation-policy``); it reads group ``student``."""

    def __init__(self) -> None:
        """Load the policy.

        Raises:
            MissingExtraError: If the package is not installed.
        """
        with needs_extra("raptor", "RAPTOR's policy"):
            from foundation_policy import Raptor as Released

        self._policy: Any = Released()
        self._policy.reset()

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Return actions, shape (N, 4)."""
        student = obs["student"]
        actions = self._policy.evaluate_step(student.cpu().numpy()).astype(np.float32)
        return torch.from_numpy(actions).to(student.device)

    def reset(self, dones: torch.Tensor) -> None:
        """Forget what was seen of the environments in a mask of shape (N,)."""
        for layer in self._policy.layers:
            if getattr(layer, "state", None) is not None:
                layer.state[dones.cpu().numpy() > 0] = layer.initial_hidden_state


class PidPolicy:
    """The cascaded PID controller; it measures what a student measures, noise and delay included."""

    def __init__(self, env: PointCtrlEnv) -> None:
        """Take the gains of the environment's vehicles."""
        self._env = env
        self._pid = CascadedPid(env.sim.params, env.num_envs, dt=env.cfg.sim.dt, device=env.device)

    def __call__(self, obs: TensorDict) -> torch.Tensor:
        """Return actions, shape (N, 4)."""
        position, rotation, velocity, angular, previous = obs["student"].split(list(STUDENT.values()), dim=1)
        sim = self._env.sim
        command = self._pid(
            sim.vehicle,
            position,
            quaternion(rotation),
            velocity,
            angular,
            sim.rotor,
            0.5 * (previous + 1.0),
            torch.zeros_like(position),
        )
        return 2.0 * command - 1.0

    def reset(self, dones: torch.Tensor) -> None:
        """Clear the integrators of the environments in a mask of shape (N,)."""
        self._pid.reset(dones > 0)


def quaternion(rotation: torch.Tensor) -> torch.Tensor:
    """Return quaternions (x, y, z, w), (N, 4), of rotation matrices in rows, (N, 9).

    The numerically safe one of Shepperd's four cases, "Quaternion from rotation matrix", 1978.
    """
    m = rotation.view(-1, 3, 3)
    xx, yy, zz = m[:, 0, 0], m[:, 1, 1], m[:, 2, 2]
    # Four times the squares of x, y, z, w, and the products of each pair.
    squares = torch.stack([1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz, 1 + xx + yy + zz], dim=1)
    xy, xz, yz = m[:, 0, 1] + m[:, 1, 0], m[:, 0, 2] + m[:, 2, 0], m[:, 1, 2] + m[:, 2, 1]
    xw, yw, zw = m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]
    x2, y2, z2, w2 = squares.unbind(1)
    cases = torch.stack(
        [
            torch.stack([x2, xy, xz, xw], dim=1),
            torch.stack([xy, y2, yz, yw], dim=1),
            torch.stack([xz, yz, z2, zw], dim=1),
            torch.stack([xw, yw, zw, w2], dim=1),
        ],
        dim=1,
    )
    best = cases[torch.arange(len(m), device=m.device), squares.argmax(dim=1)]
    return torch.nn.functional.normalize(best, dim=1)
