"""Gains and limits of the cascaded PID controller: those of the Crazyflie's firmware in SI units.

The numbers are the defaults of bitcraze/crazyflie-firmware, release 2026.08, for a Crazyflie 2.1+:
``src/platform/interface/platform_defaults_cf2.h``, unless another file is named. Each stands in its default as the
firmware has it, times the conversion of its unit:

* Angles there are in degrees and rates in degrees per second. A gain from angle to rate is the same in radians.
* An actuator unit is 1/65535 of a rotor's full thrust, 0.12 N, as the firmware linearises the thrust
  (``src/drivers/src/motors.c``, battery compensation, on by default). The rate loops put out such units per
  degree per second. Roll and pitch are halved before they are added to a rotor, yaw is not
  (``src/modules/src/power_distribution_quadrotor.c``).
* The vertical velocity loop puts out thousands of units per rotor (``thrustScale`` in
  ``src/modules/src/controller/position_controller_pid.c``).

Here the last two are accelerations, which no longer depend on the vehicle: what these units do to the vehicle that
they were tuned for, which is :func:`~foundation.sim.vehicles.cf2x_p250`. Another vehicle's share of thrust follows
from its inertia over arm and thrust, or its mass over thrust: :mod:`foundation.control.pid`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from foundation.sim.params import QuadParams
from foundation.sim.vehicles import cf2x_p250

FULL = 65535.0
"""Actuator units of a rotor's full thrust."""


def share_accelerations(vehicles: QuadParams) -> np.ndarray:
    """Return the accelerations by one full rotor thrust on each rotor, with the signs that turn the axis.

    Returns:
        Roll, pitch and yaw [rad/s^2] and the collective [m/s^2], shape (V, 4).
    """
    full = vehicles.max_thrust / 4.0
    x, y = vehicles.rotor_pos_b[..., 0], vehicles.rotor_pos_b[..., 1]
    arms = [np.abs(y).sum(1), np.abs(x).sum(1), 4.0 * vehicles.torque_constant]
    turning = np.column_stack(arms) * full[:, None] / np.diagonal(vehicles.inertia, axis1=1, axis2=2)
    return np.column_stack([turning, vehicles.max_thrust / vehicles.mass])


_ROLL, _, _YAW, _LIFT = share_accelerations(cf2x_p250())[0]
TILT_UNIT = float(_ROLL) / (2.0 * FULL) * math.degrees(1.0)
"""Angular acceleration per actuator unit of roll or pitch [deg/s^2], 0.406."""
YAW_UNIT = float(_YAW) / FULL * math.degrees(1.0)
"""Angular acceleration per actuator unit of yaw [deg/s^2], 0.0986."""
LIFT_UNIT = 1000.0 * float(_LIFT) / FULL
"""Vertical acceleration per output of the vertical velocity loop [m/s^2], 0.230."""


@dataclass(frozen=True)
class PidCfg:
    """Gains and limits; a gain acts on the error of its loop, and its product is what the next loop follows."""

    lateral_position: float = 2.0
    """Velocity per position error across [1/s]; ``PID_POS_X_KP``, ``PID_POS_Y_KP``."""
    vertical_position: float = 2.0
    """Vertical velocity per height error [1/s]; ``PID_POS_Z_KP``."""
    vertical_position_integral: float = 0.5
    """Vertical velocity per integral of the height error [1/s^2]; ``PID_POS_Z_KI``."""
    lateral_velocity: float = math.radians(25.0)
    """Tilt per velocity error across [rad s/m]; ``PID_VEL_X_KP``, ``PID_VEL_Y_KP``, 25 deg."""
    lateral_velocity_integral: float = math.radians(1.0)
    """Tilt per integral of the velocity error across [rad/m]; ``PID_VEL_X_KI``, ``PID_VEL_Y_KI``, 1 deg."""
    vertical_velocity: float = 25.0 * LIFT_UNIT
    """Vertical acceleration per velocity error [1/s]; ``PID_VEL_Z_KP``, 25."""
    vertical_velocity_integral: float = 15.0 * LIFT_UNIT
    """Vertical acceleration per integral of the velocity error [1/s^2]; ``PID_VEL_Z_KI``, 15."""
    attitude: float = 6.0
    """Roll or pitch rate per angle error [1/s]; ``PID_ROLL_KP``, ``PID_PITCH_KP``."""
    attitude_integral: float = 3.0
    """Roll or pitch rate per integral of the angle error [1/s^2]; ``PID_ROLL_KI``, ``PID_PITCH_KI``."""
    heading: float = 6.0
    """Yaw rate per heading error [1/s]; ``PID_YAW_KP``."""
    heading_integral: float = 1.0
    """Yaw rate per integral of the heading error [1/s^2]; ``PID_YAW_KI``."""
    heading_derivative: float = 0.35
    """Yaw rate against the heading's derivative, without unit; ``PID_YAW_KD``."""
    tilt_rate: float = 250.0 * TILT_UNIT
    """Angular acceleration per roll or pitch rate error [1/s]; ``PID_ROLL_RATE_KP`` and pitch, 250."""
    tilt_rate_integral: float = 500.0 * TILT_UNIT
    """The same per integral of the rate error [1/s^2]; ``PID_ROLL_RATE_KI`` and pitch, 500."""
    tilt_rate_derivative: float = 2.5 * TILT_UNIT
    """The same against the rate's derivative, without unit; ``PID_ROLL_RATE_KD`` and pitch, 2.5."""
    yaw_rate: float = 120.0 * YAW_UNIT
    """Angular acceleration per yaw rate error [1/s]; ``PID_YAW_RATE_KP``, 120."""
    yaw_rate_integral: float = 16.7 * YAW_UNIT
    """The same per integral of the rate error [1/s^2]; ``PID_YAW_RATE_KI``, 16.7."""

    velocity_limit: float = 1.1
    """Highest velocity that the position loop asks for, per axis [m/s]; ``PID_POS_VEL_X_MAX`` and so on, 1 m/s,
    with the 10 % above it of ``velMaxOverhead`` in ``position_controller_pid.c``."""
    tilt_limit: float = math.radians(20.0)
    """Largest roll or pitch that the velocity loop asks for [rad]; ``PID_VEL_ROLL_MAX``, ``PID_VEL_PITCH_MAX``."""
    least_thrust: float = 20000.0 / 36000.0
    """Least thrust over the weight; ``PID_VEL_THRUST_MIN`` over ``PID_VEL_THRUST_BASE``."""
    lift_limit: float = 0.5
    """Largest change of thrust by the vertical velocity loop, as a share of full thrust; half of ``UINT16_MAX`` in
    ``position_controller_pid.c``."""
    tilting_limit: float = 0.25
    """Largest change of a rotor's thrust by roll or pitch, as a share of its full thrust; half of ``INT16_MAX`` in
    ``src/modules/src/controller/attitude_pid_controller.c``."""
    turning_limit: float = 0.5
    """Largest change of a rotor's thrust by yaw, as a share of its full thrust; ``INT16_MAX`` there."""
    translation_integral_limit: float = 5000.0
    """Largest integral of position [m s] and velocity errors [m]: as good as none;
    ``DEFAULT_PID_INTEGRATION_LIMIT`` in ``src/utils/interface/pid.h``."""
    attitude_integral_limit: float = math.radians(20.0)
    """Largest integral of roll and pitch errors [rad s]; ``PID_ROLL_INTEGRATION_LIMIT`` and so on."""
    heading_integral_limit: float = math.radians(360.0)
    """Largest integral of the heading error [rad s]; ``PID_YAW_INTEGRATION_LIMIT``."""
    tilt_rate_integral_limit: float = math.radians(33.3)
    """Largest integral of roll and pitch rate errors [rad]; ``PID_ROLL_RATE_INTEGRATION_LIMIT`` and so on."""
    yaw_rate_integral_limit: float = math.radians(166.7)
    """Largest integral of the yaw rate error [rad]; ``PID_YAW_RATE_INTEGRATION_LIMIT``."""

    def __post_init__(self) -> None:
        """Check the signs and the limits.

        Raises:
            ValueError: Names the value and what it must be.
        """
        for item in fields(self):
            value, name = getattr(self, item.name), f"PidCfg.{item.name}"
            optional = item.name.endswith(("_integral", "_derivative")) or item.name == "least_thrust"
            if not math.isfinite(value) or value < 0.0 or (value == 0.0 and not optional):
                demand = "zero or positive" if optional else "positive"
                raise ValueError(f"{name} must be finite and {demand}, got {value}")
        for name in ("least_thrust", "lift_limit", "tilting_limit", "turning_limit"):
            if getattr(self, name) > 1.0:
                raise ValueError(f"PidCfg.{name} is a share and must be at most 1, got {getattr(self, name)}")
        if self.tilt_limit >= math.pi / 2:
            raise ValueError(f"PidCfg.tilt_limit must be below pi/2 rad, got {self.tilt_limit}")
