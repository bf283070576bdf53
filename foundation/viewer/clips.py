"""Short clips of a training fleet, recorded during training and replayed in real time.

Training is many times faster than real time and comes in bursts: snapshots at the frame rate of a page would be
unrelated. Instead, a few seconds of consecutive steps are recorded on request and replayed while training goes on.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from foundation.viewer.fleet import Snapshot, drawn_state, segments

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv


@dataclass(frozen=True)
class Clip:
    """T steps of N vehicles, after each step."""

    moments: list[Snapshot]
    """The vehicles, of length T."""
    ended: np.ndarray
    """True where the episode ended in the step and the moment belongs to the next one, bool, shape (T, N)."""

    def references(self, places: np.ndarray) -> np.ndarray | None:
        """Return the paths of targets, around places (N, 3), as segments, world frame [m], (S, 2, 3).

        None if they do not move.
        """
        moved = [moment.target_w for moment in self.moments if moment.target_w is not None]
        if not moved:
            return None
        # No line leads from one episode into the next.
        return segments(np.where(self.ended[..., None], np.nan, np.stack(moved) + places))


class ClipCamera:
    """Records consecutive steps of an environment's first vehicles on request. It only reads."""

    def __init__(self, env: PointCtrlEnv, vehicles: int, steps: int) -> None:
        """Install the callback of the environment.

        Args:
            env: The environment.
            vehicles: Number of vehicles to record, at most all.
            steps: Length T of a clip.
        """
        self._env = env
        self._count = min(vehicles, env.num_envs)
        self._steps = steps
        self._requested = threading.Event()
        self._ready = threading.Event()
        self._rows: list[list[torch.Tensor]] = []
        env.on_step = self._after_step

    def request(self) -> None:
        """Record a clip from the next step on, unless one is being recorded or waits to be taken."""
        if not self._requested.is_set() and not self._ready.is_set():
            self._rows = []
            self._requested.set()

    def take(self) -> Clip | None:
        """Return the requested clip once it is complete, and only once; None until then."""
        if not self._ready.is_set():
            return None
        columns = [torch.stack(rows).cpu().numpy() for rows in zip(*self._rows, strict=True)]
        self._ready.clear()
        *states, ended = columns
        return Clip([Snapshot(*row) for row in zip(*states, strict=True)], ended > 0)

    def close(self) -> None:
        """Remove the callback."""
        self._env.on_step = None

    def _after_step(self, dones: torch.Tensor) -> None:
        # Runs in the training loop: only copies, all on the device.
        if not self._requested.is_set():
            return
        try:
            self._rows.append([state[: self._count].clone() for state in (*drawn_state(self._env), dones)])
        except RuntimeError:  # out of memory for a copy: training goes on without clips
            self.close()
            return
        if len(self._rows) == self._steps:
            # In this order: no other clip may start in between.
            self._ready.set()
            self._requested.clear()
