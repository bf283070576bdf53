"""What a vehicle's rotors do together: collective, roll, pitch and yaw, and the speeds that hold it in the air."""

from __future__ import annotations

import numpy as np
import torch

from foundation.sim.mixer import mixer
from foundation.sim.params import GRAVITY, QuadParams

COLLECTIVE, ROLL, PITCH, YAW = range(4)
"""Order of the modes."""


def trim_shares(vehicles: QuadParams) -> np.ndarray:
    """Return each rotor's share of the thrust that turns the vehicle about no axis, shape (V, 4)."""
    return np.linalg.inv(mixer(vehicles))[..., COLLECTIVE]


def rotor_speeds(thrust_curve: torch.Tensor, thrust: torch.Tensor) -> torch.Tensor:
    """Return the rotor speeds in [0, 1] that give thrusts (N, 4) [N] on thrust curves (N, 3)."""
    c0, c1, c2 = thrust_curve.split(1, dim=1)
    # The form without cancellation also covers c2 = 0, a linear thrust curve.
    return 2.0 * (thrust - c0) / (c1 + (c1**2 + 4.0 * c2 * (thrust - c0)).clamp(min=0.0).sqrt())


def rotor_modes(vehicles: QuadParams) -> tuple[np.ndarray, np.ndarray]:
    """Return the changes of rotor speed that act on one axis alone, at hover, and how strongly.

    Returns:
        The four modes as columns, each scaled so that the fastest rotor changes by 1, shape (V, 4, 4); and the
        acceleration per mode: collective [m/s^2], roll, pitch and yaw [rad/s^2], shape (V, 4).
    """
    thrust = trim_shares(vehicles) * (vehicles.mass * GRAVITY)[:, None]
    hover = rotor_speeds(torch.from_numpy(vehicles.thrust_curve), torch.from_numpy(thrust)).numpy()
    slope = vehicles.thrust_curve[:, 1, None] + 2.0 * vehicles.thrust_curve[:, 2, None] * hover
    modes = np.linalg.inv(mixer(vehicles) * slope[:, None, :])
    scale = np.abs(modes).max(axis=1)
    inertia = np.diagonal(vehicles.inertia, axis1=1, axis2=2)
    return modes / scale[:, None, :], 1.0 / (scale * np.column_stack([vehicles.mass, inertia]))
