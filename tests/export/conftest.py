"""Exports are checked with a C compiler; the controller of the Crazyflie is compiled once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from foundation.export.c_header import CHeader, Origin
from foundation.export.c_library import compile_c
from foundation.export.crazyflie import STAND_IN, Vehicle, write_crazyflie
from foundation.export.network import extract
from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg
from tests.export.firmware import ProbedController
from tests.export.models import policy


@pytest.fixture(autouse=True, scope="session")
def compiler() -> None:
    if shutil.which(os.environ.get("CC", "cc").split()[0]) is None:
        pytest.skip("no C compiler")


@pytest.fixture(scope="session")
def vehicle() -> Vehicle:
    cfg = PointCtrlEnvCfg(num_envs=1)
    return Vehicle.of(cfg, PointCtrlEnv(cfg).nominal)


@pytest.fixture(scope="session")
def library(tmp_path_factory, vehicle):
    folder = tmp_path_factory.mktemp("crazyflie")
    (folder / "app").mkdir()
    origin = Origin("run/model_9.pt", 100.0)
    write_crazyflie(CHeader(extract(policy("gru"))).text(origin), vehicle, origin, folder / "app")
    probes = Path(__file__).parent / "probes.c"
    return compile_c([probes], [folder / "app" / "src", STAND_IN], folder / "controller.so").path


@pytest.fixture
def controller(library, vehicle) -> ProbedController:
    made = ProbedController(library, vehicle.full_thrust)
    assert made.init()
    return made
