"""The float64 network computes what rsl_rl's model does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from foundation.export.errors import ExportError
from foundation.export.network import extract
from tests.export.float64 import initial_state, step
from tests.export.models import KINDS, observations, policy

ACTIVATIONS = (
    "elu",
    "selu",
    "relu",
    "crelu",
    "lrelu",
    "tanh",
    "sigmoid",
    "softplus",
    "gelu",
    "swish",
    "mish",
    "identity",
)


def difference(model, steps: int = 5) -> float:
    network, worst = extract(model), 0.0
    state = initial_state(network, 4)
    model.reset()
    with torch.inference_mode():
        for number in range(steps):
            obs = observations(seed=number)
            actions, state = step(network, obs["student"].numpy(), state)
            worst = max(worst, np.abs(actions - model(obs).numpy()).max())
    return worst


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_computes_the_actions_of_the_model_in_every_step(kind, activation):
    # float32 sums of at most 22 terms of order one: some 22 half units in the last place.
    assert difference(policy(kind, activation)) < 5e-6


def test_actions_of_a_model_whose_noise_depends_on_the_observation_are_its_means():
    noise = {"class_name": "HeteroscedasticGaussianDistribution", "init_std": 0.1, "std_type": "log"}
    assert difference(policy("mlp", distribution_cfg=noise)) < 5e-6


def test_the_count_of_weights_is_that_of_the_model_and_its_normaliser():
    for kind in KINDS:
        model = policy(kind)
        weights = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("distribution"))
        assert extract(model).num_weights == weights + 2 * 22 * model.obs_normalization


def test_multiplications_are_those_of_the_matrices_the_gates_and_the_normaliser():
    assert extract(policy("mlp")).num_multiplies == 22 + 22 * 12 + 12 * 8 + 8 * 4
    gru = 3 * 6 * (22 + 6) + 3 * 6 * (6 + 6) + 2 * 3 * 6
    assert extract(policy("gru")).num_multiplies == 22 + gru + 6 * 12 + 12 * 8 + 8 * 4


def test_a_policy_with_weights_that_are_not_finite_is_refused():
    model = policy()
    model.mlp[0].weight.data[0, 0] = float("nan")
    with pytest.raises(ExportError, match="not finite"):
        extract(model)


def test_a_distribution_without_a_form_in_c_is_named():
    with pytest.raises(ExportError, match="BetaDistribution cannot be written as C"):
        extract(policy(distribution_cfg={"class_name": "BetaDistribution"}))
