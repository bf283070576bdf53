"""Read a quadrotor from the physics schema of a USD file.

Taken from USD: mass, centre of mass and inertia, composed over the body and its propellers, and the
positions and turning directions of the rotors. USD has no place for thrust curves, motor time constants
and drag: those come from :class:`foundation.sim.params.MotorParams`.
"""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.sim.params import MotorParams, QuadParams

if TYPE_CHECKING:
    from pxr import Usd

CF2X = "cf2x"
"""Stands for the Crazyflie that comes with the package, wherever that is installed."""
CF2X_USD_PATH = str(Path(__file__).parent / "assets" / "cf2x.usda")
"""The packaged Crazyflie's file."""

_EXPECTED = (
    "a readable USD file (.usd, .usda, .usdc, .usdz) with one rigid body that has mass and inertia, and "
    "four propellers attached to it by revolute joints along its vertical axis, one in each quadrant"
)


class UsdVehicleError(ValueError):
    """A USD file does not describe a quadrotor; the message names path, finding and expectation."""

    def __init__(self, path: str, found: str) -> None:
        """Compose the message from the file's path and what was found in it."""
        super().__init__(f"usd_path={path}: found {found}; expected {_EXPECTED}")


@dataclass(frozen=True)
class _Rotor:
    hub: np.ndarray  # in the body's axes, relative to its origin [m]
    spin: int  # +1 counter-clockwise from above, 0 if the file does not say
    prim: Usd.Prim


@dataclass(frozen=True)
class _MassPoint:
    mass: float  # [kg]
    centre: np.ndarray  # in the base body's axes, relative to its origin [m]
    inertia: np.ndarray  # about `centre`, in the base body's axes [kg m^2]


def load_quad(path: str = CF2X, motor: MotorParams | None = None) -> QuadParams:
    """Return the quadrotor that a USD file describes, as a batch of one.

    Propellers without authored inertia count as point masses.

    Args:
        path: The USD file, or ``cf2x`` for the packaged one.
        motor: Motor data; by default those of a Crazyflie 2.1.

    Raises:
        UsdVehicleError: If the file is missing, unreadable, or not a quadrotor.
    """
    motor = motor or MotorParams()
    path = CF2X_USD_PATH if path == CF2X else path
    reader = _Reader(_open_stage(path), path)
    base, rotors = reader.find_vehicle()
    parts = [reader.mass_point(base, base)] + [reader.mass_point(rotor.prim, base) for rotor in rotors]
    mass = sum(part.mass for part in parts)
    centre = sum(part.mass * part.centre for part in parts) / mass
    inertia = sum(part.inertia + part.mass * _parallel_axis(part.centre - centre) for part in parts)
    hubs = np.array([rotor.hub for rotor in rotors])
    try:
        return QuadParams(
            mass=np.array([mass]),
            inertia=np.array([(inertia + inertia.T) / 2.0]),
            rotor_pos_b=(hubs - centre)[None],
            rotor_spin=np.array([[r.spin or fallback for r, fallback in zip(rotors, motor.spin, strict=True)]]),
            thrust_curve=np.array([motor.thrust_curve]),
            torque_constant=np.array([motor.torque_constant]),
            tau_up=np.array([motor.tau_up]),
            tau_down=np.array([motor.tau_down]),
            drag=np.array([motor.drag]),
            force_std=np.zeros(1),
        )
    except ValueError as error:
        raise UsdVehicleError(path, f"a vehicle that cannot fly with the configured motors ({error})") from error


def _open_stage(path: str) -> Usd.Stage:
    from pxr import Tf, Usd

    if not Path(path).is_file():
        raise UsdVehicleError(path, "no such file")
    try:
        return Usd.Stage.Open(path)
    except Tf.ErrorException as error:
        raise UsdVehicleError(path, "a file that USD cannot open") from error


def _parallel_axis(offset: np.ndarray) -> np.ndarray:
    return offset @ offset * np.eye(3) - np.outer(offset, offset)


class _Reader:
    """One stage, its units, and its up axis."""

    def __init__(self, stage: Usd.Stage, path: str) -> None:
        from pxr import Gf, UsdGeom, UsdPhysics

        self._stage = stage
        self._path = path
        self._xforms = UsdGeom.XformCache()
        self._metres = UsdGeom.GetStageMetersPerUnit(stage)
        self._kilograms = UsdPhysics.GetStageKilogramsPerUnit(stage)
        y_up = UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
        # Rotating by +90 degrees about x takes an up axis of +y to +z and keeps x forward.
        self._to_z_up = np.array(
            Gf.Matrix3d(Gf.Rotation(Gf.Vec3d(1, 0, 0), 90.0 if y_up else 0.0)), dtype=float
        ).T.round(12)

    def find_vehicle(self) -> tuple[Usd.Prim, list[_Rotor]]:
        """Return the base body and its rotors, front-right, back-right, back-left, front-left."""
        from pxr import UsdPhysics

        bodies = [p for p in self._stage.Traverse() if p.HasAPI(UsdPhysics.RigidBodyAPI)]
        if not bodies:
            raise UsdVehicleError(self._path, "no rigid body")
        joints = [UsdPhysics.RevoluteJoint(p) for p in self._stage.Traverse() if p.IsA(UsdPhysics.RevoluteJoint)]
        ends = [self._joint_ends(joint) for joint in joints]
        carried = {body: sum(body in pair for pair in ends) for body in bodies}
        base = max(bodies, key=lambda body: carried[body])
        if carried[base] != 4 or len(joints) != 4:
            names = ", ".join(str(body.GetPath()) for body in bodies)
            raise UsdVehicleError(
                self._path,
                f"{len(joints)} revolute joints, {carried[base]} of them on one body (rigid bodies: {names})",
            )
        rotors = [self._rotor(joint, pair, base) for joint, pair in zip(joints, ends, strict=True)]
        others = set(bodies) - {base} - {rotor.prim for rotor in rotors}
        if others or len({rotor.prim for rotor in rotors}) != 4:
            names = ", ".join(sorted(str(body.GetPath()) for body in others)) or "none"
            raise UsdVehicleError(
                self._path, f"not four distinct propellers, or rigid bodies besides body and propellers ({names})"
            )
        return base, self._by_quadrant(rotors)

    def mass_point(self, prim: Usd.Prim, base: Usd.Prim) -> _MassPoint:
        """Return mass, centre and inertia of one rigid body, replacing unauthored sentinels."""
        from pxr import UsdPhysics

        api = UsdPhysics.MassAPI(prim)
        mass = (api.GetMassAttr().Get() or 0.0) * self._kilograms
        if mass <= 0.0:
            raise UsdVehicleError(self._path, f"no authored physics:mass on {prim.GetPath()}")
        centre = np.array(api.GetCenterOfMassAttr().Get() or (-np.inf,) * 3, dtype=float)
        if not np.isfinite(centre).all():  # unauthored: -inf
            centre = np.zeros(3)
        diagonal = np.array(api.GetDiagonalInertiaAttr().Get() or (0.0,) * 3, dtype=float)
        if not diagonal.any() and prim == base:
            raise UsdVehicleError(self._path, f"no authored physics:diagonalInertia on {prim.GetPath()}")
        axes = self._rotation_to(prim, base) @ _quat_matrix(api.GetPrincipalAxesAttr().Get())
        diagonal = diagonal * self._kilograms * self._metres**2
        return _MassPoint(mass, self._point_in(base, prim, centre), axes @ np.diag(diagonal) @ axes.T)

    def _joint_ends(self, joint: Usd.SchemaBase) -> tuple[Usd.Prim | None, Usd.Prim | None]:
        def target(rel: Usd.Relationship) -> Usd.Prim | None:
            paths = rel.GetForwardedTargets()
            return self._stage.GetPrimAtPath(paths[0]) if paths else None

        return target(joint.GetBody0Rel()), target(joint.GetBody1Rel())

    def _rotor(self, joint: Usd.SchemaBase, pair: tuple, base: Usd.Prim) -> _Rotor:
        from pxr import UsdPhysics

        base_is_first = pair[0] == base
        local_pos = (joint.GetLocalPos0Attr() if base_is_first else joint.GetLocalPos1Attr()).Get()
        local_rot = (joint.GetLocalRot0Attr() if base_is_first else joint.GetLocalRot1Attr()).Get()
        axis = np.eye(3)["XYZ".index(joint.GetAxisAttr().Get())]
        axis_b = self._to_z_up @ _quat_matrix(local_rot) @ axis
        prop = pair[1] if base_is_first else pair[0]
        path = joint.GetPrim().GetPath()
        if prop is None or not prop.IsValid():
            raise UsdVehicleError(self._path, f"joint {path} without a propeller")
        if abs(axis_b[2]) < 1.0 - 1e-3:
            raise UsdVehicleError(
                self._path, f"joint {path} whose axis {axis_b.round(3).tolist()} is not vertical"
            )
        drive = UsdPhysics.DriveAPI.Get(joint.GetPrim(), "angular")
        velocity = (drive.GetTargetVelocityAttr().Get() or 0.0) if drive else 0.0
        # A joint turns body 1 against body 0: naming the propeller first reverses the drive.
        direction = np.sign(axis_b[2]) * (1 if base_is_first else -1)
        hub = self._point_in(base, base, np.array(local_pos, dtype=float))
        return _Rotor(hub, int(np.sign(velocity) * direction), prop)

    def _by_quadrant(self, rotors: list[_Rotor]) -> list[_Rotor]:
        quadrants = [(1, -1), (-1, -1), (-1, 1), (1, 1)]
        found = {tuple(np.sign(rotor.hub[:2]).astype(int).tolist()): rotor for rotor in rotors}
        if set(found) != set(quadrants):
            places = [rotor.hub[:2].round(4).tolist() for rotor in rotors]
            raise UsdVehicleError(self._path, f"rotors at x, y = {places} m, not one in each quadrant")
        return [found[quadrant] for quadrant in quadrants]

    def _point_in(self, base: Usd.Prim, prim: Usd.Prim, point: np.ndarray) -> np.ndarray:
        """Return a point of ``prim``'s frame in the base body's axes, from its origin [m], Z up."""
        world = np.array(self._xforms.GetLocalToWorldTransform(prim)).T
        base_world = np.array(self._xforms.GetLocalToWorldTransform(base)).T
        offset = (world @ np.append(point, 1.0))[:3] - base_world[:3, 3]
        return self._to_z_up @ self._world_rotation(base).T @ offset * self._metres

    def _rotation_to(self, prim: Usd.Prim, base: Usd.Prim) -> np.ndarray:
        """Return the rotation from ``prim``'s axes to the base body's, Z up."""
        return self._to_z_up @ self._world_rotation(base).T @ self._world_rotation(prim)

    def _world_rotation(self, prim: Usd.Prim) -> np.ndarray:
        matrix = self._xforms.GetLocalToWorldTransform(prim)
        return np.array(matrix.RemoveScaleShear().ExtractRotationMatrix()).T


def _quat_matrix(quat: object) -> np.ndarray:
    """Return the rotation matrix of a USD quaternion; the unauthored zero counts as identity."""
    from pxr import Gf

    if quat is None or quat.GetLength() == 0.0:  # pyright: ignore
        return np.eye(3)
    return np.array(Gf.Matrix3d(Gf.Quatd(quat).GetNormalized())).T  # pyright: ignore
