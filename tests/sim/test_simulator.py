"""The Warp kernels against the float64 reference."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
import torch

from foundation.sim import reference
from foundation.sim.reference import QuadState
from foundation.sim.simulator import Simulator
from tests.support.vehicles import random_state, random_vehicles

COUNT = 256
STATE = [field.name for field in fields(QuadState)]


def make(params, state: QuadState, force_w: np.ndarray, device: str, **kwargs) -> Simulator:
    sim = Simulator(params, len(params), device, **kwargs)
    for name in STATE:
        getattr(sim, name).copy_(torch.as_tensor(getattr(state, name)))
    sim.force_w.copy_(torch.as_tensor(force_w))
    return sim


def case(rng):
    force_w = rng.normal(scale=0.02, size=(COUNT, 3))
    commands = rng.uniform(-0.1, 1.1, (100, COUNT, 4))
    return random_vehicles(COUNT, rng), random_state(COUNT, rng), force_w, commands


@pytest.mark.parametrize("substeps", [1, 3])
def test_one_second_of_flight_stays_within_float32_rounding_of_the_reference(rng, device, substeps):
    params, state, force_w, commands = case(rng)
    sim = make(params, state, force_w, device, substeps=substeps)
    for command in commands:
        sim.step(torch.as_tensor(command))
        state = reference.step(state, command, params, force_w, substeps=substeps)
    # Single precision loses 6e-8 of the largest value (45 rad/s, 10 m/s) a step; 100 steps and a factor
    # of ten for the growth of a disturbance along a tumbling trajectory give these.
    tolerance = {"pos_w": 5e-5, "quat_wb": 5e-5, "vel_w": 5e-5, "ang_vel_b": 3e-3, "rotor": 1e-5}
    for name in STATE:
        got = getattr(sim, name).cpu().numpy()
        np.testing.assert_allclose(got, getattr(state, name), atol=tolerance[name], rtol=0, err_msg=name)


def test_the_comparison_with_the_reference_notices_one_percent_of_mass(rng):
    params, state, force_w, commands = case(rng)
    sim = make(params, state, force_w, "cpu")
    heavier = type(params)(
        **{f.name: getattr(params, f.name) for f in fields(params)} | {"mass": 1.01 * params.mass}
    )
    for command in commands:
        sim.step(torch.as_tensor(command))
        state = reference.step(state, command, heavier, force_w)
    assert np.abs(sim.pos_w.numpy() - state.pos_w).max() > 1e-2


def test_permuting_vehicles_permutes_their_flights_bit_for_bit(rng, device):
    params, state, force_w, commands = case(rng)
    order = rng.permutation(COUNT)
    permuted_state = QuadState(**{name: getattr(state, name)[order] for name in STATE})
    sim = make(params, state, force_w, device)
    permuted = make(params[order], permuted_state, force_w[order], device)
    for command in commands[:20]:
        sim.step(torch.as_tensor(command))
        permuted.step(torch.as_tensor(command[order]))
    for name in STATE:
        assert torch.equal(getattr(sim, name)[order], getattr(permuted, name)), name


def test_torch_writes_are_seen_by_the_kernels_without_a_copy(nominal):
    sim = Simulator(nominal, 3)
    sim.pos_w[1, 2] = 7.0
    sim.rotor[:] = float(nominal.hover_speed[0])
    sim.step(sim.rotor)
    assert sim.pos_w[1, 2].item() == pytest.approx(7.0, abs=1e-6)
    assert sim.pos_w[0, 2].item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(("name", "value"), [("num_envs", 0), ("dt", 0.0), ("substeps", 0)])
def test_a_value_that_is_not_positive_is_refused_by_name(nominal, name, value):
    kwargs = {"num_envs": 1, name: value}
    with pytest.raises(ValueError, match=rf"{name} must be positive, got {value}"):
        Simulator(nominal, **kwargs)
