"""Rotations as quaternions (x, y, z, w), in batches."""

from __future__ import annotations

import torch


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the rotation ``a`` after ``b``, shape (N, 4)."""
    ax, ay, az, aw = a.unbind(-1)
    bx, by, bz, bw = b.unbind(-1)
    return torch.stack(
        [
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
            aw * bw - ax * bx - ay * by - az * bz,
        ],
        dim=-1,
    )


def inverse(q: torch.Tensor) -> torch.Tensor:
    """Return the inverse of unit quaternions (N, 4)."""
    return torch.cat([-q[:, :3], q[:, 3:]], dim=1)


def rotated_by_inverse(q: torch.Tensor, v_w: torch.Tensor) -> torch.Tensor:
    """Return world vectors (N, 3) in the frames whose attitudes are ``q``, (N, 4)."""
    axis, w = -q[:, :3], q[:, 3:]
    across = 2.0 * torch.linalg.cross(axis, v_w)
    return v_w + w * across + torch.linalg.cross(axis, across)


def tilting_z_to(direction: torch.Tensor) -> torch.Tensor:
    """Return the shortest rotation from the z axis to unit vectors (N, 3), which must not point straight down."""
    x, y, z = direction.unbind(-1)
    q = torch.stack([-y, x, torch.zeros_like(x), 1.0 + z], dim=-1)
    return q / q.norm(dim=-1, keepdim=True)


def twist_and_swing(q: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Split a rotation into a turn about z and a tilt in the turned frame, q = twist * swing.

    Returns:
        The twist as quaternions, shape (N, 4); its angle [rad], shape (N,); and the swing's rotation vector about
        the turned x and y axes [rad], shape (N, 2).
    """
    # Both signs stand for one rotation; with w >= 0 angles are the short way round.
    q = torch.where(q[:, 3:] < 0.0, -q, q)
    x, y, z, w = q.unbind(-1)
    cosine = torch.sqrt(z**2 + w**2).clamp(min=1e-9)
    sine = torch.sqrt(x**2 + y**2)
    zero = torch.zeros_like(z)
    twist = torch.stack([zero, zero, z / cosine, w / cosine], dim=-1)
    # angle / sin(angle / 2) tends to 2 without a tilt.
    scale = torch.where(sine > 1e-6, 2.0 * torch.atan2(sine, cosine) / sine.clamp(min=1e-6), 2.0) / cosine
    return twist, 2.0 * torch.atan2(z, w), torch.stack([(w * x + z * y) * scale, (w * y - z * x) * scale], dim=-1)


def roll_pitch_yaw(q: torch.Tensor) -> torch.Tensor:
    """Return roll, pitch and yaw [rad], for turns about z, then the new y, then the new x axis, shape (N, 3)."""
    x, y, z, w = q.unbind(-1)
    roll = torch.atan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x**2 + y**2))
    pitch = torch.asin((2.0 * (w * y - x * z)).clamp(-1.0, 1.0))
    yaw = torch.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y**2 + z**2))
    return torch.stack([roll, pitch, yaw], dim=-1)
