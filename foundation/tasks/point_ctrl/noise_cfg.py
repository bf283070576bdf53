"""What the student's sensors measure: noise and delay."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

NOISE_DT = 0.01
"""Control step [s] for which the noise of the gyroscope is given."""
LONGEST_DELAY = 1.0
"""Longest delay [s]; every control step of it is kept for each environment."""


@dataclass
class NoiseCfg:
    """Standard deviation of the Gaussian noise on the student's observation; the teacher's has none.

    Angular velocity: the Bosch BMI088 gyroscope of the Crazyflie 2.1, 0.014 deg/s per root hertz
    (datasheet) over 100 Hz. The others are engineering assumptions for an on-board estimator fed by
    Lighthouse positioning, whose jitter is of the order of a millimetre (arXiv 2104.11523).
    """

    position: float = 0.001
    """Position, per axis [m]."""
    attitude: float = 0.005
    """Rotation about each body axis [rad]."""
    velocity: float = 0.01
    """Linear velocity, per axis [m/s]."""
    angular_velocity: float = 0.00244
    """Angular velocity, per axis [rad/s], at a control step of 10 ms; white noise, so at another one it is
    divided by the root of dt / 10 ms."""
    delay: float = 0.0
    """Delay of all these measurements [s], at most 1 s, in whole control steps; the previous action is
    not late."""
    delayed_share: float = 1.0
    """Share of the environments whose measurements have the delay; the others have none."""


def noise_at(noise: NoiseCfg, dt: float) -> NoiseCfg:
    """Return the noise for a control step [s]: white noise has a constant density, not a constant deviation."""
    return replace(noise, angular_velocity=noise.angular_velocity / math.sqrt(dt / NOISE_DT))
