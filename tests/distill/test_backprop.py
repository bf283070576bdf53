"""Gradients in closed form against autograd's."""

from __future__ import annotations

import copy

import pytest
import torch
from rsl_rl.models import MLPModel

from foundation.distill.backprop import MlpBackprop
from foundation.distill.losses import elementwise
from foundation.distill.runner import DaggerRunner
from tests.distill.toy import GAUSSIAN, RNN, ToyEnv, runner_cfg, teacher_checkpoint

NUM_ACTIONS, BATCH = 3, 40


def model_and_batch(activation, normalization=True):
    torch.manual_seed(1)
    obs = {"a": torch.randn(BATCH, 4, dtype=torch.float64), "b": torch.randn(BATCH, 2, dtype=torch.float64)}
    groups = {"student": ["a", "b"]}
    model = MLPModel(
        obs, groups, "student", NUM_ACTIONS, [16, 8], activation, normalization, dict(GAUSSIAN)
    ).double()
    if normalization:
        model.obs_normalizer._mean.normal_()
        model.obs_normalizer._std.uniform_(0.1, 3.0)
    return model, obs, 3.0 * torch.randn(BATCH, NUM_ACTIONS, dtype=torch.float64)


def autograd(model, obs, target, kind, weights):
    """Return losses and gradients as torch computes them."""
    losses = (elementwise(kind)(model(obs), target) * (1.0 if weights is None else weights)).mean(-1)
    model.zero_grad()
    losses.mean().backward()
    return losses.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.5]])
@pytest.mark.parametrize("kind", ["mse", "huber"])
@pytest.mark.parametrize("activation", ["tanh", "elu", "relu"])
@pytest.mark.parametrize("normalization", [True, False])
def test_losses_and_gradients_are_autograds_to_double_rounding(activation, kind, weights, normalization):
    model, obs, target = model_and_batch(activation, normalization)
    weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    expected_losses, expected = autograd(model, obs, target, kind, weights)
    model.zero_grad()
    losses = MlpBackprop(model, kind, weights)(obs, target)
    got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    torch.testing.assert_close(losses, expected_losses, rtol=1e-12, atol=1e-12)
    assert set(got) == set(expected) == {name for name, _ in model.named_parameters() if name.startswith("mlp")}
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-11, atol=1e-13)
    assert min(gradient.abs().max() for gradient in expected.values()) > 1e-6


def test_what_has_other_gradients_is_left_to_autograd():
    plain = model_and_batch("tanh")[0]
    other_activation = model_and_batch("selu")[0]
    frozen_layer = model_and_batch("tanh")[0]
    frozen_layer.mlp[0].weight.requires_grad_(False)
    hooked = model_and_batch("tanh")[0]
    hooked.mlp[0].register_forward_hook(lambda *_: None)
    models = (plain, other_activation, frozen_layer, hooked)
    assert [MlpBackprop.supports(model, "mse") for model in models] == [True, False, False, False]
    assert not MlpBackprop.supports(plain, "kl")


@pytest.mark.parametrize(
    "options", [{}, {"loss_type": "huber"}, {"action_weights": [1.0, 0.2]}, {"sampling": "loss"}]
)
def test_training_without_autograd_gives_the_weights_of_training_with_it(options, tmp_path, monkeypatch):
    path = tmp_path / "teacher.pt"
    torch.save(teacher_checkpoint(), path)

    def train():
        torch.manual_seed(0)
        cfg = runner_cfg(
            student={"activation": "tanh"}, teacher_checkpoint=str(path), phase1_iterations=0, **options
        )
        runner = DaggerRunner(ToyEnv(), copy.deepcopy(cfg), None, "cpu")
        uses = runner.alg.aggregation.backprop() is not None
        runner.learn(3)
        return uses, runner.alg.student.state_dict()

    closed, got = train()
    monkeypatch.setattr(MlpBackprop, "supports", staticmethod(lambda model, kind: False))
    autograds, expected = train()
    assert (closed, autograds) == (True, False)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("student", "options"),
    [
        ({**RNN, "rnn_type": "gru"}, {}),
        ({}, {"loss_type": "kl"}),
        ({}, {"use_dagger": False, "gradient_length": 5}),
    ],
)
def test_recurrent_students_and_other_losses_keep_autograd(student, options, tmp_path):
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")
    cfg = runner_cfg(
        student=student, teacher_checkpoint=str(tmp_path / "teacher.pt"), phase1_iterations=0, **options
    )
    aggregation = DaggerRunner(ToyEnv(), cfg, None, "cpu").alg.aggregation
    assert aggregation is None or aggregation.backprop() is None
