"""Fixtures that several folders share."""

from __future__ import annotations

import os

# Small tensors gain nothing from threads, and two test processes would fight for two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("WANDB_MODE", "offline")

import numpy as np
import pytest
import torch

from foundation.sim.params import QuadParams
from foundation.sim.randomization import Cf2xFamilyCfg, sample_cf2x
from foundation.sim.reference import QuadState
from foundation.sim.usd import load_quad
from tests.browser import browser, open_page  # noqa: F401 (fixtures)


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


def random_vehicles(count: int, rng: np.random.Generator) -> QuadParams:
    return sample_cf2x(load_quad(), Cf2xFamilyCfg(), count, rng)


def random_state(count: int, rng: np.random.Generator) -> QuadState:
    quat = rng.normal(size=(count, 4))
    return QuadState(
        pos_w=rng.uniform(-1, 1, (count, 3)),
        quat_wb=quat / np.linalg.norm(quat, axis=-1, keepdims=True),
        vel_w=rng.uniform(-1, 1, (count, 3)),
        ang_vel_b=rng.uniform(-3, 3, (count, 3)),
        rotor=rng.uniform(0, 1, (count, 4)),
    )
