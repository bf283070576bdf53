"""An expert that flies every quadrotor to a point: a linear-quadratic regulator of its own for each vehicle."""

from __future__ import annotations

import numpy as np
import torch

from foundation.control.allocation import allocate
from foundation.control.lqr import LqrCfg, axis_gains
from foundation.control.modes import COLLECTIVE, PITCH, ROLL, YAW, rotor_modes, rotor_speeds, trim_shares
from foundation.control.rotations import inverse, product, rotated_by_inverse, tilting_z_to, twist_and_swing
from foundation.control.vehicle_table import VehicleTable
from foundation.sim.params import GRAVITY, QuadParams

NEAR_SECONDS = 0.3
"""A velocity counts as the distance that it covers in this time [s], for how near the target is."""
LEAST_LIFT = 0.1
"""Least share of the weight that the rotors carry in equilibrium: they cannot pull down against a force."""


class LqrExpert:
    """Computes rotor commands from the true state, the disturbance force and the vehicle's parameters.

    Weight and force are fed forward, so that nothing is left to correct at rest on the target: the position error
    under a constant force is zero. Gains go from calm to stiff on the way to the target: who imitates them holds
    the point precisely, and does not need stiff gains for a vehicle that it does not know yet. The expert keeps no
    state of its own.
    """

    def __init__(
        self,
        vehicles: QuadParams,
        cfg: LqrCfg | None = None,
        dt: float = 0.01,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Solve for the gains of V vehicles.

        Args:
            vehicles: The table of vehicles.
            cfg: Weights; None means the default ones.
            dt: Control step [s].
            device: Torch device.
            dtype: Precision of the commands; gains are computed in float64.
        """
        self.cfg = cfg or LqrCfg()
        modes, _ = rotor_modes(vehicles)
        columns = axis_gains(vehicles, self.cfg, dt) | {
            "modes": modes.reshape(-1, 16),
            "to_modes": np.linalg.inv(modes).reshape(-1, 16),
            "trim_shares": trim_shares(vehicles),
            "thrust_curve": vehicles.thrust_curve,
            "weight": vehicles.mass[:, None] * GRAVITY,
        }
        self._table = VehicleTable(columns, device, dtype)

    def __call__(
        self,
        vehicle: torch.Tensor,
        pos_w: torch.Tensor,
        quat_wb: torch.Tensor,
        vel_w: torch.Tensor,
        ang_vel_b: torch.Tensor,
        rotor: torch.Tensor,
        last_command: torch.Tensor,
        force_w: torch.Tensor,
    ) -> torch.Tensor:
        """Return rotor commands in [0, 1], shape (N, 4).

        Args:
            vehicle: Row of the table that each environment flies, integer, shape (N,).
            pos_w: Position relative to the target, world frame [m], shape (N, 3).
            quat_wb: Attitude, body to world, (x, y, z, w), shape (N, 4).
            vel_w: Linear velocity, world frame [m/s], shape (N, 3).
            ang_vel_b: Angular velocity, body frame [rad/s], shape (N, 3).
            rotor: Rotor speeds as a share of full speed, shape (N, 4).
            last_command: The command of the step before, whoever gave it, in [0, 1], shape (N, 4).
            force_w: Disturbance force, world frame [N], shape (N, 3).
        """
        own = self._table.of(vehicle)
        thrust_w = torch.cat([-force_w[:, :2], own["weight"] - force_w[:, 2:]], dim=1)
        thrust_w[:, 2:] = torch.maximum(thrust_w[:, 2:], LEAST_LIFT * own["weight"])
        thrust = thrust_w.norm(dim=1, keepdim=True)
        balanced = tilting_z_to(thrust_w / thrust)
        trim = rotor_speeds(own["thrust_curve"], own["trim_shares"] * thrust)

        twist, heading, tilt = twist_and_swing(product(inverse(balanced), quat_wb))
        frame = product(balanced, twist)
        position = rotated_by_inverse(frame, _shortened(pos_w, self.cfg.position_limit))
        velocity = rotated_by_inverse(frame, _shortened(vel_w, self.cfg.velocity_limit))
        to_modes = own["to_modes"].view(-1, 4, 4)
        rotor_mode, command_mode = (_times(to_modes, speeds - trim) for speeds in (rotor, last_command))

        distance = pos_w.square().sum(1) + (NEAR_SECONDS * vel_w).square().sum(1)
        near = torch.exp(-distance / self.cfg.near_radius**2)[:, None]

        def change(axis: str, mode: int, *state: torch.Tensor) -> torch.Tensor:
            gain = torch.lerp(own[axis], own[f"near_{axis}"], near)
            return -(gain * torch.stack([*state, rotor_mode[:, mode], command_mode[:, mode]], dim=1)).sum(1)

        # A positive pitch accelerates along +x, a positive roll along -y.
        x, y, z = position.unbind(1)
        vel_x, vel_y, vel_z = velocity.unbind(1)
        roll_rate, pitch_rate, yaw_rate = ang_vel_b.unbind(1)
        changes = {
            COLLECTIVE: change("z", COLLECTIVE, z, vel_z),
            ROLL: change("y", ROLL, -y, -vel_y, tilt[:, 0], roll_rate),
            PITCH: change("x", PITCH, x, vel_x, tilt[:, 1], pitch_rate),
            YAW: change("heading", YAW, heading, yaw_rate),
        }
        wanted = command_mode + torch.stack([changes[mode] for mode in sorted(changes)], dim=1)
        return allocate(wanted, own["modes"].view(-1, 4, 4), trim)


def _shortened(vectors: torch.Tensor, limit: float) -> torch.Tensor:
    return vectors * (limit / vectors.norm(dim=1, keepdim=True).clamp(min=limit))


def _times(matrices: torch.Tensor, vectors: torch.Tensor) -> torch.Tensor:
    return (matrices * vectors[:, None, :]).sum(2)
