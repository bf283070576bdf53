"""Links that are fixed, disabled or massless: what they add to a vehicle's mass and inertia."""

from __future__ import annotations

import numpy as np
import pytest
from pxr import Gf, UsdPhysics

from foundation.sim.usd import UsdVehicleError, load_quad, read_vehicle
from tests.sim.test_usd import assert_same_vehicle
from tests.support.usd import BODY, cloud, fix, frame, in_frame, revolute_joints, rotation, save_again, weigh

QUARTER = Gf.Quatf(np.sqrt(0.5), 0, 0, np.sqrt(0.5))
"""A quarter turn about z."""


def test_disabled_bodies_and_joints_are_as_if_not_there(nominal, stage, save):
    camera = frame(stage, "/crazyflie/camera", move=(0.03, 0, 0)).GetPrim()
    weigh(camera, 0.01)
    UsdPhysics.RigidBodyAPI(camera).CreateRigidBodyEnabledAttr(False)
    fix(stage, BODY, "/crazyflie/camera")
    fix(stage, None, BODY).CreateJointEnabledAttr(False)
    gimbal = UsdPhysics.RevoluteJoint.Define(stage, "/crazyflie/gimbal")
    gimbal.CreateBody0Rel().SetTargets([BODY])
    gimbal.CreateBody1Rel().SetTargets(["/crazyflie/camera"])
    gimbal.CreateJointEnabledAttr(False)
    path = save(stage)
    assert_same_vehicle(load_quad(path), nominal)
    gimbal.CreateJointEnabledAttr(True)
    with pytest.raises(UsdVehicleError, match="5 enabled revolute joints"):
        load_quad(save_again(stage, path))


def test_joints_on_a_disabled_body_hold_the_enabled_one_above(nominal, stage, save):
    shell = frame(stage, f"{BODY}/shell").GetPrim()
    weigh(shell, 0.01)
    UsdPhysics.RigidBodyAPI(shell).CreateRigidBodyEnabledAttr(False)
    for joint in revolute_joints(stage):
        joint.GetBody0Rel().SetTargets([f"{BODY}/shell"])
    # The body's authored mass is that of everything below it.
    assert_same_vehicle(load_quad(save(stage)), nominal)


def test_a_body_without_a_mass_has_that_of_the_parts_below_it(stage, save):
    body = UsdPhysics.MassAPI(stage.GetPrimAtPath(BODY))
    inertia = body.GetDiagonalInertiaAttr().Get()
    body.GetMassAttr().Set(0.0)
    body.GetDiagonalInertiaAttr().Set(Gf.Vec3f(0, 0, 0))
    for side in (1, -1):
        part = frame(stage, f"{BODY}/part{side + 1}", move=(0.01 * side, 0, 0)).GetPrim()
        weigh(part, 0.0125, inertia=inertia / 2, body=side == 1)
    UsdPhysics.RigidBodyAPI(stage.GetPrimAtPath(f"{BODY}/part2")).CreateRigidBodyEnabledAttr(False)
    got, plain = load_quad(save(stage)), load_quad()
    np.testing.assert_allclose(got.mass, plain.mass, rtol=1e-6)
    expected = plain.inertia[0] + 0.025 * 0.01**2 * np.diag([0, 1, 1])
    np.testing.assert_allclose(got.inertia[0], expected, rtol=1e-5, atol=1e-12)


def test_links_fixed_in_a_chain_add_mass_and_inertia_like_their_point_masses(stage, save):
    first, second = (20.0, -30.0, 50.0), (0.0, 0.0, 90.0)
    lens = (0.001, 0.002, 0.0)
    weigh(
        frame(stage, "/crazyflie/camera", move=(0.02, 0.003, -0.01), turn=first).GetPrim(),
        0.004,
        (3e-7, 4e-7, 6e-7),
    )
    # A sibling of its parent in the file, below it in space.
    place = np.array([0.02, 0.003, -0.01]) + rotation(*first) @ [0.005, 0, 0]
    xform = frame(stage, "/crazyflie/lens")
    turned = rotation(*first) @ rotation(*second)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[3, :3] = turned.T, place
    xform.ClearXformOpOrder()
    xform.AddTransformOp().Set(Gf.Matrix4d(matrix))
    weigh(xform.GetPrim(), 0.002, (1e-7, 2e-7, 2.5e-7), centre=lens)
    fix(stage, BODY, "/crazyflie/camera")
    fix(stage, "/crazyflie/camera", "/crazyflie/lens")
    got = load_quad(save(stage))

    clouds = [
        cloud(0.025, (0, 0, 0), (1.6572e-05, 1.6656e-05, 2.9262e-05)),
        cloud(0.004, (0.02, 0.003, -0.01), (3e-7, 4e-7, 6e-7), rotation(*first)),
        cloud(0.002, place + turned @ lens, (1e-7, 2e-7, 2.5e-7), turned),
        *[(np.array([0.0008]), np.array([[x, y, 0.021]])) for x in (0.031, -0.031) for y in (0.031, -0.031)],
    ]
    masses, points = (np.concatenate(items) for items in zip(*clouds, strict=True))
    centre = masses @ points / masses.sum()
    arms = points - centre
    products = np.einsum("n,ni,nj->ij", masses, arms, arms)
    inertia = np.trace(products) * np.eye(3) - products
    np.testing.assert_allclose(got.mass[0], masses.sum(), rtol=1e-6)
    np.testing.assert_allclose(got.inertia[0], inertia, rtol=1e-5, atol=1e-11)
    np.testing.assert_allclose(got.rotor_pos_b[0, 0], np.array([0.031, -0.031, 0.021]) - centre, rtol=1e-5)


def test_rotors_on_arms_that_are_fixed_links_give_the_vehicle_with_the_arms_mass(nominal, stage, save):
    joints = revolute_joints(stage)
    for index, joint in enumerate(joints):
        arm = f"/crazyflie/arm{index}"
        weigh(frame(stage, arm, turn=(0, 0, 90 * index)).GetPrim(), 0.001)
        fix(stage, BODY, arm)
        in_frame(stage, joint, arm)
    np.testing.assert_allclose(load_quad(save(stage)).mass, nominal.mass + 0.004, rtol=1e-6)


def test_a_massless_base_that_carries_the_rotors_gives_the_axes_and_its_link_the_mass(stage, save):
    body = stage.GetPrimAtPath(BODY)
    inertia = UsdPhysics.MassAPI(body).GetDiagonalInertiaAttr().Get()
    body.RemoveProperty("physics:mass")
    body.RemoveProperty("physics:diagonalInertia")
    # A quarter turn about z exchanges the moments about x and y.
    weigh(frame(stage, "/crazyflie/shell", turn=(0, 0, 90)).GetPrim(), 0.025, (inertia[1], inertia[0], inertia[2]))
    fix(stage, BODY, "/crazyflie/shell")
    assert_same_vehicle(load_quad(save(stage)), load_quad(), rtol=1e-5)


def test_a_link_fixed_to_a_propeller_counts_as_part_of_the_vehicle(nominal, stage, save):
    weigh(frame(stage, "/crazyflie/spinner", move=(0.031, -0.031, 0.021)).GetPrim(), 0.0005)
    fix(stage, "/crazyflie/m1_prop", "/crazyflie/spinner")
    np.testing.assert_allclose(load_quad(save(stage)).mass, nominal.mass + 0.0005, rtol=1e-6)


@pytest.mark.parametrize(
    ("pos", "rot", "found"),
    [
        ((0.02, 0, 0.005), Gf.Quatf(1), "are 5.0 mm and 0.0 degrees apart"),
        ((0.02, 0, 0), QUARTER, "are 0.0 mm and 90.0 degrees apart"),
    ],
)
def test_a_fixed_joint_that_would_move_its_link_is_refused(stage, save, pos, rot, found):
    weigh(frame(stage, "/crazyflie/camera", move=(0.02, 0, 0)).GetPrim(), 0.001)
    joint = fix(stage, BODY, "/crazyflie/camera")
    joint.GetLocalPos0Attr().Set(Gf.Vec3f(*pos))
    joint.GetLocalRot0Attr().Set(rot)
    with pytest.raises(UsdVehicleError, match=f"fixed joint /crazyflie/camera_fixed whose two frames {found}"):
        load_quad(save(stage))


def test_a_vehicle_fixed_to_the_world_is_refused(stage, save):
    fix(stage, None, BODY)
    with pytest.raises(UsdVehicleError, match="body_fixed that ties the vehicle to the world"):
        load_quad(save(stage))


def test_a_joint_on_a_prim_that_does_not_exist_is_refused(stage, save):
    revolute_joints(stage)[0].GetBody0Rel().SetTargets(["/crazyflie/bodi"])
    with pytest.raises(UsdVehicleError, match="joint /crazyflie/body/m1_joint on /crazyflie/bodi, which does not"):
        load_quad(save(stage))


@pytest.mark.parametrize("apply", ["mass", "body"])
def test_rotors_without_a_mass_are_massless_and_reported(stage, save, apply):
    for index in range(1, 5):
        prim = stage.GetPrimAtPath(f"/crazyflie/m{index}_prop")
        prim.RemoveProperty("physics:mass")
        if apply == "body":
            prim.RemoveAPI(UsdPhysics.MassAPI)
            prim.RemoveAPI(UsdPhysics.RigidBodyAPI)
    vehicle = read_vehicle(save(stage))
    np.testing.assert_allclose(vehicle.params.mass, 0.025, rtol=1e-6)
    np.testing.assert_allclose(vehicle.params.rotor_pos_b[0, 0], [0.031, -0.031, 0.021], rtol=1e-6)
    named = [text for text in vehicle.findings if "/crazyflie/m1_prop" in text and "count as massless" in text]
    assert len(named) == (apply == "mass")  # a plain frame is not expected to weigh


def test_a_negative_mass_is_refused_with_its_value(stage, save):
    UsdPhysics.MassAPI(stage.GetPrimAtPath("/crazyflie/m1_prop")).GetMassAttr().Set(-0.5)
    with pytest.raises(UsdVehicleError, match=r"m1_prop.physics:mass = -0.5 kg, not a positive number"):
        load_quad(save(stage))


def test_a_kinematic_body_is_read_and_warned_of(nominal, stage, save):
    body = UsdPhysics.RigidBodyAPI(stage.GetPrimAtPath(BODY))
    body.CreateKinematicEnabledAttr(True)
    vehicle = read_vehicle(save(stage))
    assert_same_vehicle(vehicle.params, nominal)
    assert vehicle.findings == [
        "physics:kinematicEnabled is true on /crazyflie/body, which an engine would not let fly"
    ]
