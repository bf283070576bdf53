"""The families of quadrotors against the ranges they state."""

from __future__ import annotations

import numpy as np
import pytest

from foundation.sim.params import GRAVITY
from foundation.sim.randomization import (
    Cf2xFamilyCfg,
    FoundationFamilyCfg,
    RaptorFamilyCfg,
    sample_cf2x,
    sample_foundation,
    sample_none,
    sample_raptor,
)
from foundation.sim.vehicles import crazyflie

COUNT = 20_000


def assert_uniform(values, low, high):
    """Assert range, and mean within four standard errors of a uniform distribution's."""
    assert values.min() >= low
    assert values.max() <= high
    error = (high - low) / np.sqrt(12 * len(values))
    assert abs(values.mean() - (low + high) / 2) < 4 * error
    # A constant or a two-point distribution has another variance.
    assert values.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.05)


def test_family_none_is_the_nominal_vehicle_without_force(nominal):
    only = sample_none(nominal)
    assert len(only) == 1
    assert only.mass == nominal.mass
    assert only.force_std == 0.0


def test_family_cf2x_scales_each_parameter_uniformly_and_independently(nominal, rng):
    cfg = Cf2xFamilyCfg()
    family = sample_cf2x(nominal, cfg, COUNT, rng)
    factors = np.stack(
        [
            family.mass / nominal.mass,
            family.inertia[:, 1, 1] / nominal.inertia[:, 1, 1],
            family.thrust_curve[:, 2] / nominal.thrust_curve[:, 2],
            family.tau_up / nominal.tau_up,
            family.tau_down / nominal.tau_down,
        ]
    )
    for values, half in zip(factors, (0.2, 0.2, 0.15, 0.3, 0.3), strict=True):
        assert_uniform(values, 1 - half, 1 + half)
    correlation = np.corrcoef(factors) - np.eye(5)
    assert np.abs(correlation).max() < 4 / np.sqrt(COUNT)
    np.testing.assert_allclose(family.force_std, 0.05 * family.mass * GRAVITY)


def test_family_foundation_has_the_stated_ranges(nominal, rng):
    cfg = FoundationFamilyCfg()
    family = sample_foundation(nominal, cfg, COUNT, rng)
    assert_uniform(np.cbrt(family.mass), np.cbrt(0.02), np.cbrt(5.0))
    assert_uniform(family.thrust_to_weight, 1.5, 5.0)
    left = np.maximum(family.rotor_pos_b[..., 1], 0).sum(-1)
    assert_uniform(left * family.max_thrust / 4 / family.inertia[:, 0, 0], 40.0, 1200.0)
    assert_uniform(family.torque_constant, 0.005, 0.05)
    assert_uniform(family.tau_up, 0.03, 0.10)
    assert_uniform(family.tau_down, 0.03, 0.30)
    assert_uniform(family.force_std / (family.mass * GRAVITY), 0.0, 0.2)


def test_the_same_generator_state_gives_the_same_vehicles(nominal):
    first = sample_cf2x(nominal, Cf2xFamilyCfg(), 10, np.random.default_rng(3))
    second = sample_cf2x(nominal, Cf2xFamilyCfg(), 10, np.random.default_rng(3))
    other = sample_cf2x(nominal, Cf2xFamilyCfg(), 10, np.random.default_rng(4))
    assert (first.mass == second.mass).all()
    assert (first.mass != other.mass).all()


def test_vehicles_too_weak_are_drawn_again_and_nothing_else_changes(nominal, rng):
    ratio = nominal.thrust_to_weight[0]
    family = sample_cf2x(nominal, Cf2xFamilyCfg(mass=0.5, thrust=0.5, min_thrust_to_weight=1.5), COUNT, rng)
    assert family.thrust_to_weight.min() >= 1.5
    # The oracle: rejection in one go. Two means of COUNT draws differ by less than four standard errors.
    factors = np.random.default_rng(1).uniform(0.5, 1.5, (2, 4 * COUNT))
    kept = (ratio * factors[1] / factors[0])[ratio * factors[1] / factors[0] >= 1.5]
    assert len(kept) < 4 * COUNT
    error = kept.std() * np.sqrt(1 / COUNT + 1 / len(kept))
    assert abs(family.thrust_to_weight.mean() - kept.mean()) < 4 * error
    strong = sample_cf2x(nominal, Cf2xFamilyCfg(), 10, np.random.default_rng(3))
    bounded = sample_cf2x(nominal, Cf2xFamilyCfg(min_thrust_to_weight=1.1), 10, np.random.default_rng(3))
    assert (strong.mass == bounded.mass).all()


def test_a_nominal_vehicle_too_weak_for_its_family_is_refused(nominal, rng):
    with pytest.raises(
        ValueError, match=r"has thrust-to-weight 2\.\d+, family cf2x asks for more than 3\.0; take"
    ):
        sample_cf2x(nominal, Cf2xFamilyCfg(min_thrust_to_weight=3.0), 10, rng)
    with pytest.raises(ValueError, match=r"min_thrust_to_weight must be above 1, .* got 0\.9"):
        Cf2xFamilyCfg(min_thrust_to_weight=0.9)


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_a_half_width_outside_zero_to_one_is_refused(value):
    with pytest.raises(ValueError, match=rf"Cf2xFamilyCfg.tau must lie in \[0, 1\), got {value}"):
        Cf2xFamilyCfg(tau=value)


def test_a_range_that_is_not_ordered_is_refused():
    with pytest.raises(ValueError, match=r"mass must be an ordered range, got \(5.0, 0.02\)"):
        FoundationFamilyCfg(mass=(5.0, 0.02))


def test_family_raptor_has_the_published_ranges_and_quirks(rng):
    family, base = sample_raptor(RaptorFamilyCfg(), COUNT, rng), crazyflie()
    assert_uniform(np.cbrt(family.mass), np.cbrt(0.02), np.cbrt(5.0))
    assert_uniform(family.thrust_to_weight, 1.5, 5.0)
    assert_uniform(family.torque_constant, 0.005, 0.05)
    assert_uniform(family.tau_up, 0.03, 0.10)
    assert_uniform(family.tau_down, 0.03, 0.30)
    arm = family.rotor_pos_b[:, 0, 0] / (base.rotor_pos_b[0, 0, 0] * np.cbrt(family.mass / base.mass))
    deviation = np.where(arm < 1.0, 1.0 - 1.0 / arm, arm - 1.0)
    assert deviation.mean() == pytest.approx(-0.1, abs=4 * 0.1 / np.sqrt(COUNT))
    assert deviation.std() == pytest.approx(0.1, rel=0.03)
    # The ratio of torque to inertia is drawn for the nominal arm, then divided by the arm's factor.
    nominal_arm = 0.028 * np.sqrt(2.0) * family.max_thrust / 4.0
    drawn = nominal_arm / family.inertia[:, 0, 0] * family.rotor_pos_b[:, 0, 0] / 0.028
    assert_uniform(drawn, 40.0, 1200.0)
    np.testing.assert_allclose(family.inertia[:, 2, 2] / family.inertia[:, 0, 0], 1.74595 / 0.941656, rtol=1e-4)


def test_the_force_of_family_raptor_grows_with_thrust_to_weight_and_lacks_gravity(rng):
    family = sample_raptor(RaptorFamilyCfg(), COUNT, rng)
    ratio, share = family.thrust_to_weight, family.force_std / (family.mass * GRAVITY)
    assert_uniform(share / ((ratio - 1.0) * 0.3 * ratio / 3.0 / GRAVITY), 0.0, 1.0)
    assert share[ratio > 4.99].max() == pytest.approx(0.2, rel=0.05)
    assert share[ratio < 1.51].max() == pytest.approx(0.008, rel=0.1)
    assert sample_raptor(RaptorFamilyCfg(force=0.0), 10, rng).force_std.max() == 0.0


@pytest.mark.parametrize("force", [-0.1, 1.1, float("nan")])
def test_forces_that_family_raptor_cannot_have_are_refused(force):
    with pytest.raises(ValueError, match=r"RaptorFamilyCfg\.force must lie in \[0, 1\]"):
        RaptorFamilyCfg(force=force)
