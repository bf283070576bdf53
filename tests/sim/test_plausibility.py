"""A vehicle is described in one line, and values that no vehicle has are named with their attribute."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
import pytest

from foundation.sim.params import MotorParams
from foundation.sim.plausibility import describe_vehicle, implausible_values
from foundation.sim.usd import UsdVehicleError, load_quad, read_vehicle
from tests.sim.test_usd import CF2X, write


def test_a_vehicle_in_one_line_has_its_quantities_with_units(nominal):
    # 28.2 g, arm 31 mm times the root of two, 4 * 0.18 N over 28.2 g * 9.81 m/s^2.
    assert describe_vehicle(nominal, "cf2x") == (
        "cf2x: mass 28.2 g, arm 43.84 mm, inertia 2.09e-05, 2.1e-05, 3.54e-05 kg m^2, thrust-to-weight 2.60"
    )


def test_unequal_arms_are_given_as_a_range(nominal):
    shifted = replace(nominal, rotor_pos_b=nominal.rotor_pos_b - [0.004, 0.0, 0.0])
    shortest, longest = (1000 * np.hypot(0.031 - 0.004 * sign, 0.031) for sign in (1, -1))
    assert f"arm {shortest:.4g} to {longest:.4g} mm" in describe_vehicle(shifted, "x")


def test_the_packaged_crazyflie_is_plausible():
    assert read_vehicle().findings == []


def scaled(nominal, factor):
    """Scale lengths, as metersPerUnit does: inertia goes with the square."""
    return replace(nominal, rotor_pos_b=factor * nominal.rotor_pos_b, inertia=factor**2 * nominal.inertia)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda v: scaled(v, 0.1), [r"arm 0.00438 m, below 0.005 m \(physics:localPos0 .*metersPerUnit\)"]),
        (lambda v: scaled(v, 0.12), []),
        (lambda v: scaled(v, 110.0), []),
        (lambda v: scaled(v, 120.0), [r"arm 5.26 m, above 5 m \(physics:localPos0 .*metersPerUnit\)"]),
        (lambda v: replace(v, inertia=2e1 * v.inertia), [r"inertia 0.000708 .*above 3 \(physics:diagonalInertia"]),
        (lambda v: replace(v, inertia=1e-3 * v.inertia), ["below 0.05", "below 0.05"]),
        (lambda v: replace(v, thrust_curve=v.thrust_curve * 1.04 / 2.603), [r"thrust-to-weight 1.04, below 1.05"]),
        (
            lambda v: replace(v, thrust_curve=v.thrust_curve * 8),
            [r"thrust-to-weight 20.8\d*, above 20 \("],
        ),
        (lambda v: replace(v, thrust_curve=v.thrust_curve * 7), []),
        (lambda v: replace(scaled(v, 0.01), thrust_curve=v.thrust_curve * 8), ["arm", "thrust-to-weight"]),
    ],
)
def test_implausible_values_are_named_with_their_limit_and_attribute(nominal, change, found):
    findings = implausible_values(change(nominal))
    assert len(findings) == len(found)
    for text, pattern in zip(findings, found, strict=True):
        assert re.search(pattern, text)


def test_a_file_in_unauthored_units_gets_one_warning_that_names_all(tmp_path, caplog):
    path = write(tmp_path, CF2X.replace("    metersPerUnit = 1\n", ""))
    # A unit counts as a centimetre, so that lengths are a hundredth and inertia a ten-thousandth.
    vehicle = read_vehicle(path)
    np.testing.assert_allclose(vehicle.params.rotor_pos_b, 0.01 * load_quad().rotor_pos_b, rtol=1e-6)
    with caplog.at_level(logging.WARNING, logger="foundation"):
        load_quad(path)
        load_quad(path)
    (record,) = [record for record in caplog.records if path in record.getMessage()]
    assert f"{path} is implausible: {'; '.join(vehicle.findings)}" in record.getMessage()
    for name in ("metersPerUnit is not authored", "arm 0.000438 m"):
        assert name in record.getMessage()


def test_units_authored_as_metres_are_not_warned_of():
    assert "metersPerUnit = 1" in CF2X
    assert not any("metersPerUnit is not authored" in text for text in read_vehicle().findings)


def test_an_absurd_thrust_to_weight_is_refused(tmp_path):
    path = write(tmp_path, CF2X.replace("kilogramsPerUnit = 1", "kilogramsPerUnit = 0.0001"))
    with pytest.raises(UsdVehicleError, match=r"thrust-to-weight 2.603e\+04 is above 100.*kilogramsPerUnit"):
        load_quad(path)


@pytest.mark.parametrize("spin", [(1, -1), (1, 1, 1, 0), (1, -1, 1, -1, 1)])
def test_a_spin_that_is_not_four_signs_is_refused(spin):
    with pytest.raises(ValueError, match=r"MotorParams.spin must be four of 1 and -1"):
        MotorParams(spin=spin)
