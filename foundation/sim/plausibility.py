"""Describe a vehicle in one line, and find values that no such vehicle has."""

from __future__ import annotations

import numpy as np

from foundation.sim.params import QuadParams

ARM = (0.005, 5.0)
"""Plausible distance of a rotor from the centre of mass [m]."""
GYRATION = (0.05, 3.0)
"""Plausible radii of gyration over the longest arm: a Crazyflie and an Iris have 0.5 to 0.8."""
THRUST_TO_WEIGHT = (1.05, 20.0)
"""Plausible full thrust over weight; racing quadcopters reach about 15."""
ABSURD_THRUST_TO_WEIGHT = 100.0
"""Full thrust over weight from which units must be wrong."""


def arm_lengths(vehicle: QuadParams) -> np.ndarray:
    """Return the rotors' horizontal distances from the centre of mass [m], shape (V, 4)."""
    return np.linalg.norm(vehicle.rotor_pos_b[..., :2], axis=-1)


def describe_vehicle(vehicle: QuadParams, name: str) -> str:
    """Return a vehicle in one line: mass, arm, inertia, thrust-to-weight.

    Args:
        vehicle: A batch of vehicles, of which the first is described.
        name: What to call it, such as ``cf2x``.
    """
    arms = arm_lengths(vehicle)[0]
    arm = " to ".join(dict.fromkeys(f"{1000 * arm:.4g}" for arm in (arms.min(), arms.max())))
    inertia = ", ".join(f"{moment:.3g}" for moment in np.diagonal(vehicle.inertia[0]))
    return (
        f"{name}: mass {1000 * vehicle.mass[0]:.4g} g, arm {arm} mm, inertia {inertia} kg m^2, "
        f"thrust-to-weight {vehicle.thrust_to_weight[0]:.2f}"
    )


def implausible_values(vehicle: QuadParams) -> list[str]:
    """Return what is implausible about the first vehicle of a batch, one phrase each, with attributes to check."""
    arms = arm_lengths(vehicle)[0]
    outside = [arm for arm in (min(arms), max(arms)) if _side(arm, ARM)]
    found = [
        f"arm {arm:.3g} m, {_side(arm, ARM)} m (physics:localPos0 of the revolute joints, metersPerUnit)"
        for arm in outside[:1]
    ]
    moments = np.linalg.eigvalsh(vehicle.inertia[0])
    gyration = np.sqrt(moments[[0, -1]] / vehicle.mass[0]) / arms.max()
    found += [
        f"inertia {moment:.3g} kg m^2, a radius of gyration of {ratio:.3g} arm lengths, {_side(ratio, GYRATION)} "
        "(physics:diagonalInertia, metersPerUnit, kilogramsPerUnit)"
        for moment, ratio in zip(moments[[0, -1]], gyration, strict=True)
        if _side(ratio, GYRATION)
    ]
    ratio = float(vehicle.thrust_to_weight[0])
    if _side(ratio, THRUST_TO_WEIGHT):
        found.append(
            f"thrust-to-weight {ratio:.4g}, {_side(ratio, THRUST_TO_WEIGHT)} "
            "(physics:mass, kilogramsPerUnit, robot.motor.thrust_curve)"
        )
    return found


def require_possible_thrust(vehicle: QuadParams) -> None:
    """Check that no vehicle has a thrust-to-weight that only wrong units can give.

    Raises:
        ValueError: If one has.
    """
    ratio = vehicle.thrust_to_weight.max()
    if ratio > ABSURD_THRUST_TO_WEIGHT:
        raise ValueError(
            f"thrust-to-weight {ratio:.4g} is above {ABSURD_THRUST_TO_WEIGHT:g}, which no vehicle reaches; check "
            "the units: physics:mass, kilogramsPerUnit, robot.motor.thrust_curve"
        )


def _side(value: float, limits: tuple[float, float]) -> str:
    """Return on which side of a range a value is, an empty string within it."""
    low, high = limits
    return f"below {low:g}" if value < low else f"above {high:g}" if value > high else ""
