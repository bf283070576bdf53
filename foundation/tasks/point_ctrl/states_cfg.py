"""First states of an episode and the bounds that end it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class InitCfg:
    """Distribution of an episode's first state, relative to the target: the policy takes over in flight."""

    origin_probability: float = 0.1
    """Share of episodes that begin level and at rest on the target."""
    position: float = 0.5
    """Half-width of the uniform position, per axis [m]."""
    tilt: float = 0.5
    """Largest rotation about a random axis [rad]; the angle is uniform."""
    velocity: float = 1.0
    """Half-width of the uniform velocity, per axis [m/s]."""
    angular_velocity: float = 1.0
    """Half-width of the uniform angular velocity, per axis [rad/s]."""
    rotor: tuple[float, float] = (0.8, 1.1)
    """Range of each rotor's speed over its hover speed."""
    rotor_over_hover: bool = True
    """Whether ``rotor`` is relative to the hover speed; otherwise it is a share of full speed."""


@dataclass
class TerminationCfg:
    """Bounds per axis; leaving one ends the episode as a failure."""

    position: float = 1.5
    """Distance from the target [m]."""
    arm_lengths: float | None = None
    """Distance from the target in lengths of the vehicle's arm, instead of ``position``."""
    velocity: float = 5.0
    """Linear velocity [m/s]."""
    angular_velocity: float = 35.0
    """Angular velocity [rad/s]."""


def raptor_states() -> tuple[InitCfg, TerminationCfg]:
    """Return first states and bounds as RAPTOR is trained and measured with (arXiv 2509.11481).

    Every rotor begins between standstill and half speed, also where the vehicle is at rest on the target.
    """
    init = InitCfg(tilt=1.0, rotor=(0.0, 0.5), rotor_over_hover=False)
    return init, TerminationCfg(arm_lengths=20.0, velocity=2.0)


STATES = {"raptor": raptor_states}
"""Named first states and bounds."""
