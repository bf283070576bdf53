"""Linear-quadratic regulators of a table of vehicles: one gain per axis and vehicle."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import astuple, dataclass, fields

import numpy as np

from foundation.control.modes import COLLECTIVE, PITCH, ROLL, YAW, rotor_modes
from foundation.control.riccati import lqr_gain
from foundation.sim.params import GRAVITY, QuadParams


@dataclass
class LqrCfg:
    """Weights of the regulator; a cost is per step and per square of its unit.

    The input of every axis is the *change* of its rotor command between two steps, as a share of full speed: its
    cost is what keeps commands smooth. The values lie between two results of ``benchmarks/search_lqr_weights.py``,
    which judges weights by what a student that does not know its vehicle makes of them.
    """

    lateral_position: float = 0.746
    """Cost of the position error across [1/m^2]."""
    lateral_velocity: float = 0.0215
    """Cost of the velocity across [s^2/m^2]."""
    tilt: float = 0.000856
    """Cost of the tilt from the attitude that holds the vehicle in place [1/rad^2]."""
    tilt_rate: float = 0.000491
    """Cost of roll and pitch rate [s^2/rad^2]."""
    lateral_command: float = 15.8
    """Cost of the change of the roll and pitch command."""
    vertical_position: float = 0.244
    """Cost of the height error [1/m^2]."""
    vertical_velocity: float = 0.00228
    """Cost of the vertical velocity [s^2/m^2]."""
    vertical_command: float = 0.786
    """Cost of the change of the collective command."""
    heading: float = 0.191
    """Cost of the heading error [1/rad^2]."""
    heading_rate: float = 0.000706
    """Cost of the yaw rate [s^2/rad^2]."""
    heading_command: float = 17.8
    """Cost of the change of the yaw command."""
    motor_lag: float = 3.15
    """Factor on the motors' time constant: a model that is too slow makes the regulator cautious."""
    position_limit: float = 0.354
    """Longest position error that the regulator answers to [m]; a farther target only seems this far away."""
    velocity_limit: float = 3.01
    """Highest velocity that the regulator answers to [m/s]."""

    near_command: float = 0.124
    """Factor, at rest on the target, on the three costs of changing a command: below 1 the regulator holds a point
    more stiffly than it flies to it."""
    near_radius: float = 0.117
    """Distance from the target at which the regulator has gone most of the way from stiff to calm [m]; a velocity
    counts as the distance that it covers in 0.3 s."""

    preview: float = 0.1
    """How far ahead the motion of a moving reference is fed forward [s]; tilt and rotors lag by about as much."""

    def __post_init__(self) -> None:
        """Check that every weight is positive, and the preview not negative.

        Raises:
            ValueError: Names the weight.
        """
        if not self.preview >= 0.0:
            raise ValueError(f"LqrCfg.preview must be at least 0 s, got {self.preview}")
        for item in fields(self):
            if item.name != "preview" and not getattr(self, item.name) > 0.0:
                raise ValueError(f"LqrCfg.{item.name} must be positive, got {getattr(self, item.name)}")


class _Table:
    """Vehicles that are compared by their contents."""

    def __init__(self, vehicles: QuadParams) -> None:
        self.vehicles = vehicles
        self._digest = hashlib.sha256(vehicles.table().tobytes()).digest()

    def __hash__(self) -> int:
        return hash(self._digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Table) and other._digest == self._digest


def axis_gains(vehicles: QuadParams, cfg: LqrCfg, dt: float) -> dict[str, np.ndarray]:
    """Return the gains of every vehicle, float64; those of the last few tables are kept.

    Args:
        vehicles: V vehicles.
        cfg: Weights.
        dt: Control step [s].

    Returns:
        ``x`` and ``y``: gains on position, velocity, tilt, tilt rate, rotor mode and command mode, shape (V, 6);
        ``z``: on position, velocity, rotor and command mode, (V, 4); ``heading``: on angle, rate, rotor and
        command mode, (V, 4). Those that hold at the target are ``near_x`` and so on.
    """
    return dict(_axis_gains(_Table(vehicles), astuple(cfg), dt))


# 65 536 vehicles take seconds, and a command makes several equal environments.
@functools.lru_cache(maxsize=8)
def _axis_gains(table: _Table, weights: tuple[float, ...], dt: float) -> dict[str, np.ndarray]:
    vehicles, cfg = table.vehicles, LqrCfg(*weights)
    _, acceleration = rotor_modes(vehicles)
    # The motors are linear in the model: the mean of their rates stands for both directions.
    lag = cfg.motor_lag * 2.0 / (1.0 / vehicles.tau_up + 1.0 / vehicles.tau_down)
    keep = np.exp(-dt / lag)
    lateral = [cfg.lateral_position, cfg.lateral_velocity, cfg.tilt, cfg.tilt_rate]
    vertical, heading = [cfg.vertical_position, cfg.vertical_velocity], [cfg.heading, cfg.heading_rate]
    tilting = [1.0, GRAVITY, 1.0]
    gains = {}
    for prefix, factor in (("", 1.0), ("near_", cfg.near_command)):
        costs = [factor * cost for cost in (cfg.lateral_command, cfg.vertical_command, cfg.heading_command)]
        gains[f"{prefix}x"] = _gain(tilting, acceleration[:, PITCH], keep, lateral, costs[0], dt)
        gains[f"{prefix}y"] = _gain(tilting, acceleration[:, ROLL], keep, lateral, costs[0], dt)
        gains[f"{prefix}z"] = _gain([1.0], acceleration[:, COLLECTIVE], keep, vertical, costs[1], dt)
        gains[f"{prefix}heading"] = _gain([1.0], acceleration[:, YAW], keep, heading, costs[2], dt)
    return gains


def _gain(
    chain: list[float],
    acceleration: np.ndarray,
    keep: np.ndarray,
    state_costs: list[float],
    command_cost: float,
    dt: float,
) -> np.ndarray:
    """Return the gain of a chain of integrators that a rotor mode drives.

    Args:
        chain: Rate of each state per unit of the next one.
        acceleration: Rate of the last state of the chain per rotor mode, shape (V,).
        keep: Share of a rotor mode that is left after a step, shape (V,).
        state_costs: Costs of the chain's states.
        command_cost: Cost of the change of command.
        dt: Control step [s].
    """
    count, n = len(acceleration), len(state_costs) + 2
    rotor, command = n - 2, n - 1
    a, b = np.tile(np.eye(n), (count, 1, 1)), np.zeros((count, n, 1))
    for i, rate in enumerate(chain):
        a[:, i, i + 1] = rate * dt
    a[:, rotor - 1, rotor] = acceleration * dt
    # The rotors follow the new command, which is the last one and its change.
    a[:, rotor, rotor], a[:, rotor, command] = keep, 1.0 - keep
    b[:, rotor, 0], b[:, command, 0] = 1.0 - keep, 1.0
    q = np.tile(np.diag([*state_costs, 0.0, 0.0]), (count, 1, 1))
    return lqr_gain(a, b, q, np.full((count, 1, 1), command_cost))[:, 0]
