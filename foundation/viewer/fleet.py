"""Where to draw the vehicles of a fleet on a grid, their rotors and their thrust."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foundation.sim.params import QuadParams

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from foundation.evaluation.recording import Recording
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv

SPACING = 1.5
"""Distance between the targets of two neighbours [m]; at least, where targets move."""
TARGET_HEIGHT = 1.0
"""Height of the targets over the drawn ground [m]; at least, where targets move."""
WIDEST_ROAMING = 1.75
"""Targets that move further may meet their neighbours', or sink into the ground [m]."""
DRAWN_SPAN = 0.32
"""Least width at which the widest vehicle is drawn [m]; true to scale, a Crazyflie would be a few pixels."""
WIDEST_SPAN = 0.8
"""Greatest width at which a vehicle is drawn [m]: neighbours and the camera keep clear of it."""
FULL_THRUST_LENGTH = 1.3
"""Length of the bar of a rotor at full thrust, over the vehicle's width."""


@dataclass(frozen=True)
class Snapshot:
    """N vehicles at one moment; NaN for those whose episode has ended."""

    pos_w: np.ndarray
    """Position relative to the vehicle's place on the grid, world frame [m], shape (N, 3)."""
    quat_wb: np.ndarray
    """Attitude, body to world, (x, y, z, w), shape (N, 4)."""
    rotor: np.ndarray
    """Rotor speeds as a share of full speed, shape (N, 4)."""
    vehicle: np.ndarray
    """Row of the vehicle table that each flies, shape (N,)."""
    target_w: np.ndarray | None = None
    """Position of the reference, relative to the place, world frame [m], shape (N, 3); None if it stays there."""

    @property
    def distance(self) -> np.ndarray:
        """Distance to the target [m], shape (N,)."""
        return np.linalg.norm(self.pos_w if self.target_w is None else self.pos_w - self.target_w, axis=-1)


def take_snapshot(env: PointCtrlEnv, count: int) -> Snapshot:
    """Copy the state of an environment's first ``count`` vehicles to the host."""
    return Snapshot(*(state[:count].detach().cpu().numpy().copy() for state in drawn_state(env)))


def drawn_state(env: PointCtrlEnv) -> list[torch.Tensor]:
    """Return the tensors of an environment that a :class:`Snapshot` is made of, in its order."""
    sim, reference = env.sim, env.reference
    state = [sim.pos_w, sim.quat_wb, sim.rotor, sim.vehicle]
    return state if reference is None else [*state, reference.position]


def fleet_of(env: PointCtrlEnv, count: int) -> Fleet:
    """Return the fleet of an environment's first ``count`` vehicles, with room for the paths that it follows."""
    moving = None if env.paths is None else env.paths.positions.cpu().numpy()
    return Fleet(env.sim.params, env.nominal, count, moving)


def frames(flight: Recording, vehicle: np.ndarray, fps: float) -> Iterator[tuple[int, Snapshot]]:
    """Yield step and state of each frame of a recording, in real time at ``fps`` frames per second."""
    for step in frame_steps(len(flight.pos_w), flight.dt, fps):
        target_w = None if flight.target_w is None else flight.target_w[step]
        yield int(step), Snapshot(flight.pos_w[step], flight.quat_wb[step], flight.rotor[step], vehicle, target_w)


def frame_steps(steps: int, dt: float, fps: float) -> np.ndarray:
    """Return the newest step at the time of each frame, shape (F,)."""
    count = max(1, round(steps * dt * fps))
    return np.minimum((np.arange(count) / (fps * dt) + 1e-9).astype(int), steps - 1)


@dataclass(frozen=True)
class Poses:
    """Positions and sizes to draw a fleet with, world frame [m]."""

    body_pos: np.ndarray
    """Shape (N, 3)."""
    body_quat: np.ndarray
    """Body to world, (x, y, z, w), shape (N, 4)."""
    body_scale: np.ndarray
    """Size over that of the nominal vehicle; 0 hides it. Shape (N,)."""
    rotor_pos: np.ndarray
    """Hubs in the order front-right, back-right, back-left, front-left, shape (N, 4, 3)."""
    rotor_radius: np.ndarray
    """Shape (N, 4)."""
    thrust_length: np.ndarray
    """Lengths of the bars along the body's z axis, shape (N, 4)."""
    target_pos: np.ndarray
    """Targets, shape (N, 3)."""


class Fleet:
    """N vehicles of a table, each with its own place on a grid, where its target is or around which it moves."""

    def __init__(
        self, params: QuadParams, nominal: QuadParams, num_vehicles: int, moving: np.ndarray | None = None
    ) -> None:
        """Choose the places.

        Args:
            params: The table of vehicles.
            nominal: The vehicle that the meshes are built for.
            num_vehicles: Number N of vehicles.
            moving: Where targets will be, relative to their places, world frame [m], shape (..., 3), to make room
                for them; NaN is ignored. None if they stay in their places.
        """
        self.num_vehicles = num_vehicles
        self.nominal_rotors = nominal.rotor_pos_b[0]
        self._params = params
        self._reach = np.linalg.norm(params.rotor_pos_b[..., :2], axis=-1).mean(-1)
        self._nominal_reach = float(np.linalg.norm(self.nominal_rotors[:, :2], axis=-1).mean())
        sideways, downwards = (0.0, 0.0) if moving is None else _roaming(moving)
        self.roaming = sideways
        """Largest distance of a target from its place, along x or y [m]."""
        self.height = max(TARGET_HEIGHT, downwards + 0.5 * TARGET_HEIGHT)
        """Height of the places over the drawn ground [m]."""
        self.targets = grid(num_vehicles, max(SPACING, 2.0 * sideways + SPACING / 3.0), self.height)
        """Places, which are the targets unless they move, world frame [m], shape (N, 3)."""
        span = 2.0 * float(self._reach.max())
        self.size = min(max(span, DRAWN_SPAN), WIDEST_SPAN) / span
        """Drawn size over real size, the same for all vehicles."""

    @property
    def extent(self) -> float:
        """Distance from the middle of the grid to the outermost target, wherever that moves [m]."""
        return float(np.linalg.norm(self.targets[:, :2], axis=1).max()) + self.roaming

    def poses(self, moment: Snapshot) -> Poses:
        """Return positions and sizes to draw the vehicles with."""
        alive = ~np.isnan(moment.pos_w[:, 0])
        pos = np.where(alive[:, None], moment.pos_w, 0.0) + self.targets
        quat = np.where(alive[:, None], moment.quat_wb, (0.0, 0.0, 0.0, 1.0))
        size = np.where(alive, self.size, 0.0)
        reach = self._reach[moment.vehicle] * size
        hubs = self._params.rotor_pos_b[moment.vehicle] * size[:, None, None]
        return Poses(
            body_pos=pos,
            body_quat=quat,
            body_scale=reach / self._nominal_reach,
            rotor_pos=pos[:, None] + rotate(quat[:, None], hubs),
            # Half the reach: neighbouring discs nearly touch.
            rotor_radius=np.repeat(0.5 * reach[:, None], 4, axis=1),
            thrust_length=self.thrust_share(moment) * (2.0 * FULL_THRUST_LENGTH * reach)[:, None],
            target_pos=self.targets + (0.0 if moment.target_w is None else np.nan_to_num(moment.target_w)),
        )

    def thrust_share(self, moment: Snapshot) -> np.ndarray:
        """Return each rotor's thrust over its thrust at full speed, shape (N, 4)."""
        c0, c1, c2 = self._params.thrust_curve[moment.vehicle].T[..., None]
        speed = np.nan_to_num(moment.rotor)
        return (c0 + c1 * speed + c2 * speed * speed).clip(0.0) / (c0 + c1 + c2)

    def mass(self, row: int) -> float:
        """Return the mass of a row of the vehicle table [kg]."""
        return float(self._params.mass[row])

    def thrust_to_weight(self, row: int) -> float:
        """Return the full thrust over the weight of a row of the vehicle table."""
        return float(self._params.thrust_to_weight[row])


def grid(count: int, spacing: float = SPACING, height: float = TARGET_HEIGHT) -> np.ndarray:
    """Return ``count`` places on a grid centred on the z axis, world frame [m], shape (count, 3)."""
    columns = int(np.ceil(np.sqrt(count)))
    row, column = np.divmod(np.arange(count), columns)
    rows = -(-count // columns)
    x, y = (rows - 1) / 2.0 - row, (columns - 1) / 2.0 - column
    return np.column_stack([spacing * x, spacing * y, np.full(count, height)])


def segments(points: np.ndarray) -> np.ndarray:
    """Return lines through points (K, N, 3) as segments (S, 2, 3), without those that have an end at NaN."""
    pairs = np.stack([points[:-1], points[1:]], axis=2).reshape(-1, 2, 3)
    return pairs[~np.isnan(pairs).any(axis=(1, 2))].astype(np.float32)


def _roaming(moving: np.ndarray) -> tuple[float, float]:
    """Return how far targets, (..., 3), move from their places along x or y and downwards, limited [m]."""
    outermost, lowest = np.nanmax(np.abs(moving[..., :2])), np.nanmin(moving[..., 2])
    return min(float(outermost), WIDEST_ROAMING), min(max(0.0, -float(lowest)), WIDEST_ROAMING)


def rotate(quat: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Rotate vectors (…, 3) by unit quaternions (x, y, z, w), (…, 4)."""
    axis, w = np.broadcast_to(quat[..., :3], vector.shape), quat[..., 3:]
    across = 2.0 * np.cross(axis, vector)
    return vector + w * across + np.cross(axis, across)
