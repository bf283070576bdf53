"""Triangle meshes of vehicles, rotors, thrust bars and targets."""

from __future__ import annotations

import numpy as np

Mesh = tuple[np.ndarray, np.ndarray]
"""Vertices, shape (V, 3), and indices of the corners of triangles, shape (F, 3)."""
DISC_SIDES = 20
DISC_HEIGHT = 0.12
"""Height of a rotor's disc over its radius."""


def frame_mesh(rotor_pos_b: np.ndarray) -> Mesh:
    """Return a hub with an arm to each rotor, in the body frame [m].

    Args:
        rotor_pos_b: Rotor hubs relative to the centre of mass [m], shape (4, 3).
    """
    reach = float(np.linalg.norm(rotor_pos_b[:, :2], axis=1).mean())
    width, height = 0.22 * reach, 0.16 * reach
    vertices, faces = _box(np.array([1.1 * reach, 0.6 * reach, 0.5 * reach]))
    # The hub is higher than the rotors, so that its colour is visible from above.
    parts = [(vertices + np.array([0.0, 0.0, 0.2 * reach]), faces)]
    for rotor in rotor_pos_b:
        length = float(np.linalg.norm(rotor[:2]))
        vertices, faces = _box(np.array([length, width, height]))
        vertices = vertices + np.array([length / 2.0, 0.0, 0.0])
        cos, sin = rotor[:2] / length
        turned = np.column_stack([vertices[:, :2] @ np.array([[cos, sin], [-sin, cos]]), vertices[:, 2]])
        # Arms end at the height of their rotor hubs.
        turned[:, 2] += rotor[2] * vertices[:, 0] / length
        parts.append((turned, faces))
    return _joined(parts)


def disc_mesh() -> Mesh:
    """Return a flat cylinder of radius 1 about the origin."""
    return _cylinder(DISC_HEIGHT, -DISC_HEIGHT / 2.0)


def bar_mesh() -> Mesh:
    """Return a cylinder of radius 1 and height 1 whose bottom is at the origin."""
    return _cylinder(1.0, 0.0)


def ball_mesh() -> Mesh:
    """Return an octahedron of radius 1."""
    vertices = np.concatenate([np.eye(3), -np.eye(3)])
    faces = [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    return vertices, np.array(faces)


def _box(size: np.ndarray) -> Mesh:
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    faces = [
        (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1),
        (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3),
    ]  # fmt: skip
    return corners * size, np.array(faces)


def _cylinder(height: float, bottom: float) -> Mesh:
    angles = np.arange(DISC_SIDES) * (2.0 * np.pi / DISC_SIDES)
    ring = np.column_stack([np.cos(angles), np.sin(angles)])
    low, high = (np.column_stack([ring, np.full(DISC_SIDES, z)]) for z in (bottom, bottom + height))
    vertices = np.concatenate([low, high, [[0.0, 0.0, bottom], [0.0, 0.0, bottom + height]]])
    here = np.arange(DISC_SIDES)
    there, centre = (here + 1) % DISC_SIDES, np.full(DISC_SIDES, 2 * DISC_SIDES)
    sides = [np.column_stack([here, there, there + DISC_SIDES])]
    sides += [np.column_stack([here, there + DISC_SIDES, here + DISC_SIDES])]
    lids = [np.column_stack([there, here, centre])]
    lids += [np.column_stack([here + DISC_SIDES, there + DISC_SIDES, centre + 1])]
    return vertices, np.concatenate(sides + lids)


def _joined(parts: list[Mesh]) -> Mesh:
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts[:-1])])
    faces = [corners + start for (_, corners), start in zip(parts, starts, strict=True)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(faces)
