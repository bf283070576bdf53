"""A USD stage to change, and a place to save it."""

from __future__ import annotations

import pytest
from pxr import Usd

from foundation.sim.usd import CF2X_USD_PATH


@pytest.fixture
def stage() -> Usd.Stage:
    """The packaged Crazyflie in memory, to change and save."""
    stage = Usd.Stage.CreateInMemory()
    packaged = Usd.Stage.Open(CF2X_USD_PATH)  # a layer does not outlive its stage
    stage.GetRootLayer().TransferContent(packaged.GetRootLayer())
    return stage


@pytest.fixture(params=["usda", "usdc"])
def save(tmp_path, request):
    """Save a stage as text and as binary, and return the path."""

    def saved(stage: Usd.Stage) -> str:
        path = tmp_path / f"vehicle.{request.param}"
        stage.GetRootLayer().Export(str(path))
        return str(path)

    return saved
