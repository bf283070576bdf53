"""Vehicles read from USD, against composition by hand and against the same vehicle in other units."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from foundation.sim.params import MotorParams
from foundation.sim.usd import CF2X_USD_PATH, UsdVehicleError, load_quad, read_vehicle

CF2X = Path(CF2X_USD_PATH).read_text()


def write(tmp_path: Path, text: str, name: str = "vehicle.usda") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def scale_vectors(text: str, pattern: str, factor: float) -> str:
    """Scale every vector that follows ``pattern``."""

    def scaled(match: re.Match) -> str:
        numbers = (repr(float(x) * factor) for x in match[2].split(","))
        return f"{match[1]}({', '.join(numbers)})"

    return re.sub(rf"({pattern} = )\(([^)]*)\)", scaled, text)


def assert_same_vehicle(got, expected, rtol=1e-6):
    for name in ("mass", "inertia", "rotor_pos_b", "rotor_spin"):
        np.testing.assert_allclose(
            getattr(got, name), getattr(expected, name), rtol=rtol, atol=1e-12, err_msg=name
        )


def test_the_packaged_crazyflie_has_the_mass_properties_composed_by_hand(nominal):
    body, prop, z = 0.025, 0.0008, 0.021
    mass = body + 4 * prop
    centre = 4 * prop * z / mass
    corner = 4 * prop * (0.031**2 + (z - centre) ** 2)
    np.testing.assert_allclose(nominal.mass, mass, rtol=1e-6)
    np.testing.assert_allclose(
        np.diagonal(nominal.inertia[0]),
        [
            1.6572e-5 + body * centre**2 + corner,
            1.6656e-5 + body * centre**2 + corner,
            2.9262e-5 + 4 * prop * 2 * 0.031**2,
        ],
        rtol=1e-6,
    )
    a, h = 0.031, z - centre
    np.testing.assert_allclose(nominal.rotor_pos_b[0], [[a, -a, h], [-a, -a, h], [-a, a, h], [a, a, h]], rtol=1e-6)
    assert nominal.rotor_spin[0].tolist() == [1, -1, 1, -1]


def test_centimetres_and_grams_give_the_same_vehicle(nominal, tmp_path):
    text = CF2X.replace("metersPerUnit = 1", "metersPerUnit = 0.01")
    text = text.replace("kilogramsPerUnit = 1", "kilogramsPerUnit = 0.001")
    text = scale_vectors(text, "localPos0", 100)
    text = scale_vectors(text, "xformOp:translate", 100)
    text = scale_vectors(text, "diagonalInertia", 1000 * 100**2)
    text = re.sub(r"physics:mass = (\S+)", lambda m: f"physics:mass = {float(m[1]) * 1000!r}", text)
    assert_same_vehicle(load_quad(write(tmp_path, text)), nominal)


def test_units_that_the_numbers_do_not_follow_change_the_vehicle(nominal, tmp_path):
    text = CF2X.replace("kilogramsPerUnit = 1", "kilogramsPerUnit = 1.5")
    np.testing.assert_allclose(load_quad(write(tmp_path, text)).mass, 1.5 * nominal.mass, rtol=1e-6)


def test_a_y_up_file_gives_the_same_vehicle(nominal, tmp_path):
    def to_y_up(match: re.Match) -> str:
        x, y, z = (float(v) for v in match[2].split(","))
        return f"{match[1]}({x!r}, {z!r}, {-y!r})"

    text = CF2X.replace('upAxis = "Z"', 'upAxis = "Y"').replace('physics:axis = "Z"', 'physics:axis = "Y"')
    text = re.sub(r"((?:localPos0|xformOp:translate) = )\(([^)]*)\)", to_y_up, text)
    text = re.sub(r"(diagonalInertia = )\(([^)]*)\)", r"\1(1.6572e-05, 2.9262e-05, 1.6656e-05)", text)
    assert_same_vehicle(load_quad(write(tmp_path, text)), nominal)
    unauthored = read_vehicle(write(tmp_path, text.replace('    upAxis = "Y"\n', ""), "unauthored.usda"))
    assert_same_vehicle(unauthored.params, nominal)
    assert unauthored.findings == ["upAxis is not authored, so that Y is up"]


def test_a_scaled_root_scales_positions(nominal, tmp_path):
    root = 'prepend apiSchemas = ["PhysicsArticulationRootAPI"]\n)\n{'
    scale = '\n    float3 xformOp:scale = (2, 2, 2)\n    uniform token[] xformOpOrder = ["xformOp:scale"]'
    scaled = load_quad(write(tmp_path, CF2X.replace(root, root + scale)))
    np.testing.assert_allclose(scaled.rotor_pos_b, 2 * nominal.rotor_pos_b, rtol=1e-6)


def test_a_turned_and_moved_root_changes_nothing(nominal, tmp_path):
    root = 'prepend apiSchemas = ["PhysicsArticulationRootAPI"]\n)\n{'
    moved = (
        "\n    double3 xformOp:translate = (3, -2, 1)\n    float xformOp:rotateZ = 30\n"
        '    uniform token[] xformOpOrder = ["xformOp:translate", "xformOp:rotateZ"]'
    )
    assert_same_vehicle(load_quad(write(tmp_path, CF2X.replace(root, root + moved))), nominal)


def test_an_authored_centre_of_mass_is_used_instead_of_the_sentinel(nominal, tmp_path):
    text = CF2X.replace(
        "float physics:mass = 0.025\n",
        "float physics:mass = 0.025\n        point3f physics:centerOfMass = (0.01, 0, 0)\n",
    )
    shifted = load_quad(write(tmp_path, text))
    np.testing.assert_allclose(
        shifted.rotor_pos_b[0, :, 0], nominal.rotor_pos_b[0, :, 0] - 0.01 * 0.025 / 0.0282, rtol=1e-6
    )


def test_principal_axes_turn_the_inertia(tmp_path):
    half = np.sqrt(0.5)
    text = CF2X.replace(
        "float physics:mass = 0.025\n",
        f"float physics:mass = 0.025\n        quatf physics:principalAxes = ({half}, {half}, 0, 0)\n",
    )
    turned = load_quad(write(tmp_path, text)).inertia[0]
    plain = load_quad().inertia[0]
    # A quarter turn about x exchanges the body's y and z moments.
    np.testing.assert_allclose(turned[1, 1] - plain[1, 1], 2.9262e-5 - 1.6656e-5, rtol=1e-5)
    np.testing.assert_allclose(turned[2, 2] - plain[2, 2], 1.6656e-5 - 2.9262e-5, rtol=1e-5)


def test_joints_listed_in_another_order_give_the_same_rotors(nominal, tmp_path):
    text = CF2X.replace("m1_joint", "mx_joint").replace("m3_joint", "m1_joint").replace("mx_joint", "m3_joint")
    assert_same_vehicle(load_quad(write(tmp_path, text)), nominal)


def test_without_drives_the_configured_spin_is_used(tmp_path):
    text = re.sub(r"float drive:angular:physics:targetVelocity = \S+", "", CF2X)
    motor = MotorParams(spin=(-1, 1, -1, 1))
    assert load_quad(write(tmp_path, text), motor).rotor_spin[0].tolist() == [-1, 1, -1, 1]


def test_reversed_drives_reverse_their_rotors(tmp_path):
    text = re.sub(r"targetVelocity = (-?)1", lambda m: f"targetVelocity = {'' if m[1] else '-'}1", CF2X)
    assert load_quad(write(tmp_path, text)).rotor_spin[0].tolist() == [-1, 1, -1, 1]


@pytest.mark.parametrize(
    ("edit", "found"),
    [
        (lambda t: t.replace('"PhysicsRigidBodyAPI", ', ""), "no rigid body"),
        (
            lambda t: t.replace('def PhysicsRevoluteJoint "m4', 'def PhysicsFixedJoint "m4'),
            "3 enabled revolute joints",
        ),
        (
            lambda t: t.replace("float physics:mass = 0.025", "", 1),
            "no authored physics:mass on /crazyflie/body",
        ),
        (lambda t: re.sub(r"float3 physics:diagonalInertia.*", "", t), "no authored physics:diagonalInertia"),
        (lambda t: t.replace('axis = "Z"', 'axis = "X"', 1), "is not vertical (up is Z)"),
        (
            lambda t: t.replace("localPos0 = (0.031, -0.031", "localPos0 = (-0.031, -0.031"),
            "not one in each quadrant",
        ),
        (lambda t: t.replace("physics:mass = 0.025", "physics:mass = 0.25"), "cannot fly"),
        (
            lambda t: t.replace(
                'def Xform "m1_prop"',
                'def Xform "camera" (apiSchemas = ["PhysicsRigidBodyAPI"]) {}\n\n    def Xform "m1_prop"',
            ),
            "besides body and propellers (/crazyflie/camera)",
        ),
        (lambda t: t.replace("</crazyflie/m2_prop>", "</crazyflie/m1_prop>"), "not four distinct propellers"),
        (lambda t: "not usd at all", "a file that USD cannot open"),
        (lambda t: "", "an empty file"),
        (
            lambda t: "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n",
            "a pointer of Git LFS instead of the file itself; run git lfs pull",
        ),
        (
            lambda t: t.replace('    upAxis = "Z"\n', ""),
            "axis [0.0, -1.0, 0.0] is not vertical (up is Y, as upAxis is not authored)",
        ),
        (lambda t: t.replace("mass = 0.025", "mass = nan"), "body.physics:mass = nan, not a finite number"),
        (
            lambda t: t.replace("mass = 0.025", "mass = 0.025\n point3f physics:centerOfMass = (nan, 0, 0)"),
            "centerOfMass = (nan, 0, 0), not 3 finite numbers",
        ),
        (
            lambda t: t.replace("mass = 0.025", "mass = 0.025\n quatf physics:principalAxes = (nan, 0, 0, 1)"),
            "not a quaternion",
        ),
        (lambda t: t.replace("metersPerUnit = 1", "metersPerUnit = </x>"), "what USD cannot read"),
        # Bytes that are not UTF-8: USD keeps them, and Python fails to read the text.
        (lambda t: t.replace('upAxis = "Z"', r'upAxis = "\xff"'), "text that is not UTF-8"),
        (lambda t: t.replace('axis = "Z"', r'axis = "\xc3\x28"', 1), "about the axis None, not X, Y or Z"),
        (
            lambda t: t.replace("metersPerUnit = 1", r"metersPerUnit = 1 subLayers = [@\xff.usda@]"),
            "a file that USD cannot open",
        ),
        (lambda t: t.replace("metersPerUnit = 1", "metersPerUnit = -1"), "metersPerUnit = -1.0, not a positive"),
        (lambda t: t.replace("metersPerUnit = 1", "metersPerUnit = 1e308"), "cannot fly"),
        (lambda t: t.replace('axis = "Z"', 'axis = "XY"', 1), "about the axis XY, not X, Y or Z"),
        (lambda t: t.replace('token physics:axis = "Z"', "asset physics:axis = @Z@", 1), "not X, Y or Z"),
        (lambda t: t.replace("targetVelocity = 1", "targetVelocity = inf", 1), "not a finite number"),
        (lambda t: t.replace("body1 = </crazyflie/m1_prop>", "body1 = </crazyflie/body>"), "without a propeller"),
        (lambda t: t.replace("translate = (0.031,", "translate = (inf,", 1), "m1_prop"),
    ],
)
def test_a_file_that_is_no_quadrotor_is_refused_with_path_finding_and_expectation(tmp_path, edit, found):
    path = write(tmp_path, edit(CF2X))
    with pytest.raises(UsdVehicleError) as caught:
        load_quad(path)
    message = str(caught.value)
    assert path in message
    assert found in message
    expectation = "change env.robot.motor" if found == "cannot fly" else "expected a readable USD file"
    assert expectation in message
    assert "\n" not in message


def test_a_missing_file_is_refused():
    with pytest.raises(UsdVehicleError, match=r"usd_path=/nowhere/x\.usd: found no such file; expected"):
        load_quad("/nowhere/x.usd")
