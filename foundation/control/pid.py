"""The cascaded PID controller that Crazyflies fly with, for every vehicle of a table.

Position, velocity, attitude and rate loops follow each other as in bitcraze/crazyflie-firmware, release 2026.08:
``controller_pid.c``, ``position_controller_pid.c`` and ``attitude_pid_controller.c`` in
``src/modules/src/controller``, and ``power_distribution_quadrotor.c`` beside it. Gains are the firmware's
(:mod:`foundation.control.pid_cfg`). What differs:

* All loops run once per control step, 100 times per second by default; the firmware runs attitude and rates at
  500 Hz. The rate gains stay as they are. That costs margin: at 100 Hz the highest gains without oscillations are
  2.5 (Flightmare) to 8.5 (``cf2x_L250``) times these, at 500 Hz more than 12 times (``benchmarks/pid.py``).
* The reference's velocity is fed forward, since positions and velocities come relative to the reference. The
  firmware drops it where a position is given, and then flies half a second behind a moving reference. Whoever
  passes the vehicle's own velocity gets that.
* Weight is fed forward as the vehicle's, instead of one thrust base for all. As in the firmware, the thrust does
  not grow with the tilt, and the acceleration of the reference is not fed forward.
* The first step after a reset has no derivative; the firmware takes that of the rates from zero.
* Derivatives of position and velocity are missing, their gains being zero; so is their filter.
"""

from __future__ import annotations

import numpy as np
import torch

from foundation.control.modes import rotor_speeds
from foundation.control.pid_cfg import PidCfg, share_accelerations
from foundation.control.pid_loop import PidLoop, wrapped
from foundation.control.rotations import roll_pitch_yaw
from foundation.control.vehicle_table import VehicleTable
from foundation.sim.params import GRAVITY, QuadParams

LEAST_SHARE = 1e-3
"""Least thrust of a rotor, as a share of its full one: at zero, thrust curves need not have an inverse."""


class CascadedPid:
    """Computes rotor commands from the state alone; integrators find forces and wrong parameters by themselves.

    Its call takes what :class:`~foundation.control.expert.LqrExpert` takes. Of a vehicle it knows what a pilot
    sets: hover thrust, the layout of the rotors and their thrust curve, and gains, which follow from those of a
    Crazyflie. The loops ask for accelerations; the share of a rotor's thrust for them is inertia over arm and
    thrust, or mass over thrust. All vehicles thus respond alike, but for the lag of their motors.
    """

    def __init__(
        self,
        vehicles: QuadParams,
        num_envs: int,
        cfg: PidCfg | None = None,
        dt: float = 0.01,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Set the gains of V vehicles and clear the integrators of N environments.

        Args:
            vehicles: The table of vehicles.
            num_envs: Number of environments N.
            cfg: Gains and limits; None means the default ones.
            dt: Control step [s].
            device: Torch device.
            dtype: Precision.

        Raises:
            ValueError: If ``num_envs`` or ``dt`` is not positive.
        """
        for name, value in (("num_envs", num_envs), ("dt", dt)):
            if value <= 0:
                raise ValueError(f"CascadedPid.{name} must be positive, got {value}")
        self.cfg = cfg or PidCfg()
        self.num_envs = num_envs
        self._table = VehicleTable(vehicle_columns(vehicles), device, dtype)
        self._loops = _loops(self.cfg, num_envs, dt, device, dtype)

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
        heading: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Advance the integrators by one control step and return rotor commands in [0, 1], shape (N, 4).

        Args:
            vehicle: Row of the table that each environment flies, integer, shape (N,).
            pos_w: Position minus the reference, world frame [m], shape (N, 3).
            quat_wb: Attitude, body to world, (x, y, z, w), shape (N, 4).
            vel_w: Linear velocity minus the reference's, world frame [m/s], shape (N, 3).
            ang_vel_b: Angular velocity, body frame [rad/s], shape (N, 3).
            rotor: Rotor speeds as a share of full speed, shape (N, 4); not used.
            last_command: The command of the step before, shape (N, 4); not used.
            force_w: Disturbance force, world frame [N], shape (N, 3); not used.
            heading: Heading to hold [rad], shape (N,); None means zero, x forward.
        """
        own = self._table.of(vehicle)
        cfg, loops = self.cfg, self._loops
        angles = roll_pitch_yaw(quat_wb)
        yaw = angles[:, 2]

        speed = loops["position"](-_turned(pos_w, -yaw)).clamp(-cfg.velocity_limit, cfg.velocity_limit)
        lean = loops["velocity"](speed - _turned(vel_w, -yaw))
        # A positive pitch accelerates along +x, a positive roll along -y.
        pitch, roll = (
            sign * lean[:, i].clamp(-cfg.tilt_limit, cfg.tilt_limit) for i, sign in ((0, 1.0), (1, -1.0))
        )
        lift = (lean[:, 2:] * own["lift_share"]).clamp(-cfg.lift_limit, cfg.lift_limit)
        thrust = torch.maximum(own["hover_share"] + lift, cfg.least_thrust * own["hover_share"]).clamp(max=1.0)

        wanted = torch.stack([roll, pitch, torch.zeros_like(yaw) if heading is None else heading], dim=1)
        error = torch.cat([(wanted - angles)[:, :2], wrapped((wanted - angles)[:, 2:])], dim=1)
        rate = loops["attitude"](error, angles)
        turning = loops["rate"](rate - ang_vel_b, ang_vel_b) * own["turn_share"]
        limit = turning.new_tensor([cfg.tilting_limit, cfg.tilting_limit, cfg.turning_limit])
        turning = torch.minimum(torch.maximum(turning, -limit), limit)
        shares = thrust + (own["signs"].view(-1, 4, 3) * turning[:, None, :]).sum(2)
        return _capped(rotor_speeds(own["thrust_curve"], shares.clamp(min=LEAST_SHARE) * own["full_thrust"]))

    def reset(self, dones: torch.Tensor | None = None) -> None:
        """Clear integrators and derivatives.

        Args:
            dones: The environments to clear, bool or integer, shape (N,); None means all.
        """
        for loop in self._loops.values():
            loop.reset(torch.ones_like(loop.integral[:, 0], dtype=torch.bool) if dones is None else dones.bool())


def vehicle_columns(vehicles: QuadParams) -> dict[str, np.ndarray]:
    """Return what the controller knows of V vehicles, float64.

    Returns:
        ``turn_share``: change of each rotor's thrust, as a share of its full one, per roll, pitch and yaw
        acceleration [s^2/rad], shape (V, 3); ``lift_share``: the same per vertical acceleration [s^2/m], (V, 1);
        ``hover_share``: share of full thrust that carries the weight, (V, 1); ``full_thrust``: of one rotor [N],
        (V, 1); ``thrust_curve``, (V, 3); ``signs``: of roll, pitch and yaw at each rotor, (V, 12).
    """
    accelerations = share_accelerations(vehicles)
    x, y = vehicles.rotor_pos_b[..., 0], vehicles.rotor_pos_b[..., 1]
    return {
        "turn_share": 1.0 / accelerations[:, :3],
        "lift_share": 1.0 / accelerations[:, 3:],
        "hover_share": GRAVITY / accelerations[:, 3:],
        "full_thrust": vehicles.max_thrust[:, None] / 4.0,
        "thrust_curve": vehicles.thrust_curve,
        "signs": np.stack([np.sign(y), -np.sign(x), -vehicles.rotor_spin], axis=2).reshape(-1, 12),
    }


def _loops(
    cfg: PidCfg, num_envs: int, dt: float, device: torch.device | str, dtype: torch.dtype
) -> dict[str, PidLoop]:
    """Return the four stages: two over forward, left and up, and two over roll, pitch and yaw."""

    def loop(*gains: tuple[float, float, float], wraps: bool = False) -> PidLoop:
        return PidLoop(num_envs, dt, *gains, wraps=wraps, device=device, dtype=dtype)

    far, lateral, integral = cfg.translation_integral_limit, cfg.lateral_velocity, cfg.lateral_velocity_integral
    tilt, slow, fast = cfg.attitude, cfg.tilt_rate, cfg.tilt_rate_integral
    angle_limit, rate_limit = cfg.attitude_integral_limit, cfg.tilt_rate_integral_limit
    damping = cfg.tilt_rate_derivative
    return {
        "position": loop(
            (cfg.lateral_position, cfg.lateral_position, cfg.vertical_position),
            (0.0, 0.0, cfg.vertical_position_integral),
            (far, far, far),
        ),
        "velocity": loop(
            (lateral, lateral, cfg.vertical_velocity),
            (integral, integral, cfg.vertical_velocity_integral),
            (far, far, far),
        ),
        "attitude": loop(
            (tilt, tilt, cfg.heading),
            (cfg.attitude_integral, cfg.attitude_integral, cfg.heading_integral),
            (angle_limit, angle_limit, cfg.heading_integral_limit),
            (0.0, 0.0, cfg.heading_derivative),
            wraps=True,
        ),
        "rate": loop(
            (slow, slow, cfg.yaw_rate),
            (fast, fast, cfg.yaw_rate_integral),
            (rate_limit, rate_limit, cfg.yaw_rate_integral_limit),
            (damping, damping, 0.0),
        ),
    }


def _turned(vectors: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return vectors (N, 3) turned about z by angles (N,) [rad]."""
    cosine, sine = torch.cos(angle), torch.sin(angle)
    x, y, z = vectors.unbind(1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y, z], dim=1)


def _capped(speeds: torch.Tensor) -> torch.Tensor:
    """Return rotor speeds in [0, 1]: all are lowered by what the fastest has too much."""
    return (speeds - (speeds.amax(1, keepdim=True) - 1.0).clamp(min=0.0)).clamp(min=0.0)
