"""Random vehicles and states."""

from __future__ import annotations

import numpy as np

from foundation.sim.params import QuadParams
from foundation.sim.randomization import Cf2xFamilyCfg, sample_cf2x
from foundation.sim.reference import QuadState
from foundation.sim.usd import load_quad


def random_vehicles(count: int, rng: np.random.Generator) -> QuadParams:
    """Return ``count`` vehicles of family cf2x."""
    return sample_cf2x(load_quad(), Cf2xFamilyCfg(), count, rng)


def random_state(count: int, rng: np.random.Generator) -> QuadState:
    """Return ``count`` states in any attitude, within 1 m, 1 m/s and 3 rad/s per axis."""
    quat = rng.normal(size=(count, 4))
    return QuadState(
        pos_w=rng.uniform(-1, 1, (count, 3)),
        quat_wb=quat / np.linalg.norm(quat, axis=-1, keepdims=True),
        vel_w=rng.uniform(-1, 1, (count, 3)),
        ang_vel_b=rng.uniform(-3, 3, (count, 3)),
        rotor=rng.uniform(0, 1, (count, 4)),
    )
