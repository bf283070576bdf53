"""Pictures of a fleet, drawn without GPU or display."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from foundation.viewer import palette
from foundation.viewer.camera import Camera
from foundation.viewer.fleet import SPACING, Fleet, Poses, Snapshot, rotate

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTH, HEIGHT = 1280, 720
SMOOTH = 2
"""Everything is drawn this many times as large, then made smaller, which smoothes edges."""
RECENT_SECONDS = 1.0
"""The newest part of a way is drawn in full colour."""
_PAPER, _GRID, _SHADOW = (255, 255, 255), (222, 222, 222), (226, 226, 226)
_CIRCLE = np.linspace(0.0, 2.0 * np.pi, 21)[:-1]
_LEGEND = (("front rotors", palette.FRONT), ("thrust", palette.THRUST), ("target", palette.TARGET))


class Painter:
    """Draws the moments of one flight."""

    def __init__(self, fleet: Fleet, role: str, title: str) -> None:
        """Prepare what is the same in all pictures.

        Args:
            fleet: The fleet.
            role: Who flies, which gives the colour.
            title: Line at the top.
        """
        self._fleet = fleet
        self._colour = palette.ROLES[role]
        self._faint = _mixed(self._colour, _PAPER, 0.35)
        self.camera = Camera(*_overview(fleet), SMOOTH * WIDTH, SMOOTH * HEIGHT)
        self._font = ImageFont.load_default(SMOOTH * 19)
        self._small = ImageFont.load_default(SMOOTH * 15)
        self._paper = self._background(title)

    def paint(self, seen: Snapshot, time: float, ways: np.ndarray, recent: int) -> Image.Image:
        """Return a picture.

        Args:
            seen: The moment.
            time: Its time [s].
            ways: Positions so far, world frame [m], NaN after an episode's end, shape (K, N, 3).
            recent: How many of the newest of them are drawn in full colour.
        """
        picture = self._paper.copy()
        draw = ImageDraw.Draw(picture)
        poses = self._fleet.poses(seen)
        self._shadows(draw, poses)
        self._targets(draw)
        pixels, _ = self.camera.project(ways)
        for vehicle in range(self._fleet.num_vehicles):
            way = pixels[~np.isnan(pixels[:, vehicle, 0]), vehicle]
            _line(draw, way, self._faint, SMOOTH * 1.5)
            _line(draw, way[-recent:] if poses.body_scale[vehicle] > 0.0 else way[:0], self._colour, SMOOTH * 2.0)
        _, depth = self.camera.project(poses.body_pos)
        for vehicle in np.argsort(-depth):
            if poses.body_scale[vehicle] > 0.0:
                self._vehicle(draw, poses, int(vehicle), float(depth[vehicle]))
        clock = f"{time:5.2f} s"
        draw.text((SMOOTH * (WIDTH - 24), SMOOTH * 18), clock, palette.DARK, self._font, anchor="ra")
        return picture.reduce(SMOOTH)

    def _vehicle(self, draw: ImageDraw.ImageDraw, poses: Poses, vehicle: int, depth: float) -> None:
        quat, hubs = poses.body_quat[vehicle], poses.rotor_pos[vehicle]
        radius = poses.rotor_radius[vehicle]
        middle, _ = self.camera.project(poses.body_pos[vehicle])
        ends, depths = self.camera.project(hubs)
        thick = self.camera.length(0.45 * float(radius.mean()), depth)
        for end in ends:
            _line(draw, np.stack([middle, end]), self._colour, max(thick, SMOOTH))
        up = rotate(quat, np.array([0.0, 0.0, 1.0]))
        tips, _ = self.camera.project(hubs + up * poses.thrust_length[vehicle][:, None])
        for rotor in np.argsort(-depths):
            colour = palette.FRONT if rotor in (0, 3) else palette.BACK
            rim, _ = self.camera.project(hubs[rotor] + rotate(quat, _disc(float(radius[rotor]))))
            _polygon(draw, rim, _mixed(colour, _PAPER, 0.8), palette.DARK)
            bar = np.stack([ends[rotor], tips[rotor]])
            _line(draw, bar, palette.THRUST, max(0.9 * thick, SMOOTH))
        ball = 1.1 * thick
        if not np.isnan(middle).any():
            draw.ellipse((*(middle - ball), *(middle + ball)), self._colour, palette.DARK)

    def _background(self, title: str) -> Image.Image:
        picture = Image.new("RGB", (SMOOTH * WIDTH, SMOOTH * HEIGHT), _PAPER)
        draw = ImageDraw.Draw(picture)
        reach = SPACING * np.ceil(self._fleet.extent / SPACING + 1.5)
        marks = np.arange(-reach, reach + 1e-6, SPACING / 3.0)
        along = np.linspace(-reach, reach, 60)
        for mark in marks:
            across = np.full_like(along, mark)
            for x, y in ((along, across), (across, along)):
                pixels, _ = self.camera.project(np.column_stack([x, y, np.zeros_like(along)]))
                _line(draw, pixels[~np.isnan(pixels[:, 0])], _GRID, SMOOTH)
        draw.text((SMOOTH * 24, SMOOTH * 18), title, palette.DARK, self._font)
        x = SMOOTH * 24.0
        y = SMOOTH * (HEIGHT - 36.0)
        for words, colour in (("vehicle and its way", self._colour), *_LEGEND):
            draw.rectangle((x, y + SMOOTH * 4, x + SMOOTH * 12, y + SMOOTH * 16), colour)
            draw.text((x + SMOOTH * 20, y), words, palette.GREY, self._small)
            x += SMOOTH * 44 + draw.textlength(words, self._small)
        return picture

    def _shadows(self, draw: ImageDraw.ImageDraw, poses: Poses) -> None:
        for vehicle in np.flatnonzero(poses.body_scale > 0.0):
            for hub, radius in zip(poses.rotor_pos[vehicle], poses.rotor_radius[vehicle], strict=True):
                ground = np.array([hub[0], hub[1], 0.0])
                rim, _ = self.camera.project(ground + _disc(float(radius)))
                _polygon(draw, rim, _SHADOW, None)

    def _targets(self, draw: ImageDraw.ImageDraw) -> None:
        pixels, depth = self.camera.project(self._fleet.targets)
        feet, _ = self.camera.project(self._fleet.targets * np.array([1.0, 1.0, 0.0]))
        for middle, foot, far in zip(pixels, feet, depth, strict=True):
            _line(draw, np.stack([middle, foot]), _mixed(palette.TARGET, _PAPER, 0.5), SMOOTH)
            size = max(self.camera.length(0.035, far), SMOOTH * 2.0)
            corners = middle + size * np.array([[0.0, -1.4], [1.0, 0.0], [0.0, 1.4], [-1.0, 0.0]])
            _polygon(draw, corners, palette.TARGET, None)


def _overview(fleet: Fleet) -> tuple[np.ndarray, np.ndarray]:
    """Return a position and the point that is looked at, which show the fleet in a wide picture [m]."""
    look_at = np.array([0.0, 0.0, 0.75])
    return look_at + (2.2 + 1.85 * fleet.extent) * np.array([-0.84, -0.34, 0.42]), look_at


def _disc(radius: float) -> np.ndarray:
    """Return the rim of a horizontal disc about the origin, shape (20, 3)."""
    return radius * np.column_stack([np.cos(_CIRCLE), np.sin(_CIRCLE), np.zeros_like(_CIRCLE)])


def _line(draw: ImageDraw.ImageDraw, pixels: np.ndarray, colour: tuple[int, int, int], width: float) -> None:
    if len(pixels) > 1 and not np.isnan(pixels).any():
        draw.line(_flat(pixels), colour, round(width), joint="curve")


def _polygon(
    draw: ImageDraw.ImageDraw, pixels: np.ndarray, colour: tuple[int, int, int], edge: tuple[int, int, int] | None
) -> None:
    if not np.isnan(pixels).any():
        draw.polygon(_flat(pixels), colour, edge)


def _flat(pixels: np.ndarray) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in pixels]


def _mixed(colour: Iterable[int], other: Iterable[int], share: float) -> tuple[int, int, int]:
    """Return a colour that is the first one by ``share``, the second one by the rest."""
    red, green, blue = (round(share * a + (1.0 - share) * b) for a, b in zip(colour, other, strict=True))
    return red, green, blue
