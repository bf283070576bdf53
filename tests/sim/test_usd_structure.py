"""Vehicles as different authors structure them: child frames, instances, missing files, mirrored frames."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from pxr import Gf, Usd, UsdGeom

from foundation.sim.params import MotorParams
from foundation.sim.usd import CF2X_USD_PATH, UsdVehicleError, load_quad
from foundation.tasks import load_task
from foundation.tasks.config import compose
from tests.sim.test_usd import CF2X, assert_same_vehicle, write
from tests.support.usd import BODY, frame, in_frame, revolute_joints, save_again, weigh


@pytest.mark.parametrize(
    "pose",
    [
        {"move": (0.01, 0.02, -0.003)},
        {"turn": (0, 0, 90)},
        {"turn": (180, 0, 40)},
        {"scale": (0.5, 2, 3)},
        {"move": (0.01, -0.02, 0.003), "turn": (20, -70, 30), "scale": (2, 2, 2)},
    ],
    ids=["moved", "turned", "upside down", "scaled", "all"],
)
def test_joints_on_nested_child_frames_give_the_same_vehicle(nominal, stage, save, pose):
    frame(stage, f"{BODY}/mount", **pose)
    frame(stage, f"{BODY}/mount/inner", move=(0.004, 0, 0), turn=(0, 0, 15))
    for joint in revolute_joints(stage):
        in_frame(stage, joint, f"{BODY}/mount/inner")
    assert_same_vehicle(load_quad(save(stage)), nominal, rtol=1e-5)


def test_the_pose_of_a_child_frame_moves_the_rotors(nominal, stage, save):
    frame(stage, f"{BODY}/mount", move=(0, 0, 0.005))
    for joint in revolute_joints(stage):
        joint.GetBody0Rel().SetTargets([f"{BODY}/mount"])
    moved = load_quad(save(stage)).rotor_pos_b - nominal.rotor_pos_b
    np.testing.assert_allclose(moved[0], np.tile([0, 0, 0.005], (4, 1)), atol=1e-8)


def test_a_propeller_named_by_a_frame_below_its_body_is_that_body(nominal, stage, save):
    for index, joint in enumerate(revolute_joints(stage), start=1):
        frame(stage, f"/crazyflie/m{index}_prop/hub/axle")
        joint.GetBody1Rel().SetTargets([f"/crazyflie/m{index}_prop/hub/axle"])
    assert_same_vehicle(load_quad(save(stage)), nominal)


def test_rotors_that_are_frames_of_the_body_turn_the_body_against_themselves(nominal, stage, save):
    for index, joint in enumerate(revolute_joints(stage), start=1):
        hub = f"{BODY}/hub{index}"
        frame(stage, hub, move=joint.GetLocalPos0Attr().Get())
        stage.RemovePrim(f"/crazyflie/m{index}_prop")
        joint.GetBody1Rel().SetTargets([hub])
    vehicle = load_quad(save(stage))
    np.testing.assert_array_equal(vehicle.rotor_spin, nominal.rotor_spin)
    np.testing.assert_allclose(vehicle.mass, 0.025, rtol=1e-6)


def test_instanceable_propellers_and_bodies_give_the_same_vehicle(nominal, stage, save, tmp_path):
    parts = Usd.Stage.CreateNew(str(tmp_path / "parts.usda"))
    rotor = UsdGeom.Xform.Define(parts, "/rotor").GetPrim()
    weigh(UsdGeom.Xform.Define(parts, "/rotor/blades").GetPrim(), 0.0008)
    parts.SetDefaultPrim(rotor)
    parts.Save()
    for index, joint in enumerate(revolute_joints(stage), start=1):
        place = stage.GetPrimAtPath(f"/crazyflie/m{index}_prop").GetAttribute("xformOp:translate").Get()
        stage.RemovePrim(f"/crazyflie/m{index}_prop")
        prim = frame(stage, f"/crazyflie/m{index}_prop", move=place).GetPrim()
        prim.GetReferences().AddReference("./parts.usda")
        prim.SetInstanceable(True)
        joint.GetBody1Rel().SetTargets([f"/crazyflie/m{index}_prop/blades"])
    assert_same_vehicle(load_quad(save(stage)), nominal)


@pytest.mark.parametrize("arc", ["sublayer", "reference", "payload", "instance", "nested"])
def test_a_missing_file_is_named_whatever_refers_to_it(nominal, stage, save, tmp_path, arc):
    part = tmp_path / "part.usda"
    text = '#usda 1.0\n(\n    defaultPrim = "part"\n)\ndef Xform "part"\n{\n}\n'
    part.write_text(text)
    missing = "part.usda"
    prim = UsdGeom.Xform.Define(stage, "/crazyflie/body/part").GetPrim()
    if arc == "sublayer":
        stage.GetRootLayer().subLayerPaths.append("./part.usda")
    elif arc == "payload":
        prim.GetPayloads().AddPayload("./part.usda")
    else:
        prim.GetReferences().AddReference("./part.usda")
        prim.SetInstanceable(arc == "instance")
    if arc == "nested":
        inner = (
            '#usda 1.0\n(\n    defaultPrim = "part"\n)\ndef Xform "part" (\n    payload = @./mesh.usda@\n)\n{\n}\n'
        )
        part.write_text(inner)
        (tmp_path / "mesh.usda").write_text(text)
        part, missing = tmp_path / "mesh.usda", "mesh.usda"
    path = save(stage)
    assert_same_vehicle(load_quad(path), nominal)
    part.rename(tmp_path / "elsewhere.usda")
    reloaded = save_again(stage, path)
    for layer in ("part.usda", "mesh.usda"):
        forget(str(tmp_path / layer))
    with pytest.raises(UsdVehicleError, match=f"file is missing or cannot be opened .*{missing}") as caught:
        load_quad(reloaded)
    assert "\n" not in str(caught.value)


def forget(path: str) -> None:
    """Drop a file from what this process remembers to have read."""
    from pxr import Sdf

    if layer := Sdf.Layer.Find(path):
        layer.Reload(force=True)


@pytest.mark.parametrize("path", ["/crazyflie", BODY, "/crazyflie/m1_prop", f"{BODY}/mount"])
def test_a_mirrored_frame_is_refused_with_its_path(stage, save, path):
    xform = frame(stage, f"{BODY}/mount") if path.endswith("mount") else UsdGeom.Xform(stage.GetPrimAtPath(path))
    UsdGeom.XformCommonAPI(xform).SetScale(Gf.Vec3f(1, -1, 1)) or xform.AddScaleOp().Set(Gf.Vec3f(1, -1, 1))
    if path.endswith("mount"):
        revolute_joints(stage)[0].GetBody0Rel().SetTargets([path])
    with pytest.raises(UsdVehicleError, match=r"mirrored transform of /crazyflie\S* \(negative") as caught:
        load_quad(save(stage))
    assert "\n" not in str(caught.value)


def test_a_mirrored_mesh_changes_nothing(nominal, stage, save):
    frame(stage, "/crazyflie/m1_prop/blades", scale=(1, -1, 1))
    assert_same_vehicle(load_quad(save(stage)), nominal)


def test_a_spin_setting_that_contradicts_the_file_is_refused(tmp_path):
    with pytest.raises(
        UsdVehicleError, match=r"m1_joint turning \+1 and robot.motor.spin -1 .*set robot.motor.spin=null"
    ):
        load_quad(motor=MotorParams(spin=(-1, 1, -1, 1)))
    same = load_quad(motor=MotorParams(spin=(1, -1, 1, -1)))
    assert same.rotor_spin[0].tolist() == [1, -1, 1, -1]
    partly = re.sub(r"float drive:angular:physics:targetVelocity = 1\n", "\n", CF2X)
    with pytest.raises(UsdVehicleError, match="m2_joint turning -1"):
        load_quad(write(tmp_path, partly), MotorParams(spin=(-1, 1, -1, 1)))


def test_the_packaged_teachers_settings_leave_turning_directions_to_the_file(tmp_path):
    reversed_drives = re.sub(r"targetVelocity = (-?)1", lambda m: f"targetVelocity = {'' if m[1] else '-'}1", CF2X)
    params = Path(CF2X_USD_PATH).parents[2] / "tasks" / "point_ctrl" / "assets" / "teacher" / "params"
    overrides = [f"env.robot.spawn.usd_path={write(tmp_path, reversed_drives)}"]
    env_cfg, _ = compose(load_task("distillation"), overrides, params, ("env",))
    vehicle = load_quad(env_cfg.robot.spawn.usd_path, env_cfg.robot.motor)
    assert vehicle.rotor_spin[0].tolist() == [-1, 1, -1, 1]
