"""Read a quadrotor from the physics schema of a USD file.

Taken from USD: mass, centre of mass and inertia, composed over the body, its propellers and the links fixed to
them, and the positions and turning directions of the rotors. USD has no place for thrust curves, motor time
constants and drag: those come from :class:`foundation.sim.params.MotorParams`.
"""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from foundation.sim.mixer import require_control
from foundation.sim.params import ALTERNATING, MotorParams, QuadParams
from foundation.sim.plausibility import implausible_values, require_possible_thrust
from foundation.sim.usd_file import UsdVehicleError, open_stage, shown, usd_errors
from foundation.sim.usd_joints import Airframe, find_airframe
from foundation.sim.usd_reader import UsdReader, is_kinematic

CF2X = "cf2x"
"""Name of the packaged Crazyflie, used instead of a path."""
CF2X_USD_PATH = str(Path(__file__).parent / "assets" / "cf2x.usda")
"""File of the packaged Crazyflie."""


@dataclass(frozen=True)
class UsdVehicle:
    """A quadrotor and what is odd about the file that describes it."""

    params: QuadParams
    """The vehicle, a batch of one."""
    findings: list[str]
    """Implausible values and attributes that are not authored, one phrase each."""


def load_quad(path: str = CF2X, motor: MotorParams | None = None) -> QuadParams:
    """Return the quadrotor that a USD file describes, as a batch of one; log one warning of what is implausible.

    Arguments and errors are those of :func:`read_vehicle`.
    """
    vehicle = read_vehicle(path, motor)
    if vehicle.findings:
        _warn_once(f"{path} is implausible: {'; '.join(vehicle.findings)}")
    return vehicle.params


@cache
def _warn_once(text: str) -> None:
    logging.getLogger("foundation").warning(f"[Sim] {text}")


def read_vehicle(path: str = CF2X, motor: MotorParams | None = None) -> UsdVehicle:
    """Return the quadrotor that a USD file describes, with findings to warn of.

    Bodies without authored inertia count as point masses, propellers without authored mass as massless.

    Args:
        path: The USD file, or ``cf2x`` for the packaged one.
        motor: Motor data; by default those of a Crazyflie 2.1.

    Raises:
        UsdVehicleError: If the file is missing, unreadable, not a quadrotor, or one that cannot fly.
    """
    motor = motor or MotorParams()
    path = CF2X_USD_PATH if path == CF2X else path
    stage = open_stage(path)
    # QuadParams refuses the infinities that come of numbers too large.
    with usd_errors(path), np.errstate(over="ignore", invalid="ignore"):
        reader = UsdReader(stage, path)
        airframe = find_airframe(reader)
        vehicle = _compose(reader, airframe, motor)
        return UsdVehicle(vehicle, _odd_attributes(reader, airframe) + implausible_values(vehicle))


def _compose(reader: UsdReader, airframe: Airframe, motor: MotorParams) -> QuadParams:
    base = airframe.base
    _require_weighed(reader, airframe)
    parts = [point for body in airframe.bodies for point in reader.mass_points(body, base)]
    mass = sum(part.mass for part in parts)
    centre = sum(part.mass * part.centre for part in parts) / mass
    inertia = sum(part.inertia + part.mass * _parallel_axis(part.centre - centre) for part in parts)
    hubs = np.array([rotor.hub for rotor in airframe.rotors])
    # USD cannot describe the motors: parameters of the same name come from MotorParams.
    from_motor = {f.name: np.array([getattr(motor, f.name)]) for f in fields(motor) if f.name != "spin"}
    spin = _spin(reader, airframe, motor)
    try:
        vehicle = QuadParams(
            mass=np.array([mass]),
            inertia=np.array([(inertia + inertia.T) / 2.0]),
            rotor_pos_b=(hubs - centre)[None],
            rotor_spin=np.array([spin]),
            force_std=np.zeros(1),
            **from_motor,
        )
        require_possible_thrust(vehicle)
        require_control(vehicle)
    except ValueError as error:
        raise UsdVehicleError(
            reader.path,
            f"a vehicle that cannot fly with the motors of robot.motor ({error})",
            f"change env.robot.motor, or the masses in the file, {mass:.4g} kg in all",
        ) from error
    return vehicle


def _require_weighed(reader: UsdReader, airframe: Airframe) -> None:
    points = [point for body in airframe.frame for point in reader.mass_points(body, airframe.base)]
    if not points:
        raise UsdVehicleError(reader.path, f"no authored physics:mass on {airframe.base.GetPath()}")
    if not any(point.inertia.any() for point in points):
        raise UsdVehicleError(reader.path, f"no authored physics:diagonalInertia on {airframe.base.GetPath()}")


def _spin(reader: UsdReader, airframe: Airframe, motor: MotorParams) -> list[int]:
    """Return the turning directions: the joints' drives, then the setting, which may not contradict them."""
    if motor.spin is not None:
        for rotor, wanted in zip(airframe.rotors, motor.spin, strict=True):
            if rotor.spin not in (0, wanted):
                authored = [rotor.spin for rotor in airframe.rotors]
                raise UsdVehicleError(
                    reader.path,
                    f"the drive of {rotor.joint.GetPath()} turning {rotor.spin:+d} and robot.motor.spin "
                    f"{wanted:+d} (file {authored}, setting {list(motor.spin)}); set robot.motor.spin=null or "
                    "reverse drive:angular:physics:targetVelocity",
                )
    return [rotor.spin or other for rotor, other in zip(airframe.rotors, motor.spin or ALTERNATING, strict=True)]


def _odd_attributes(reader: UsdReader, airframe: Airframe) -> list[str]:
    """Return what is odd about units, masses and bodies, one phrase each."""
    found = []
    if not reader.stage.HasAuthoredMetadata("metersPerUnit"):
        found.append("metersPerUnit is not authored, so that a unit is a centimetre")
    if not reader.stage.HasAuthoredMetadata("upAxis"):
        found.append("upAxis is not authored, so that Y is up")
    massless = [body for body in airframe.bodies if not reader.mass_points(body, airframe.base)]
    if massless:
        names = shown(", ".join(str(body.GetPath()) for body in massless))
        found.append(f"physics:mass is not authored on {names}, which count as massless")
    kinematic = [body for body in airframe.bodies if is_kinematic(body)]
    if kinematic:
        names = shown(", ".join(str(body.GetPath()) for body in kinematic))
        found.append(f"physics:kinematicEnabled is true on {names}, which an engine would not let fly")
    return found


def _parallel_axis(offset: np.ndarray) -> np.ndarray:
    return offset @ offset * np.eye(3) - np.outer(offset, offset)
