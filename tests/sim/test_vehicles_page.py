"""The vehicle that docs/VEHICLES.md authors is the one that the page describes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from foundation.sim import UsdVehicle, describe_vehicle, read_vehicle
from foundation.tasks import load_task
from foundation.tasks.config import compose
from tests.test_docs import authored_vehicle

PAGE = (Path(__file__).parents[2] / "docs" / "VEHICLES.md").read_text()


@pytest.fixture
def vehicle(tmp_path, monkeypatch) -> UsdVehicle:
    """The page's vehicle, with the motors of the page's first command."""
    monkeypatch.chdir(tmp_path)
    exec(authored_vehicle(), {})
    command = PAGE[PAGE.index("foundation train") :].split("\n\n")[0].split("foundation train")[1]
    env_cfg, _ = compose(load_task("point_ctrl"), re.findall(r"env\.\S+", command))
    return read_vehicle(env_cfg.robot.spawn.usd_path, env_cfg.robot.motor)


def test_the_authored_vehicle_is_described_as_on_the_page_and_plausible(vehicle):
    assert f"\n{describe_vehicle(vehicle.params, 'quad250')}\n" in PAGE
    assert vehicle.findings == []


def test_the_authored_vehicle_has_the_mass_arm_and_inertia_of_its_parts(vehicle):
    arm = 0.110 / np.sqrt(2.0)
    height = 0.02 * 0.206 / 0.250  # of the rotors over the centre of mass
    below = 0.02 - height
    level = 4 * 0.011 * (arm**2 + height**2) + 0.206 * below**2 + 4e-6
    np.testing.assert_allclose(vehicle.params.mass, 0.250, rtol=1e-6)
    np.testing.assert_allclose(
        np.abs(vehicle.params.rotor_pos_b[0]), np.tile([arm, arm, height], (4, 1)), rtol=1e-6
    )
    moments = [1.8e-4 + level, 2.2e-4 + level, 3.4e-4 + 4 * 0.011 * 0.110**2 + 8e-6]
    np.testing.assert_allclose(vehicle.params.inertia[0], np.diag(moments), rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(vehicle.params.max_thrust, 4 * 2.45)
