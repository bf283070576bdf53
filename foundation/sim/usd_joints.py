"""Find the quadrotor in a USD stage: the bodies that form its frame, and its rotors."""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foundation.sim.usd_file import UsdVehicleError, shown
from foundation.sim.usd_reader import UsdReader, is_body

if TYPE_CHECKING:
    from pxr import Usd

FARTHEST_APART = 1e-3
"""Largest distance between the two frames of a fixed joint [m]: an engine would move the link by it."""
MOST_TURNED = np.deg2rad(1.0)
"""Largest angle between the two frames of a fixed joint [rad]."""


@dataclass(frozen=True)
class End:
    """One of the two sides of a joint: a frame at or below a rigid body."""

    prim: Usd.Prim | None  # the frame that the joint names; None for the world
    body: Usd.Prim | None  # the nearest enabled rigid body at or above it
    position: Usd.Attribute
    rotation: Usd.Attribute


@dataclass(frozen=True)
class Joint:
    """An enabled joint."""

    prim: Usd.Prim
    ends: tuple[End, End]


@dataclass(frozen=True)
class Rotor:
    """A propeller."""

    hub: np.ndarray  # in the base body's axes, relative to its origin [m], shape (3,)
    spin: int  # +1 counter-clockwise from above, 0 if the file does not say
    prim: Usd.Prim
    joint: Usd.Prim


@dataclass(frozen=True)
class Airframe:
    """The parts of a quadrotor."""

    base: Usd.Prim  # the body whose axes are those of the vehicle
    frame: list[Usd.Prim]  # the base and the links fixed to it
    turning: list[Usd.Prim]  # the propellers that are rigid bodies and the links fixed to them
    rotors: list[Rotor]  # front-right, back-right, back-left, front-left

    @property
    def bodies(self) -> list[Usd.Prim]:
        """Every rigid body of the vehicle."""
        return self.frame + self.turning


def find_airframe(reader: UsdReader) -> Airframe:
    """Return the quadrotor of a stage.

    Bodies joined by fixed joints count as one. The base is the body that all four revolute joints name, else the
    heaviest.

    Raises:
        UsdVehicleError: If the stage has no quadrotor, or more than one.
    """
    from pxr import UsdPhysics

    prims = reader.prims()
    bodies = [prim for prim in prims if is_body(prim)]
    if not bodies:
        raise UsdVehicleError(reader.path, "no rigid body")
    turning = _joints(reader, [prim for prim in prims if prim.IsA(UsdPhysics.RevoluteJoint)])
    fixed = _joints(reader, [prim for prim in prims if prim.IsA(UsdPhysics.FixedJoint)])
    groups = _rigid_groups(bodies, fixed)
    frame = _frame(reader, groups, turning)
    base = _base(reader, [body for body in bodies if body in frame], turning)
    rotors = [_rotor(reader, joint, frame, base) for joint in turning]
    if len({rotor.prim for rotor in rotors}) != 4:
        raise UsdVehicleError(reader.path, "not four distinct propellers")
    carried = [groups[rotor.prim] for rotor in rotors if rotor.prim in groups]
    airframe = Airframe(
        base,
        [body for body in bodies if body in frame],
        [body for body in bodies if any(body in group for group in carried)],
        _by_quadrant(reader, rotors),
    )
    if others := ", ".join(str(body.GetPath()) for body in bodies if body not in airframe.bodies):
        raise UsdVehicleError(
            reader.path,
            f"rigid bodies besides body and propellers ({others}); join them by fixed joints, or disable them",
        )
    for joint in fixed:
        _require_in_place(reader, joint, airframe)
    return airframe


def _joints(reader: UsdReader, prims: list[Usd.Prim]) -> list[Joint]:
    from pxr import UsdPhysics

    def end(joint: Usd.SchemaBase, index: int) -> End:
        paths = getattr(joint, f"GetBody{index}Rel")().GetForwardedTargets()
        prim = reader.stage.GetPrimAtPath(paths[0]) if paths else None
        if paths and not prim:
            raise UsdVehicleError(reader.path, f"joint {joint.GetPath()} on {paths[0]}, which does not exist")
        position, rotation = (getattr(joint, f"GetLocal{kind}{index}Attr")() for kind in ("Pos", "Rot"))
        return End(prim, _body_of(prim), position, rotation)

    joints = (UsdPhysics.Joint(prim) for prim in prims)
    enabled = (joint for joint in joints if joint.GetJointEnabledAttr().Get() is not False)
    return [Joint(joint.GetPrim(), (end(joint, 0), end(joint, 1))) for joint in enabled]


def _body_of(prim: Usd.Prim | None) -> Usd.Prim | None:
    while prim and not prim.IsPseudoRoot():
        if is_body(prim):
            return prim
        prim = prim.GetParent()
    return None


def _rigid_groups(bodies: list[Usd.Prim], fixed: list[Joint]) -> dict[Usd.Prim, set[Usd.Prim]]:
    """Return, for each body, the bodies that fixed joints make one with it."""
    groups = {body: {body} for body in bodies}
    for joint in fixed:
        first, second = (end.body for end in joint.ends)
        if first is not None and second is not None and groups[first] is not groups[second]:
            joined = groups[first] | groups[second]
            groups |= dict.fromkeys(joined, joined)
    return groups


def _frame(reader: UsdReader, groups: dict[Usd.Prim, set[Usd.Prim]], turning: list[Joint]) -> set[Usd.Prim]:
    def carried(group: set[Usd.Prim]) -> int:
        return sum(any(end.body in group for end in joint.ends) for joint in turning)

    frame = max(groups.values(), key=carried)
    if carried(frame) != 4 or len(turning) != 4:
        names = shown(", ".join(str(body.GetPath()) for body in groups))
        raise UsdVehicleError(
            reader.path,
            f"{len(turning)} enabled revolute joints, {carried(frame)} of them on one body, not four "
            f"(rigid bodies: {names})",
        )
    return frame


def _base(reader: UsdReader, frame: list[Usd.Prim], turning: list[Joint]) -> Usd.Prim:
    def rank(body: Usd.Prim) -> tuple[bool, float]:
        carries_all = all(any(end.body == body for end in joint.ends) for joint in turning)
        return carries_all, sum(point.mass for point in reader.mass_points(body, body))

    return max(frame, key=rank)


def _rotor(reader: UsdReader, joint: Joint, frame: set[Usd.Prim], base: Usd.Prim) -> Rotor:
    from pxr import UsdPhysics

    path = joint.prim.GetPath()
    first, second = joint.ends
    # A propeller may be a plain frame below the body: then both ends have the same body.
    reversed_ends = first.body not in frame or (second.prim in frame and first.prim not in frame)
    mount, propeller = (second, first) if reversed_ends else (first, second)
    prim = propeller.prim if propeller.body is None or propeller.body in frame else propeller.body
    if mount.prim is None or prim is None or prim == mount.prim or prim in frame:
        raise UsdVehicleError(reader.path, f"joint {path} without a propeller")
    axis = UsdPhysics.RevoluteJoint(joint.prim).GetAxisAttr().Get()
    if not isinstance(axis, str) or axis not in ("X", "Y", "Z"):  # an asset's path compares equal to text
        raise UsdVehicleError(reader.path, f"joint {path} about the axis {shown(axis)}, not X, Y or Z")
    axis_b = reader.rotation_in(base, mount.prim, mount.rotation) @ np.eye(3)["XYZ".index(axis)]
    if abs(axis_b[2]) < 1.0 - 1e-3:
        up = reader.up_axis + ("" if reader.stage.HasAuthoredMetadata("upAxis") else ", as upAxis is not authored")
        raise UsdVehicleError(
            reader.path,
            f"joint {path} whose axis {axis_b.round(3).tolist()} is not vertical (up is {up})",
        )
    drive = UsdPhysics.DriveAPI.Get(joint.prim, "angular")
    velocity = float(reader.numbers(drive.GetTargetVelocityAttr(), 0.0)) if drive else 0.0
    # A joint turns body 1 against body 0: naming the propeller first reverses the drive.
    direction = np.sign(axis_b[2]) * (-1 if reversed_ends else 1)
    hub = reader.point_in(base, mount.prim, reader.numbers(mount.position, np.zeros(3)))
    return Rotor(hub, int(np.sign(velocity) * direction), prim, joint.prim)


def _require_in_place(reader: UsdReader, joint: Joint, airframe: Airframe) -> None:
    """Check that a fixed joint holds its link where the stage shows it, and leaves the vehicle free."""
    path, base = joint.prim.GetPath(), airframe.base
    if not any(end.body in airframe.bodies for end in joint.ends):
        return
    if any(end.prim is None for end in joint.ends):
        raise UsdVehicleError(
            reader.path,
            f"fixed joint {path} that ties the vehicle to the world; disable it (physics:jointEnabled)",
        )
    if any(end.body is None for end in joint.ends):
        return  # holds a frame without a body, which weighs nothing wherever it is
    places = [reader.point_in(base, end.prim, reader.numbers(end.position, np.zeros(3))) for end in joint.ends]
    first, second = (reader.rotation_in(base, end.prim, end.rotation) for end in joint.ends)
    apart = np.linalg.norm(places[0] - places[1])
    angle = np.arccos(np.clip((np.trace(first.T @ second) - 1.0) / 2.0, -1.0, 1.0))
    if apart > FARTHEST_APART or angle > MOST_TURNED:
        raise UsdVehicleError(
            reader.path,
            f"fixed joint {path} whose two frames are {1000 * apart:.1f} mm and {np.rad2deg(angle):.1f} degrees "
            f"apart, more than {1000 * FARTHEST_APART:g} mm or {np.rad2deg(MOST_TURNED):g} degree; place the link "
            "where the joint holds it",
        )


def _by_quadrant(reader: UsdReader, rotors: list[Rotor]) -> list[Rotor]:
    quadrants = [(1, -1), (-1, -1), (-1, 1), (1, 1)]
    middle = np.mean([rotor.hub for rotor in rotors], axis=0)
    found = {tuple(np.sign(rotor.hub - middle)[:2].astype(int).tolist()): rotor for rotor in rotors}
    if set(found) != set(quadrants):
        places = [rotor.hub[:2].round(4).tolist() for rotor in rotors]
        raise UsdVehicleError(
            reader.path,
            f"rotors at x, y = {places} m, not one in each quadrant; turn the axes of a + frame by 45 degrees",
        )
    return [found[quadrant] for quadrant in quadrants]
