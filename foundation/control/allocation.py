"""Rotor commands of wanted modes where the rotors cannot give all: roll and pitch first, yaw last."""

from __future__ import annotations

import torch

from foundation.control.modes import COLLECTIVE, PITCH, ROLL, YAW

YAW_RESERVE = 0.05
"""Share of full speed that yaw may use even where roll and pitch take everything."""


def allocate(wanted: torch.Tensor, modes: torch.Tensor, trim: torch.Tensor) -> torch.Tensor:
    """Return rotor commands in [0, 1], shape (N, 4).

    Roll and pitch are scaled down together if they need more than the whole range; yaw gets what they leave; the
    collective gives way to both. Without saturation the commands are ``trim + modes @ wanted``.

    Args:
        wanted: Collective, roll, pitch and yaw mode, shape (N, 4).
        modes: Changes of rotor speed per mode as columns, shape (N, 4, 4).
        trim: Rotor speeds without any mode, shape (N, 4).
    """
    tilting = modes[:, :, ROLL] * wanted[:, ROLL, None] + modes[:, :, PITCH] * wanted[:, PITCH, None]
    tilting = tilting / _spread(tilting).clamp(min=1.0)
    room = ((1.0 - _spread(tilting)) / 2.0 + YAW_RESERVE)[:, 0]
    yaw = wanted[:, YAW].clamp(-room, room)
    turning = tilting + modes[:, :, YAW] * yaw[:, None]
    level = trim + modes[:, :, COLLECTIVE] * wanted[:, COLLECTIVE, None]
    # Shift all rotors by the same amount until the slowest is not below 0 and the fastest not above 1.
    command = level + turning
    lift = (-command.amin(1, keepdim=True)).clamp(min=0.0)
    drop = (command.amax(1, keepdim=True) - 1.0).clamp(min=0.0)
    return (command + lift - drop).clamp(0.0, 1.0)


def _spread(values: torch.Tensor) -> torch.Tensor:
    return values.amax(1, keepdim=True) - values.amin(1, keepdim=True)
