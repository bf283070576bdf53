"""Where a point of the world lies in a picture."""

from __future__ import annotations

import numpy as np

NEAREST = 0.05
"""Points closer to the camera's plane than this, or behind it, are not drawn [m]."""


class Camera:
    """A pinhole camera that is level; its picture has x to the right and y down."""

    def __init__(
        self, position: np.ndarray, look_at: np.ndarray, width: int, height: int, fov: float = np.radians(42.0)
    ) -> None:
        """Place it.

        Args:
            position: Where it is, world frame [m], shape (3,).
            look_at: The point in the middle of the picture, world frame [m], shape (3,).
            width: Width of the picture [pixel].
            height: Height of the picture [pixel].
            fov: Vertical angle of view [rad].
        """
        forward = (look_at - position) / np.linalg.norm(look_at - position)
        right = np.cross(forward, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        self._rows = np.stack([right, np.cross(forward, right), forward])
        self._position = np.asarray(position, dtype=float)
        self._middle = np.array([width / 2.0, height / 2.0])
        self._focal = height / 2.0 / np.tan(fov / 2.0)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where points lie in the picture.

        Args:
            points: World frame [m], shape (…, 3).

        Returns:
            Pixels, shape (…, 2), NaN where not in front of the camera, and depths [m], shape (…).
        """
        right, down, depth = np.moveaxis((points - self._position) @ self._rows.T, -1, 0)
        depth_seen = np.where(depth > NEAREST, depth, np.nan)
        pixels = self._middle + self._focal * np.stack([right, down], axis=-1) / depth_seen[..., None]
        return pixels, depth

    def length(self, metres: float, depth: float) -> float:
        """Return how long something is in the picture at a depth [pixel]."""
        return self._focal * metres / max(depth, NEAREST)
