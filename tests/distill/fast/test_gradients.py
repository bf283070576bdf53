"""Gradients in closed form against autograd's."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.models import MLPModel, RNNModel
from tensordict import TensorDict

from foundation.distill.algorithm.losses import LOSSES, Actions, GaussianKl, MeanSquare
from foundation.distill.fast import closed_form
from foundation.distill.fast.gradients import GruBackprop, MlpBackprop, closed_form_gradients
from foundation.distill.history.rows import Windows
from foundation.distill.models import EncoderRnnModel
from foundation.distill.runners.dagger import DaggerRunner
from tests.support.toy import GAUSSIAN, RNN, ToyEnv, runner_cfg, teacher_checkpoint

NUM_ACTIONS, BATCH = 3, 40


def everything_counts(rewards, dones, extras):
    return torch.ones_like(dones, dtype=torch.bool)


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
    elements = LOSSES.find(kind)()(Actions(model(obs)), Actions(target))
    losses = (elements * (1.0 if weights is None else weights)).mean(-1)
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
    losses = MlpBackprop(model, LOSSES.find(kind), weights)(obs, {"teacher_actions": target})
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
    parametrized = model_and_batch("tanh")[0]
    torch.nn.utils.parametrizations.weight_norm(parametrized.mlp[0])
    others = (other_activation, frozen_layer, hooked, parametrized)
    assert closed_form_gradients(plain, MeanSquare, None) is not None
    assert [closed_form_gradients(model, MeanSquare, None) for model in others] == [None] * 4
    assert closed_form_gradients(plain, GaussianKl, None) is None


ROWS, WIDTH, HIDDEN = 6, 9, 5


def gru_and_windows(activation="elu", encoder=None):
    torch.manual_seed(2)
    obs = {"a": torch.randn(ROWS, 4, dtype=torch.float64), "b": torch.randn(ROWS, 2, dtype=torch.float64)}
    sizes = {"rnn_type": "gru", "rnn_hidden_dim": HIDDEN, "rnn_num_layers": 1}
    groups = {"student": ["a", "b"]}
    settings = {"hidden_dims": [8], "activation": activation, "obs_normalization": True, **sizes}
    if encoder is not None:
        settings |= encoder
    model_class = RNNModel if encoder is None else EncoderRnnModel
    model = model_class(obs, groups, "student", NUM_ACTIONS, distribution_cfg=dict(GAUSSIAN), **settings).double()
    model.obs_normalizer._mean.normal_()
    model.obs_normalizer._std.uniform_(0.1, 3.0)
    trained = torch.rand(ROWS, WIDTH) < 0.8
    trained[:, :2] = False
    batch = {
        "obs/a": torch.randn(ROWS, WIDTH, 4, dtype=torch.float64),
        "obs/b": torch.randn(ROWS, WIDTH, 2, dtype=torch.float64),
        "teacher_actions": 3.0 * torch.randn(ROWS, WIDTH, NUM_ACTIONS, dtype=torch.float64),
        "dones": torch.rand(ROWS, WIDTH) < 0.2,
        "trained": trained,
        "hidden/0": torch.randn(ROWS, 1, HIDDEN, dtype=torch.float64),
    }
    return model, TensorDict(batch, batch_size=[ROWS])


SKIPS = [
    {"encoder_dims": encoder, "hidden_dims": hidden, "skip_connection": True}
    for encoder, hidden in (([], []), ([6], []), ([], [8]))
]


@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.5]])
@pytest.mark.parametrize("kind", ["mse", "huber"])
@pytest.mark.parametrize(
    "encoder", [None, {"encoder_dims": [7, 4]}, {"encoder_dims": [6], "hidden_dims": []}, *SKIPS]
)
def test_losses_and_gradients_of_a_gru_are_autograds_through_windows_with_dones(encoder, kind, weights):
    model, batch = gru_and_windows(encoder=encoder)
    weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    hidden = (torch.zeros(ROWS, 1, HIDDEN),)
    windows = Windows(model, hidden, steps=20, length=WIDTH, burn_in=0)
    obs = TensorDict({"a": batch["obs/a"], "b": batch["obs/b"]}, batch_size=[ROWS])
    actions = windows.run(model, obs, batch)
    elements = LOSSES.find(kind)()(Actions(actions), Actions(batch["teacher_actions"]))
    losses = (elements * (1.0 if weights is None else weights)).mean(-1)
    ((losses * batch["trained"]).sum() / batch["trained"].sum()).backward()
    expected = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    got_losses = GruBackprop(model, LOSSES.find(kind), weights)(obs, batch)
    got = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    torch.testing.assert_close(got_losses, losses.detach(), rtol=1e-12, atol=1e-12)
    assert set(got) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(got[name], gradient, rtol=1e-10, atol=1e-13)
    assert min(gradient.abs().max() for gradient in expected.values()) > 1e-6
    assert batch["dones"][:, :-1].any()


GRU = {**RNN, "rnn_type": "gru"}


@pytest.mark.parametrize(
    ("student", "options"),
    [
        ({"activation": "tanh"}, {}),
        ({}, {"loss_type": "huber"}),
        ({}, {"action_weights": [1.0, 0.2]}),
        ({}, {"sampling": "loss"}),
        (GRU, {"gradient_length": 4}),
        (GRU, {"gradient_length": 4, "burn_in": 2, "sampling": "loss"}),
        (GRU, {"gradient_length": 5, "episode_filter": everything_counts}),
    ],
)
def test_training_without_autograd_gives_the_weights_of_training_with_it(student, options, tmp_path, monkeypatch):
    path = tmp_path / "teacher.pt"
    torch.save(teacher_checkpoint(), path)

    def train():
        torch.manual_seed(0)
        cfg = runner_cfg(student=student, teacher_checkpoint=str(path), phase1_iterations=0, **options)
        runner = DaggerRunner(ToyEnv(), cfg, None, "cpu")
        uses = runner.alg.imitation.find_closed_form() is not None
        runner.learn(3)
        return uses, runner.alg.student.state_dict()

    closed, got = train()
    monkeypatch.setattr(closed_form, "closed_form_gradients", lambda *_: None)
    autograds, expected = train()
    assert (closed, autograds) == (True, False)
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("student", "options"),
    [
        ({**RNN, "rnn_type": "lstm"}, {}),
        ({**GRU, "rnn_num_layers": 2}, {}),
        ({}, {"loss_type": "kl"}),
        ({}, {"latent_matching": {"student": "mlp.1", "teacher": "mlp.1", "weight": 0.1}}),
    ],
)
def test_other_students_and_losses_keep_autograd(student, options, tmp_path):
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")
    cfg = runner_cfg(student=student, teacher_checkpoint=str(tmp_path / "teacher.pt"), **options)
    assert DaggerRunner(ToyEnv(), cfg, None, "cpu").alg.imitation.find_closed_form() is None
