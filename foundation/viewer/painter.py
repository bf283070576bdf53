"""Pictures of a fleet, drawn by matplotlib without GPU or display."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d.art3d import Line3DCollection, Poly3DCollection

from foundation.viewer import palette
from foundation.viewer.fleet import SPACING, TARGET_HEIGHT, Fleet, Poses, Snapshot, rotate, segments

WIDTH, HEIGHT, DPI = 1280, 720, 100
LOOK_AT_HEIGHT = 0.75
"""Height of the point in the middle of the picture [m]."""
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 21)[:-1]
_RIM = np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES), np.zeros_like(_ANGLES)])
"""Rim of a horizontal disc of radius 1, shape (20, 3)."""
_ROTOR_COLOURS = (palette.FRONT, palette.BACK, palette.BACK, palette.FRONT)
_LABELS = (
    ("front rotors", palette.css(palette.FRONT)),
    ("thrust", palette.css(palette.THRUST)),
    ("target", palette.css(palette.TARGET)),
)
_GRID, _SHADOW = palette.css((222, 222, 222)), palette.css((226, 226, 226))


class Painter:
    """Draws the moments of one flight; only what moves is updated from one picture to the next."""

    def __init__(self, fleet: Fleet, role: str, title: str, references_w: np.ndarray | None = None) -> None:
        """Draw the background.

        Args:
            fleet: The fleet.
            role: Role of the policy that flies, which gives the colour.
            title: Line at the top.
            references_w: Paths of targets that move, world frame [m], NaN after an episode's end, shape (K, N, 3).
        """
        self._fleet = fleet
        self._colour = palette.css(palette.ROLES[role])
        self._canvas = FigureCanvasAgg(Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI))
        self.axes: Any = self._add_axes()
        """The 3-D axes; its data are in the world frame [m]."""
        self._add_background(title)
        self._add_targets(references_w)
        self._add_fleet()

    def paint(self, moment: Snapshot, time: float, paths_w: np.ndarray, recent: int) -> np.ndarray:
        """Return a picture as RGB, uint8, shape (720, 1280, 3).

        Args:
            moment: The vehicles.
            time: Time at the top [s].
            paths_w: Positions so far, world frame [m], NaN after an episode's end, shape (K, N, 3).
            recent: Number of the newest positions whose path is drawn in full colour.
        """
        poses = self._fleet.poses(moment)
        for vehicle, (faint, full) in enumerate(self._paths):
            faint.set_data_3d(*paths_w[:, vehicle].T)
            full.set_data_3d(*paths_w[-recent:, vehicle].T)
        self._move(poses)
        if moment.target_w is not None:
            self._place_targets(poses.target_pos[poses.body_scale > 0.0])
        self._clock.set_text(f"{time:5.2f} s")
        self._canvas.draw()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _move(self, poses: Poses) -> None:
        alive = poses.body_scale > 0.0
        hubs_w, quat = poses.rotor_pos[alive], poses.body_quat[alive][:, None]
        bodies_w = np.broadcast_to(poses.body_pos[alive][:, None], hubs_w.shape)
        rims_w = hubs_w[:, :, None] + rotate(quat[:, None], _RIM * poses.rotor_radius[alive][..., None, None])
        bars_b = poses.thrust_length[alive][..., None] * np.array([0.0, 0.0, 1.0])
        self._shadows.set_verts((rims_w * np.array([1.0, 1.0, 0.0])).reshape(-1, len(_RIM), 3))
        self._arms.set_segments(np.stack([bodies_w, hubs_w], axis=2).reshape(-1, 2, 3))
        self._discs.set_verts(rims_w.reshape(-1, len(_RIM), 3))
        self._discs.set_facecolor([palette.css(colour) for colour in _ROTOR_COLOURS] * int(alive.sum()))
        self._bars.set_segments(np.stack([hubs_w, hubs_w + rotate(quat, bars_b)], axis=2).reshape(-1, 2, 3))
        self._bodies.set_data_3d(*poses.body_pos[alive].T)

    def _add_axes(self) -> Any:
        # matplotlib keeps 3-D axes square: as wide as the picture, they stand out above and below.
        shape = WIDTH / HEIGHT
        axes: Any = self._canvas.figure.add_axes(
            (0.0, (1.0 - shape) / 2.0, 1.0, shape), projection="3d", computed_zorder=False
        )
        reach = self._reach
        axes.set(xlim=(-reach, reach), ylim=(-reach, reach))
        middle = LOOK_AT_HEIGHT + self._fleet.height - TARGET_HEIGHT
        axes.set_zlim(middle - reach, middle + reach)
        axes.set_box_aspect((1.0, 1.0, 1.0), zoom=1.37)
        axes.set_proj_type("persp", focal_length=0.14)
        axes.view_init(elev=25.0, azim=-158.0)
        axes.set_axis_off()
        return axes

    @property
    def _reach(self) -> float:
        """Half the side of the cube that the picture shows [m]."""
        return 1.2 + self._fleet.extent

    def _add_background(self, title: str) -> None:
        reach, figure = self._reach, self._canvas.figure
        marks = np.arange(-reach, reach + 1e-6, SPACING / 3.0)
        lines = [[(-reach, mark, 0.0), (reach, mark, 0.0)] for mark in marks]
        lines += [[(mark, -reach, 0.0), (mark, reach, 0.0)] for mark in marks]
        self._add_lines(lines, _GRID, 0.7)
        # Artists are drawn in the order in which they are added: shadows are on the grid and under all the rest.
        self._shadows = self.axes.add_collection3d(Poly3DCollection([_RIM], facecolors=_SHADOW))
        dark = palette.css(palette.DARK)
        figure.text(0.02, 0.95, title, color=dark, size=14, parse_math=False)
        self._clock = figure.text(0.98, 0.95, "", color=dark, size=14, ha="right")
        labels = (("vehicle and its path", self._colour), *_LABELS)
        for x, (label, colour) in zip((0.02, 0.17, 0.27, 0.34), labels, strict=True):
            figure.text(x, 0.03, f"\N{BLACK SQUARE} {label}", color=colour, size=11)

    def _add_targets(self, references_w: np.ndarray | None) -> None:
        """Add the targets and, where they move, their paths."""
        green, pale = palette.css(palette.TARGET), palette.css(palette.REFERENCE)
        if references_w is not None:
            self._add_lines(segments(references_w), pale, 1.4)
            self._canvas.figure.text(0.41, 0.03, "\N{BLACK SQUARE} its path", color=pale, size=11)
        self._stalks = self._add_lines(np.zeros((1, 2, 3)), green, 0.7)
        (self._targets,) = self.axes.plot([], [], [], "d", color=green, markersize=self._points(0.10))
        self._place_targets(self._fleet.targets)

    def _place_targets(self, targets_w: np.ndarray) -> None:
        """Show targets, world frame [m], shape (K, 3)."""
        feet = targets_w * np.array([1.0, 1.0, 0.0])
        self._stalks.set_segments(np.stack([feet, targets_w], axis=1))
        self._targets.set_data_3d(*targets_w.T)

    def _add_fleet(self) -> None:
        """Add the artists that :meth:`paint` moves."""
        dark, width = palette.css(palette.DARK), max(1.0, self._points(0.05))
        empty = ([], [], [])
        self._paths = [
            (
                *self.axes.plot(*empty, color=self._colour, linewidth=1.0, alpha=0.35),
                *self.axes.plot(*empty, color=self._colour, linewidth=1.4),
            )
            for _ in range(self._fleet.num_vehicles)
        ]
        self._arms = self._add_lines(np.zeros((1, 2, 3)), self._colour, width)
        self._discs = self.axes.add_collection3d(Poly3DCollection([_RIM], edgecolors=dark, linewidths=0.5))
        self._bars = self._add_lines(np.zeros((1, 2, 3)), palette.css(palette.THRUST), width)
        (self._bodies,) = self.axes.plot(
            *empty, "o", color=self._colour, markeredgecolor=dark, markeredgewidth=0.5, markersize=2.0 * width
        )

    def _add_lines(self, segments: Any, colour: str, width: float) -> Any:
        return self.axes.add_collection3d(Line3DCollection(segments, colors=colour, linewidths=width))

    def _points(self, metres: float) -> float:
        """Return the size of something in the middle of the picture [pt]."""
        return metres * 200.0 / self._reach
