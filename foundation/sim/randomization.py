"""Families of quadrotors to train on: ``none``, ``cf2x``, ``foundation`` and ``raptor``."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from foundation.sim.params import GRAVITY, QuadParams
from foundation.sim.vehicles import crazyflie

FAMILIES = ("none", "cf2x", "foundation", "raptor")


@dataclass
class Cf2xFamilyCfg:
    """Uncertainty about one vehicle: half-widths of uniform factors around its nominal parameters."""

    mass: float = 0.20
    """Half-width of the factor on mass."""
    inertia: float = 0.20
    """Half-width of the factor on inertia, drawn independently of mass."""
    thrust: float = 0.15
    """Half-width of the factor on the thrust curve."""
    tau: float = 0.30
    """Half-width of the factors on the motor time constants, drawn separately for up and down."""
    force_std: float = 0.05
    """Standard deviation per axis of an episode's constant disturbance force, as a share of weight."""
    min_thrust_to_weight: float = 1.3
    """Vehicles with less are drawn again: they could hardly hover, let alone against a force."""

    def __post_init__(self) -> None:
        """Check that every factor stays positive and every vehicle can hover."""
        for name in ("mass", "inertia", "thrust", "tau", "force_std"):
            value = getattr(self, name)
            if not 0.0 <= value < 1.0:
                raise ValueError(f"Cf2xFamilyCfg.{name} must lie in [0, 1), got {value}")
        if not self.min_thrust_to_weight > 1.0:
            raise ValueError(
                "Cf2xFamilyCfg.min_thrust_to_weight must be above 1, or the vehicle cannot hover, "
                f"got {self.min_thrust_to_weight}"
            )


@dataclass
class FoundationFamilyCfg:
    """A family from 20 g to 5 kg, with the ranges of RAPTOR (arXiv 2509.11481)."""

    mass: tuple[float, float] = (0.02, 5.0)
    """Range of mass [kg]; its cube root is uniform."""
    thrust_to_weight: tuple[float, float] = (1.5, 5.0)
    """Range of full thrust over weight, uniform."""
    torque_to_inertia: tuple[float, float] = (40.0, 1200.0)
    """Range of the largest roll torque over roll inertia [rad/s^2], uniform."""
    arm_factor: tuple[float, float] = (0.75, 1.12)
    """Range of the arm length over the nominal vehicle's, after scaling by the cube root of mass, uniform."""
    tau_up: tuple[float, float] = (0.03, 0.10)
    """Range of the rising time constant [s], uniform."""
    tau_down: tuple[float, float] = (0.03, 0.30)
    """Range of the falling time constant [s], uniform."""
    torque_constant: tuple[float, float] = (0.005, 0.05)
    """Range of reaction torque per thrust [m], uniform."""
    force_std: tuple[float, float] = (0.0, 0.2)
    """Range of the disturbance force's standard deviation per axis, as a share of weight, uniform."""

    def __post_init__(self) -> None:
        """Check that every range is ordered and physical."""
        for field in fields(self):
            low, high = getattr(self, field.name)
            if not 0.0 <= low <= high:
                raise ValueError(f"FoundationFamilyCfg.{field.name} must be an ordered range, got ({low}, {high})")
        if self.thrust_to_weight[0] <= 1.0:
            raise ValueError(
                "FoundationFamilyCfg.thrust_to_weight must start above 1, or the vehicle cannot hover, "
                f"got {self.thrust_to_weight[0]}"
            )


@dataclass
class RaptorFamilyCfg:
    """The family of RAPTOR, drawn as its source does (rl_tools, ``l2f``), so that figures compare."""

    force: float = 0.3
    """Largest disturbance over the surplus of thrust; 0 is no disturbance. See :func:`sample_raptor`."""

    def __post_init__(self) -> None:
        """Check the disturbance."""
        if not 0.0 <= self.force <= 1.0:
            raise ValueError(f"RaptorFamilyCfg.force must lie in [0, 1], got {self.force}")


def sample_none(nominal: QuadParams) -> QuadParams:
    """Return the nominal vehicle without disturbance force."""
    return replace(nominal, force_std=np.zeros(1))


def sample_cf2x(nominal: QuadParams, cfg: Cf2xFamilyCfg, count: int, rng: np.random.Generator) -> QuadParams:
    """Draw ``count`` vehicles around ``nominal``; mass and thrust of too weak ones are drawn again.

    Raises:
        ValueError: If the nominal vehicle itself is too weak.
    """
    ratio = nominal.thrust_to_weight[0]
    if ratio <= cfg.min_thrust_to_weight:
        raise ValueError(
            f"the nominal vehicle has thrust-to-weight {ratio:.2f}, family cf2x asks for more than "
            f"{cfg.min_thrust_to_weight}; take a stronger vehicle or lower randomization.cf2x.min_thrust_to_weight"
        )

    def factor(half_width: float, size: int = count) -> np.ndarray:
        return rng.uniform(1.0 - half_width, 1.0 + half_width, size)

    base = nominal[np.zeros(count, dtype=int)]
    mass, inertia, thrust = factor(cfg.mass), factor(cfg.inertia), factor(cfg.thrust)
    tau_up, tau_down = factor(cfg.tau), factor(cfg.tau)
    # At least a quarter of all draws is stronger than the nominal vehicle, so this ends.
    while (weak := ratio * thrust / mass < cfg.min_thrust_to_weight).any():
        mass[weak], thrust[weak] = factor(cfg.mass, weak.sum()), factor(cfg.thrust, weak.sum())
    mass = base.mass * mass
    return replace(
        base,
        mass=mass,
        inertia=base.inertia * inertia[:, None, None],
        thrust_curve=base.thrust_curve * thrust[:, None],
        tau_up=base.tau_up * tau_up,
        tau_down=base.tau_down * tau_down,
        force_std=cfg.force_std * mass * GRAVITY,
    )


def sample_foundation(
    nominal: QuadParams, cfg: FoundationFamilyCfg, count: int, rng: np.random.Generator
) -> QuadParams:
    """Draw ``count`` vehicles from the wide family.

    The nominal vehicle gives the layout of the rotors and the ratios between the axes of inertia. The
    thrust curve is purely quadratic and there is no drag.
    """
    base = nominal[np.zeros(count, dtype=int)]
    smallest, largest = np.cbrt(cfg.mass)
    mass = rng.uniform(smallest, largest, count) ** 3
    max_thrust = rng.uniform(*cfg.thrust_to_weight, count) * mass * GRAVITY / 4.0
    scale = np.cbrt(mass / base.mass) * rng.uniform(*cfg.arm_factor, count)
    rotor_pos_b = base.rotor_pos_b * scale[:, None, None]
    # The largest roll torque has both rotors of one side at full speed and the others at rest.
    roll_torque = np.maximum(rotor_pos_b[..., 1], 0.0).sum(-1) * max_thrust
    roll_inertia = roll_torque / rng.uniform(*cfg.torque_to_inertia, count)
    return replace(
        base,
        mass=mass,
        inertia=base.inertia * (roll_inertia / base.inertia[:, 0, 0])[:, None, None],
        rotor_pos_b=rotor_pos_b,
        thrust_curve=np.stack([np.zeros(count), np.zeros(count), max_thrust], axis=-1),
        torque_constant=rng.uniform(*cfg.torque_constant, count),
        tau_up=rng.uniform(*cfg.tau_up, count),
        tau_down=rng.uniform(*cfg.tau_down, count),
        drag=np.zeros((count, 3)),
        force_std=rng.uniform(*cfg.force_std, count) * mass * GRAVITY,
    )


def sample_raptor(cfg: RaptorFamilyCfg, count: int, rng: np.random.Generator) -> QuadParams:
    """Draw ``count`` vehicles as the published sampling of RAPTOR (arXiv 2509.11481) does, its quirks included.

    All are scaled Crazyflies of L2F, with its thrust curve. The ratio of roll torque to inertia is set for the
    nominal arm and then divided by the factor of the arm. The disturbance's standard deviation per axis, uniform
    from 0 to (r - 1) * ``force`` * r * mass / 3 for a thrust-to-weight r, lacks the gravitational acceleration: it
    is 0.8 % of the weight at most where r is 1.5, and 20 % where r is 5.
    """
    nominal = crazyflie()
    base = nominal[np.zeros(count, dtype=int)]
    ratio = rng.uniform(1.5, 5.0, count)
    mass = rng.uniform(np.cbrt(0.02), np.cbrt(5.0), count) ** 3
    deviation = rng.normal(-0.1, 0.1, count)
    arm = np.cbrt(mass / base.mass) * np.where(deviation < 0.0, 1.0 / (1.0 - deviation), 1.0 + deviation)
    # The torque of two rotors that lie on the circle of the arm, 45 degrees beside the axis.
    torque = np.sqrt(2.0) * nominal.rotor_pos_b[0, 0, 0] * ratio * mass * GRAVITY / 4.0
    inertia = torque / rng.uniform(40.0, 1200.0, count) * arm
    return replace(
        base,
        mass=mass,
        inertia=base.inertia * (inertia / base.inertia[:, 0, 0])[:, None, None],
        rotor_pos_b=base.rotor_pos_b * arm[:, None, None],
        thrust_curve=base.thrust_curve * (ratio * mass / (nominal.thrust_to_weight * nominal.mass))[:, None],
        torque_constant=rng.uniform(0.005, 0.05, count),
        tau_up=rng.uniform(0.03, 0.10, count),
        tau_down=rng.uniform(0.03, 0.30, count),
        force_std=rng.uniform(0.0, 1.0, count) * (ratio - 1.0) * cfg.force * ratio * mass / 3.0,
    )
