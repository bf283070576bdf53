"""Numbers, poses and mass properties of a USD stage, in SI units and with Z up."""

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
class MassPoint:
    """Mass properties of a rigid body, or of a part of one."""

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

        self.stage = stage
        self.path = path
        self._xforms = UsdGeom.XformCache()
        self._metres = self._unit("metersPerUnit", UsdGeom.GetStageMetersPerUnit(stage))
        self._kilograms = self._unit("kilogramsPerUnit", UsdPhysics.GetStageKilogramsPerUnit(stage))
        self.up_axis = str(UsdGeom.GetStageUpAxis(stage))
        # Rotating by +90 degrees about x takes an up axis of +y to +z and keeps x forward.
        self._to_z_up = np.array(
            Gf.Matrix3d(Gf.Rotation(Gf.Vec3d(1, 0, 0), 90.0 if self.up_axis == "Y" else 0.0)), dtype=float
        ).T.round(12)

    def prims(self) -> list[Usd.Prim]:
        """Return every prim, those inside instances included."""
        from pxr import Usd

        return list(self.stage.Traverse(Usd.TraverseInstanceProxies()))

    def mass_points(self, body: Usd.Prim, base: Usd.Prim) -> list[MassPoint]:
        """Return the masses of a rigid body, replacing unauthored sentinels; none if it has none authored.

        As the physics schema has it, a mass authored on a prim is that of everything below it. What is below a
        prim without a mass adds up, except other enabled bodies.
        """
        if mass := self._mass(body):
            return [self._mass_point(body, base, mass)]
        from pxr import Usd

        children = body.GetFilteredChildren(Usd.TraverseInstanceProxies())
        return [point for child in children if not is_body(child) for point in self.mass_points(child, base)]

    def numbers(
        self, attribute: Usd.Attribute, default: np.ndarray | float, unauthored: float | None = None
    ) -> np.ndarray:
        """Return an attribute's numbers, ``default`` if it has none or all of them are ``unauthored``.

        Raises:
            UsdVehicleError: If they are of another number or not finite.
        """
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
            raise UsdVehicleError(self.path, f"{attribute.GetPath()} = {shown(value)}, not {expected}")
        return numbers

    def point_in(self, base: Usd.Prim, prim: Usd.Prim, point: np.ndarray) -> np.ndarray:
        """Return a point of ``prim``'s frame in the base body's axes, from its origin [m], Z up, shape (3,)."""
        offset = (self._world(prim) @ np.append(point, 1.0))[:3] - self._world(base)[:3, 3]
        point_b = self._to_z_up @ self._world_rotation(base).T @ offset * self._metres
        if not np.isfinite(point_b).all():
            raise UsdVehicleError(self.path, f"{prim.GetPath()} at no finite position")
        return point_b

    def rotation_in(self, base: Usd.Prim, prim: Usd.Prim, rotation: Usd.Attribute) -> np.ndarray:
        """Return the rotation from a frame turned inside ``prim``'s to the base body's axes, Z up, shape (3, 3).

        Args:
            base: The base body.
            prim: The prim whose frame ``rotation`` turns.
            rotation: A quaternion; missing, or the unauthored zero, it counts as identity.
        """
        turned = self._world_rotation(base).T @ self._world_rotation(prim)
        return self._to_z_up @ turned @ self._quat_matrix(rotation)

    def _mass(self, prim: Usd.Prim) -> float:
        """Return the authored mass [kg], 0 for none."""
        from pxr import UsdPhysics

        attribute = UsdPhysics.MassAPI(prim).GetMassAttr()
        mass = float(self.numbers(attribute, 0.0)) * self._kilograms
        if mass < 0.0:
            raise UsdVehicleError(self.path, f"{attribute.GetPath()} = {mass:g} kg, not a positive number")
        return mass

    def _mass_point(self, prim: Usd.Prim, base: Usd.Prim, mass: float) -> MassPoint:
        from pxr import UsdPhysics

        api = UsdPhysics.MassAPI(prim)
        centre = self.numbers(api.GetCenterOfMassAttr(), np.zeros(3), unauthored=-np.inf)
        diagonal = (
            self.numbers(api.GetDiagonalInertiaAttr(), np.zeros(3)) * self._kilograms * np.square(self._metres)
        )
        axes = self.rotation_in(base, prim, api.GetPrincipalAxesAttr())
        return MassPoint(mass, self.point_in(base, prim, centre), axes @ np.diag(diagonal) @ axes.T)

    def _unit(self, name: str, value: float) -> float:
        if not 0.0 < value < np.inf:
            raise UsdVehicleError(self.path, f"{name} = {value}, not a positive number")
        return value

    def _quat_matrix(self, attribute: Usd.Attribute) -> np.ndarray:
        from pxr import Gf

        value = attribute.Get() if attribute else None
        if value is None:
            return np.eye(3)
        if not isinstance(value, (Gf.Quath, Gf.Quatf, Gf.Quatd)) or not np.isfinite(Gf.Quatd(value).GetLength()):
            raise UsdVehicleError(self.path, f"{attribute.GetPath()} = {shown(value)}, not a quaternion")
        if value.GetLength() == 0.0:
            return np.eye(3)
        return np.array(Gf.Matrix3d(Gf.Quatd(value).GetNormalized())).T

    def _world(self, prim: Usd.Prim) -> np.ndarray:
        """Return the transform from ``prim``'s frame to the stage's, acting on columns, shape (4, 4)."""
        world = np.array(self._xforms.GetLocalToWorldTransform(prim)).T
        if np.linalg.det(world[:3, :3]) < 0.0:
            raise UsdVehicleError(
                self.path,
                f"a mirrored transform of {prim.GetPath()} (negative scale), which physics engines do not follow; "
                "mirror positions and turning directions instead",
            )
        return world

    def _world_rotation(self, prim: Usd.Prim) -> np.ndarray:
        from pxr import Gf

        rotation = np.array(Gf.Matrix4d(self._world(prim).T).RemoveScaleShear().ExtractRotationMatrix()).T
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
            raise UsdVehicleError(self.path, f"a transform of {prim.GetPath()} that is not finite or scales to 0")
        return rotation


def is_body(prim: Usd.Prim) -> bool:
    """Return whether a prim is a rigid body that is enabled; a disabled one is a plain frame."""
    from pxr import UsdPhysics

    if not prim.HasAPI(UsdPhysics.RigidBodyAPI):
        return False
    # An attribute of another type than bool has no value that would disable the body.
    return UsdPhysics.RigidBodyAPI(prim).GetRigidBodyEnabledAttr().Get() is not False


def is_kinematic(body: Usd.Prim) -> bool:
    """Return whether a rigid body is moved by animation instead of forces."""
    from pxr import UsdPhysics

    return UsdPhysics.RigidBodyAPI(body).GetKinematicEnabledAttr().Get() is True
