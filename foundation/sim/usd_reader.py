"""Read the rigid bodies and rotors of a USD stage, in SI units and with Z up."""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foundation.sim.usd_file import UsdVehicleError, shown

if TYPE_CHECKING:
    from pxr import Usd


@dataclass(frozen=True)
class Rotor:
    """A propeller."""

    hub: np.ndarray  # in the body's axes, relative to its origin [m]
    spin: int  # +1 counter-clockwise from above, 0 if the file does not say
    prim: Usd.Prim


@dataclass(frozen=True)
class MassPoint:
    """Mass properties of a rigid body."""

    mass: float  # [kg]
    centre: np.ndarray  # in the base body's axes, relative to its origin [m]
    inertia: np.ndarray  # about `centre`, in the base body's axes [kg m^2]


class UsdReader:
    """One stage, its units, and its up axis."""

    def __init__(self, stage: Usd.Stage, path: str) -> None:
        """Read the stage's units and up axis.

        Raises:
            UsdVehicleError: If a unit is not a positive number.
        """
        from pxr import Gf, UsdGeom, UsdPhysics

        self._stage = stage
        self._path = path
        self._xforms = UsdGeom.XformCache()
        self._metres = self._unit("metersPerUnit", UsdGeom.GetStageMetersPerUnit(stage))
        self._kilograms = self._unit("kilogramsPerUnit", UsdPhysics.GetStageKilogramsPerUnit(stage))
        y_up = UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y
        # Rotating by +90 degrees about x takes an up axis of +y to +z and keeps x forward.
        self._to_z_up = np.array(
            Gf.Matrix3d(Gf.Rotation(Gf.Vec3d(1, 0, 0), 90.0 if y_up else 0.0)), dtype=float
        ).T.round(12)

    def find_vehicle(self) -> tuple[Usd.Prim, list[Rotor]]:
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

    def mass_point(self, prim: Usd.Prim, base: Usd.Prim) -> MassPoint:
        """Return mass, centre and inertia of one rigid body, replacing unauthored sentinels."""
        from pxr import UsdPhysics

        api = UsdPhysics.MassAPI(prim)
        mass = float(self._numbers(api.GetMassAttr(), 0.0)) * self._kilograms
        if mass <= 0.0:
            raise UsdVehicleError(self._path, f"no authored physics:mass on {prim.GetPath()}")
        centre = self._numbers(api.GetCenterOfMassAttr(), np.zeros(3), unauthored=-np.inf)
        diagonal = self._numbers(api.GetDiagonalInertiaAttr(), np.zeros(3))
        if not diagonal.any() and prim == base:
            raise UsdVehicleError(self._path, f"no authored physics:diagonalInertia on {prim.GetPath()}")
        axes = self._rotation_to(prim, base) @ self._quat_matrix(api.GetPrincipalAxesAttr())
        diagonal = diagonal * self._kilograms * np.square(self._metres)
        return MassPoint(mass, self._point_in(base, prim, centre), axes @ np.diag(diagonal) @ axes.T)

    def _unit(self, name: str, value: float) -> float:
        if not 0.0 < value < np.inf:
            raise UsdVehicleError(self._path, f"{name} = {value}, not a positive number")
        return value

    def _numbers(
        self, attribute: Usd.Attribute, default: np.ndarray | float, unauthored: float | None = None
    ) -> np.ndarray:
        """Return an attribute's numbers, ``default`` if it has none or all of them are ``unauthored``."""
        value = attribute.Get() if attribute else None
        if value is None:
            return np.asarray(default)
        try:
            numbers = np.array(value, dtype=float)
        except (TypeError, ValueError):
            numbers = np.array(np.nan)
        if unauthored is not None and np.all(numbers == unauthored):
            return np.asarray(default)
        if numbers.shape != np.shape(default) or not np.isfinite(numbers).all():
            expected = f"{np.size(default)} finite numbers" if np.ndim(default) else "a finite number"
            raise UsdVehicleError(self._path, f"{attribute.GetPath()} = {shown(value)}, not {expected}")
        return numbers

    def _quat_matrix(self, attribute: Usd.Attribute) -> np.ndarray:
        """Return the rotation matrix of a quaternion; the unauthored zero counts as identity."""
        from pxr import Gf

        value = attribute.Get() if attribute else None
        if value is None:
            return np.eye(3)
        if not isinstance(value, (Gf.Quath, Gf.Quatf, Gf.Quatd)) or not np.isfinite(Gf.Quatd(value).GetLength()):
            raise UsdVehicleError(self._path, f"{attribute.GetPath()} = {shown(value)}, not a quaternion")
        if value.GetLength() == 0.0:
            return np.eye(3)
        return np.array(Gf.Matrix3d(Gf.Quatd(value).GetNormalized())).T

    def _joint_ends(self, joint: Usd.SchemaBase) -> tuple[Usd.Prim | None, Usd.Prim | None]:
        def target(rel: Usd.Relationship) -> Usd.Prim | None:
            paths = rel.GetForwardedTargets()
            return self._stage.GetPrimAtPath(paths[0]) if paths else None

        return target(joint.GetBody0Rel()), target(joint.GetBody1Rel())

    def _rotor(self, joint: Usd.SchemaBase, pair: tuple, base: Usd.Prim) -> Rotor:
        from pxr import UsdPhysics

        path = joint.GetPrim().GetPath()
        base_is_first = pair[0] == base
        prop = pair[1] if base_is_first else pair[0]
        if prop is None or not prop.IsValid() or prop == base:
            raise UsdVehicleError(self._path, f"joint {path} without a propeller")
        position = joint.GetLocalPos0Attr() if base_is_first else joint.GetLocalPos1Attr()
        rotation = joint.GetLocalRot0Attr() if base_is_first else joint.GetLocalRot1Attr()
        axis = joint.GetAxisAttr().Get()
        if not isinstance(axis, str) or axis not in ("X", "Y", "Z"):  # an asset's path compares equal to text
            raise UsdVehicleError(self._path, f"joint {path} about the axis {shown(axis)}, not X, Y or Z")
        axis_b = self._to_z_up @ self._quat_matrix(rotation) @ np.eye(3)["XYZ".index(axis)]
        if abs(axis_b[2]) < 1.0 - 1e-3:
            raise UsdVehicleError(
                self._path, f"joint {path} whose axis {axis_b.round(3).tolist()} is not vertical"
            )
        drive = UsdPhysics.DriveAPI.Get(joint.GetPrim(), "angular")
        velocity = float(self._numbers(drive.GetTargetVelocityAttr(), 0.0)) if drive else 0.0
        # A joint turns body 1 against body 0: naming the propeller first reverses the drive.
        direction = np.sign(axis_b[2]) * (1 if base_is_first else -1)
        hub = self._point_in(base, base, self._numbers(position, np.zeros(3)))
        return Rotor(hub, int(np.sign(velocity) * direction), prop)

    def _by_quadrant(self, rotors: list[Rotor]) -> list[Rotor]:
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
        point_b = self._to_z_up @ self._world_rotation(base).T @ offset * self._metres
        if not np.isfinite(point_b).all():
            raise UsdVehicleError(self._path, f"{prim.GetPath()} at no finite position")
        return point_b

    def _rotation_to(self, prim: Usd.Prim, base: Usd.Prim) -> np.ndarray:
        """Return the rotation from ``prim``'s axes to the base body's, Z up."""
        return self._to_z_up @ self._world_rotation(base).T @ self._world_rotation(prim)

    def _world_rotation(self, prim: Usd.Prim) -> np.ndarray:
        matrix = self._xforms.GetLocalToWorldTransform(prim)
        rotation = np.array(matrix.RemoveScaleShear().ExtractRotationMatrix()).T
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
            raise UsdVehicleError(self._path, f"a transform of {prim.GetPath()} that is not finite or scales to 0")
        return rotation
