"""The last seconds of a flight."""

from __future__ import annotations

import numpy as np

from foundation.evaluation.recording import tilt
from foundation.viewer.fleet import Snapshot

TRAIL_SECONDS = 2.0
TRAIL_INTERVAL = 0.04
"""Time between two points of a trail [s]."""


class History:
    """Ring buffer of the newest steps of N vehicles, from which trails and curves are drawn."""

    def __init__(self, num_vehicles: int, dt: float, seconds: float) -> None:
        """Allocate an empty buffer.

        Args:
            num_vehicles: Number N of vehicles.
            dt: Control step [s].
            seconds: Simulated time to keep [s].
        """
        self._dt = dt
        self._size = max(2, round(seconds / dt))
        self._pos = np.full((self._size, num_vehicles, 3), np.nan, dtype=np.float32)
        self._distance = np.full((self._size, num_vehicles), np.nan, dtype=np.float32)
        self._tilt = np.full((self._size, num_vehicles), np.nan, dtype=np.float32)
        self._rotor = np.full((self._size, num_vehicles, 4), np.nan, dtype=np.float32)
        self._episode = np.zeros((self._size, num_vehicles), dtype=np.int32)
        self._ended = np.zeros(num_vehicles, dtype=np.int32)
        self._count = 0

    def append(self, moment: Snapshot, ended: np.ndarray | None = None) -> None:
        """Append a moment; ``ended``, bool, shape (N,), marks the episodes that ended in the step before it."""
        if ended is not None:
            self._ended += ended.astype(np.int32)
        row = self._count % self._size
        self._pos[row], self._rotor[row], self._episode[row] = moment.pos_w, moment.rotor, self._ended
        self._distance[row] = moment.distance
        self._tilt[row] = np.degrees(tilt(moment.quat_wb))
        self._count += 1

    def trails(self, targets: np.ndarray) -> np.ndarray:
        """Return the paths of the last seconds as segments, world frame [m], shape (S, 2, 3).

        Args:
            targets: Place of each vehicle on the grid, world frame [m], shape (N, 3).
        """
        every = max(1, round(TRAIL_INTERVAL / self._dt))
        newest = self._count - 1
        oldest = max(0, self._count - self._size, newest - round(TRAIL_SECONDS / self._dt))
        # Multiples of ``every``: the points of a trail stay the same from one frame to the next.
        steps = np.append(np.arange(-(-oldest // every) * every, newest, every), newest)
        rows = steps[steps >= 0] % self._size
        points, episode = self._pos[rows] + targets.astype(np.float32), self._episode[rows]
        same = episode[1:] == episode[:-1]
        return np.stack([points[:-1][same], points[1:][same]], axis=1)

    def curves(self, vehicle: int) -> dict[str, np.ndarray]:
        """Return the last seconds of one vehicle.

        Returns:
            ``time`` [s], ``distance`` to the target [m] and ``tilt`` [deg], of shape (K,), and ``rotor`` speeds
            as a share of full speed, (K, 4).
        """
        steps = np.arange(max(0, self._count - self._size), self._count)
        rows = steps % self._size
        return {
            "time": steps * self._dt,
            "distance": self._distance[rows, vehicle],
            "tilt": self._tilt[rows, vehicle],
            "rotor": self._rotor[rows, vehicle],
        }
