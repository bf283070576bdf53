"""Fixtures that several folders share."""

from __future__ import annotations

import os

# Small tensors gain nothing from threads, and those of one process per core would compete for the cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import numpy as np
import pytest
import torch

from foundation.sim.params import QuadParams
from foundation.sim.usd import load_quad
from tests.browser import browser, open_page  # noqa: F401 (fixtures)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give marked tests ten times the time limit."""
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("faults"):
            item.add_marker(pytest.mark.timeout(10 * float(item.config.getini("timeout"))))


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture(scope="session")
def nominal() -> QuadParams:
    return load_quad()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
