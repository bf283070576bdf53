"""Read a quadrotor from the physics schema of a USD file.

Taken from USD: mass, centre of mass and inertia, composed over the body and its propellers, and the
positions and turning directions of the rotors. USD has no place for thrust curves, motor time constants
and drag: those come from :class:`foundation.sim.params.MotorParams`.
"""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np

from foundation.sim.params import MotorParams, QuadParams
from foundation.sim.usd_file import UsdVehicleError, open_stage, shown
from foundation.sim.usd_reader import UsdReader

CF2X = "cf2x"
"""Name of the packaged Crazyflie, used instead of a path."""
CF2X_USD_PATH = str(Path(__file__).parent / "assets" / "cf2x.usda")
"""File of the packaged Crazyflie."""


def load_quad(path: str = CF2X, motor: MotorParams | None = None) -> QuadParams:
    """Return the quadrotor that a USD file describes, as a batch of one.

    Propellers without authored inertia count as point masses.

    Args:
        path: The USD file, or ``cf2x`` for the packaged one.
        motor: Motor data; by default those of a Crazyflie 2.1.

    Raises:
        UsdVehicleError: If the file is missing, unreadable, or not a quadrotor.
    """
    from pxr import Tf

    motor = motor or MotorParams()
    path = CF2X_USD_PATH if path == CF2X else path
    stage = open_stage(path)
    try:
        # QuadParams refuses the infinities that come of numbers too large.
        with np.errstate(over="ignore", invalid="ignore"):
            return _read_quad(UsdReader(stage, path), path, motor)
    except Tf.ErrorException as error:
        raise UsdVehicleError(path, f"what USD cannot read ({shown(error.args[0].commentary)})") from error


def _read_quad(reader: UsdReader, path: str, motor: MotorParams) -> QuadParams:
    base, rotors = reader.find_vehicle()
    parts = [reader.mass_point(base, base)] + [reader.mass_point(rotor.prim, base) for rotor in rotors]
    mass = sum(part.mass for part in parts)
    centre = sum(part.mass * part.centre for part in parts) / mass
    inertia = sum(part.inertia + part.mass * _parallel_axis(part.centre - centre) for part in parts)
    hubs = np.array([rotor.hub for rotor in rotors])
    # USD cannot describe the motors: parameters of the same name come from MotorParams.
    from_motor = {f.name: np.array([getattr(motor, f.name)]) for f in fields(motor) if f.name != "spin"}
    try:
        return QuadParams(
            mass=np.array([mass]),
            inertia=np.array([(inertia + inertia.T) / 2.0]),
            rotor_pos_b=(hubs - centre)[None],
            rotor_spin=np.array([[r.spin or fallback for r, fallback in zip(rotors, motor.spin, strict=True)]]),
            force_std=np.zeros(1),
            **from_motor,
        )
    except ValueError as error:
        raise UsdVehicleError(path, f"a vehicle that cannot fly with the configured motors ({error})") from error


def _parallel_axis(offset: np.ndarray) -> np.ndarray:
    return offset @ offset * np.eye(3) - np.outer(offset, offset)
