"""A fleet in viser's scene, as a few batched nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foundation.viewer import palette
from foundation.viewer.fleet import SPACING, Fleet, Poses, Snapshot
from foundation.viewer.meshes import ball_mesh, bar_mesh, disc_mesh, frame_mesh

if TYPE_CHECKING:
    import viser

WORLD = "/world"
"""Parent of all nodes: the camera follows a vehicle by moving this node in the opposite direction."""
FOLLOW_FROM = np.array([-0.85, -0.6, 0.5])
"""Position of the camera that follows a vehicle, relative to it [m]."""
SHADOWED_VEHICLES = 16
"""Larger fleets cast no shadows: without a GPU shadows cost two thirds of the frame rate."""
BALL_RADIUS = 0.04
"""Radius of a target [m]."""
REFERENCES = f"{WORLD}/references"
"""Node of the paths of targets; there is none if they do not move."""
NO_LINES = np.zeros((1, 2, 3), dtype=np.float32)
BAR_RADIUS = 0.22
"""Radius of a thrust bar over that of its rotor."""


class FleetScene:
    """Draws a fleet and updates it."""

    def __init__(self, server: viser.ViserServer, fleet: Fleet, moment: Snapshot, role: str) -> None:
        """Build the scene.

        Args:
            server: The server, whose nodes of an earlier fleet are replaced.
            fleet: The fleet.
            moment: The vehicles at first.
            role: Role of the policy that flies, which gives the colour.
        """
        self._server, self._fleet, scene = server, fleet, server.scene
        self._world = scene.add_frame(WORLD, show_axes=False)
        poses = fleet.poses(moment)
        self._ground(scene, poses.target_pos)
        n = fleet.num_vehicles
        vertices, faces = frame_mesh(fleet.nominal_rotors)
        quat = _wxyz(poses.body_quat)
        self._bodies = scene.add_batched_meshes_simple(
            f"{WORLD}/bodies", vertices, faces, quat, poses.body_pos,
            batched_scales=poses.body_scale, batched_colors=palette.LIT[role], flat_shading=True,
        )  # fmt: skip
        rotor_quat = np.repeat(quat, 4, axis=0)
        hubs = poses.rotor_pos.reshape(-1, 3)
        colours = np.tile(np.array([palette.FRONT, palette.BACK, palette.BACK, palette.FRONT]), (n, 1))
        self._discs = scene.add_batched_meshes_simple(
            f"{WORLD}/rotors", *disc_mesh(), rotor_quat, hubs,
            batched_scales=poses.rotor_radius.ravel(), batched_colors=colours,
        )  # fmt: skip
        self._bars = scene.add_batched_meshes_simple(
            f"{WORLD}/thrust", *bar_mesh(), rotor_quat, hubs,
            batched_scales=_bar_scales(poses), batched_colors=palette.THRUST, cast_shadow=False,
        )  # fmt: skip
        self._trails = scene.add_line_segments(
            f"{WORLD}/trails", NO_LINES, palette.ROLES[role], thickness=2.0, thickness_units="screen"
        )
        if moment.target_w is None:
            scene.remove_by_name(REFERENCES)  # an earlier fleet's targets may have moved
        else:
            self._references = scene.add_line_segments(
                REFERENCES, NO_LINES, palette.REFERENCE, thickness=1.5, thickness_units="screen"
            )

    def draw(
        self, moment: Snapshot, trails: np.ndarray | None = None, references: np.ndarray | None = None
    ) -> None:
        """Show a moment.

        Args:
            moment: The vehicles.
            trails: Their trails, segments (S, 2, 3); None keeps the present ones.
            references: Paths of targets that move, likewise.
        """
        poses = self._fleet.poses(moment)
        quat = _wxyz(poses.body_quat)
        with self._server.atomic():
            self._bodies.batched_positions = poses.body_pos.astype(np.float32)
            self._bodies.batched_wxyzs = quat
            self._bodies.batched_scales = poses.body_scale.astype(np.float32)
            for node in (self._discs, self._bars):
                node.batched_positions = poses.rotor_pos.reshape(-1, 3).astype(np.float32)
                node.batched_wxyzs = np.repeat(quat, 4, axis=0)
            self._discs.batched_scales = poses.rotor_radius.ravel().astype(np.float32)
            self._bars.batched_scales = _bar_scales(poses)
            if trails is not None:
                # A node keeps its old segments on an empty update.
                self._trails.points = trails if len(trails) else NO_LINES
            if references is not None:
                self._references.points = references if len(references) else NO_LINES
            if moment.target_w is not None:
                self._targets.batched_positions = poses.target_pos.astype(np.float32)
                self._targets.batched_scales = np.where(poses.body_scale > 0.0, BALL_RADIUS, 0.0).astype(
                    np.float32
                )
                self._stalks.points = _stalks(poses.target_pos)

    def recolour(self, role: str) -> None:
        """Show the role of the policy that flies now."""
        self._bodies.batched_colors = np.array(palette.LIT[role], dtype=np.uint8)
        self._trails.colors = np.array(palette.ROLES[role], dtype=np.uint8)

    def centre_on(self, vehicle: int | None, moment: Snapshot) -> None:
        """Move the world so that a vehicle stays in the middle of the picture; None moves it back."""
        self._world.position = (0.0, 0.0, 0.0) if vehicle is None else -self._place(vehicle, moment)

    def aim(self, vehicle: int | None) -> None:
        """Point the camera of every page at a vehicle, or at the whole fleet."""
        position, look_at = overview(self._fleet) if vehicle is None else (FOLLOW_FROM, np.zeros(3))
        initial = self._server.initial_camera
        initial.position, initial.look_at = position, look_at
        for client in self._server.get_clients().values():
            with client.atomic():
                client.camera.position, client.camera.look_at = position, look_at

    def _place(self, vehicle: int, moment: Snapshot) -> np.ndarray:
        return moment.pos_w[vehicle].astype(float) + self._fleet.targets[vehicle]

    def _ground(self, scene: viser.SceneApi, targets_w: np.ndarray) -> None:
        # viser's default lights overexpose the colours.
        scene.configure_default_lights(enabled=False)
        scene.configure_environment_map(None)
        scene.add_light_ambient("/ambient", intensity=1.0)
        shadows = self._fleet.num_vehicles <= SHADOWED_VEHICLES
        scene.add_light_directional("/sun", intensity=1.2, cast_shadow=shadows, position=(-4.0, 3.0, 9.0))
        side = 2.0 * self._fleet.extent + 4.0 * SPACING
        scene.add_grid(
            f"{WORLD}/ground", side, side, cell_size=0.5, section_size=SPACING, plane_color=(245, 245, 245),
            plane_opacity=1.0, cell_color=(225, 225, 225), section_color=(195, 195, 195), shadow_opacity=0.2,
            fade_distance=200.0,
        )  # fmt: skip
        count = self._fleet.num_vehicles
        level = np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))
        self._targets = scene.add_batched_meshes_simple(
            f"{WORLD}/targets", *ball_mesh(), level, targets_w, batched_scales=np.full(count, BALL_RADIUS),
            batched_colors=palette.TARGET, flat_shading=True, cast_shadow=False,
        )  # fmt: skip
        self._stalks = scene.add_line_segments(
            f"{WORLD}/stalks", _stalks(targets_w), palette.TARGET, thickness=0.006
        )


def overview(fleet: Fleet) -> tuple[np.ndarray, np.ndarray]:
    """Return the position and the target of a camera that shows the whole fleet, world frame [m], shapes (3,)."""
    look_at = np.array([0.0, 0.0, 0.7 * fleet.height])
    return look_at + (1.6 + 1.5 * fleet.extent) * np.array([-0.80, -0.30, 0.50]), look_at


def _wxyz(quat: np.ndarray) -> np.ndarray:
    return np.roll(quat, 1, axis=-1).astype(np.float32)


def _stalks(targets_w: np.ndarray) -> np.ndarray:
    """Return lines from the ground to the targets (N, 3), segments (N, 2, 3)."""
    return np.stack([targets_w * np.array([1.0, 1.0, 0.0]), targets_w], axis=1).astype(np.float32)


def _bar_scales(poses: Poses) -> np.ndarray:
    """Return radius, radius and length of each thrust bar, shape (4 N, 3)."""
    radius = BAR_RADIUS * poses.rotor_radius.ravel()
    return np.column_stack([radius, radius, poses.thrust_length.ravel()]).astype(np.float32)
