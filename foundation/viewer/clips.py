"""Short clips of a training fleet, taken while it trains and shown afterwards.

Training runs many times faster than real time, in bursts: what is seen at one moment and the next is unrelated.
So steps that follow each other are kept now and then, and shown in real time while training goes on.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from foundation.viewer.fleet import Snapshot

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv


@dataclass(frozen=True)
class Clip:
    """T steps of N vehicles, after each step."""

    moments: list[Snapshot]
    """The vehicles, of length T."""
    ended: np.ndarray
    """Whose episode ended in the step, so that the moment is of a new one, bool, shape (T, N)."""


class ClipCamera:
    """Keeps consecutive steps of an environment's first vehicles when it is asked to. It only reads."""

    def __init__(self, env: PointCtrlEnv, vehicles: int, steps: int) -> None:
        """Listen to an environment.

        Args:
            env: The environment.
            vehicles: Vehicles to keep, at most all.
            steps: Length of a clip.
        """
        self._env = env
        self._count = min(vehicles, env.num_envs)
        self._steps = steps
        self._wanted = threading.Event()
        self._ready = threading.Event()
        self._rows: list[list[torch.Tensor]] = []
        env.on_step = self._after_step

    def want(self) -> None:
        """Begin a clip with the next step, unless one is being made."""
        if not self._wanted.is_set() and not self._ready.is_set():
            self._rows = []
            self._wanted.set()

    def take(self) -> Clip | None:
        """Return the clip that was wanted, once, when it is complete."""
        if not self._ready.is_set():
            return None
        columns = [torch.stack(rows).cpu().numpy() for rows in zip(*self._rows, strict=True)]
        self._ready.clear()
        *states, ended = columns
        return Clip([Snapshot(*row) for row in zip(*states, strict=True)], ended > 0)

    def close(self) -> None:
        """Listen no more."""
        self._env.on_step = None

    def _after_step(self, dones: torch.Tensor) -> None:
        # Called in the training loop: copies only, on the device.
        if not self._wanted.is_set():
            return
        sim = self._env.sim
        seen = (sim.pos_w, sim.quat_wb, sim.rotor, sim.vehicle, dones)
        try:
            self._rows.append([state[: self._count].clone() for state in seen])
        except RuntimeError:  # no memory left for a copy: training goes on, unseen
            self.close()
            return
        if len(self._rows) == self._steps:
            # In this order: another clip may not begin in between.
            self._ready.set()
            self._wanted.clear()
