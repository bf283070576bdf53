"""Parts of USD vehicles: frames, masses, joints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pxr import Gf, Usd, UsdGeom, UsdPhysics

BODY = "/crazyflie/body"
"""Body of the packaged Crazyflie."""


def frame(stage: Usd.Stage, path: str, *, move=(0, 0, 0), turn=(0, 0, 0), scale=(1, 1, 1)) -> UsdGeom.Xform:
    """Add a frame that is moved, then turned [deg], then scaled."""
    xform = UsdGeom.Xform.Define(stage, path)
    xform.AddTranslateOp().Set(Gf.Vec3d(*move))
    xform.AddRotateXYZOp().Set(Gf.Vec3f(*turn))
    xform.AddScaleOp().Set(Gf.Vec3f(*scale))
    return xform


def weigh(prim: Usd.Prim, mass: float, inertia=None, centre=None, body: bool = True) -> None:
    if body:
        UsdPhysics.RigidBodyAPI.Apply(prim)
    api = UsdPhysics.MassAPI.Apply(prim)
    api.CreateMassAttr(mass)
    if inertia is not None:
        api.CreateDiagonalInertiaAttr(Gf.Vec3f(*inertia))
    if centre is not None:
        api.CreateCenterOfMassAttr(Gf.Vec3f(*centre))


def fix(stage: Usd.Stage, first: str | None, second: str) -> UsdPhysics.FixedJoint:
    """Join two prims where they are; None is the world."""
    joint = UsdPhysics.FixedJoint.Define(stage, f"{second}_fixed")
    joint.CreateBody1Rel().SetTargets([second])
    if first is not None:
        joint.CreateBody0Rel().SetTargets([first])
        cache = UsdGeom.XformCache()
        relative, _ = cache.ComputeRelativeTransform(stage.GetPrimAtPath(second), stage.GetPrimAtPath(first))
        relative = cache.GetLocalToWorldTransform(stage.GetPrimAtPath(second)) * (
            cache.GetLocalToWorldTransform(stage.GetPrimAtPath(first)).GetInverse()
        )
        joint.CreateLocalPos0Attr(Gf.Vec3f(relative.ExtractTranslation()))
        joint.CreateLocalRot0Attr(Gf.Quatf(relative.ExtractRotationQuat()))
    return joint


def revolute_joints(stage: Usd.Stage) -> list[UsdPhysics.RevoluteJoint]:
    return [UsdPhysics.RevoluteJoint(p) for p in stage.Traverse() if p.IsA(UsdPhysics.RevoluteJoint)]


def in_frame(stage: Usd.Stage, joint: UsdPhysics.RevoluteJoint, path: str) -> None:
    """Name a child frame as the joint's body 0, with the joint's pose expressed in it."""
    world = UsdGeom.XformCache().GetLocalToWorldTransform(stage.GetPrimAtPath(path))
    joint.GetBody0Rel().SetTargets([path])
    joint.GetLocalPos0Attr().Set(Gf.Vec3f(world.GetInverse().Transform(Gf.Vec3d(joint.GetLocalPos0Attr().Get()))))
    turned = world.RemoveScaleShear().GetInverse().ExtractRotationQuat()
    joint.CreateLocalRot0Attr(Gf.Quatf(turned))


def save_again(stage: Usd.Stage, path: str) -> str:
    """Save under another name: USD remembers what it has read by name."""
    other = str(Path(path).with_stem("other"))
    stage.GetRootLayer().Export(other)
    return other


def cloud(mass: float, centre, inertia, rotation=None) -> tuple[np.ndarray, np.ndarray]:
    """Return six point masses that have a body's mass, centre and principal moments, (6,) and (6, 3)."""
    moments = np.asarray(inertia, dtype=float)
    spread = np.sqrt(np.maximum(moments.sum() / 2 - moments, 0) / (mass / 3))
    offsets = np.concatenate([np.diag(spread), -np.diag(spread)])
    return np.full(6, mass / 6), np.asarray(centre) + offsets @ (np.eye(3) if rotation is None else rotation).T


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Return the rotation about x, then y, then z [deg]."""

    def about(axis: int, angle: float) -> np.ndarray:
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        return np.roll(np.array([[1, 0, 0], [0, c, -s], [0, s, c]]), (axis, axis), (0, 1))

    return about(2, z) @ about(1, y) @ about(0, x)
