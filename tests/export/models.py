"""Small policies of rsl_rl for the tests of the exports."""

from __future__ import annotations

import torch
from rsl_rl.models import MLPModel, RNNModel
from tensordict import TensorDict

from foundation.distill import EncoderRnnModel

GROUPS = {"student": ["student"]}
KINDS = ("mlp", "gru", "lstm", "encoder", "skip_gru", "skip_lstm", "skip_alone")


class OwnModel(MLPModel):
    """A network that the formats in C do not know, as a user's own is."""


def observations(count: int = 4, size: int = 22, seed: int = 0) -> TensorDict:
    generator = torch.Generator().manual_seed(seed)
    return TensorDict({"student": torch.randn(count, size, generator=generator)}, batch_size=count)


def policy(kind: str = "mlp", activation: str = "tanh", size: int = 22, seed: int = 0, **options) -> MLPModel:
    """Return a policy with a normaliser that has seen data; recurrent ones have two layers."""
    torch.manual_seed(seed)
    settings = {
        "hidden_dims": [12, 8],
        "activation": activation,
        "obs_normalization": True,
        "distribution_cfg": {"class_name": "GaussianDistribution", "init_std": 0.1, "std_type": "log"},
    } | options
    obs = observations(64, size)
    if kind == "mlp":
        model = MLPModel(obs, GROUPS, "student", 4, **settings)
    elif kind == "encoder":
        model = EncoderRnnModel(
            obs, GROUPS, "student", 4, **settings, encoder_dims=[7], rnn_hidden_dim=6, rnn_num_layers=2
        )
    elif kind == "skip_alone":
        settings |= {"encoder_dims": [], "hidden_dims": [], "obs_normalization": False, "skip_connection": True}
        model = EncoderRnnModel(obs, GROUPS, "student", 4, **settings, rnn_hidden_dim=6, rnn_num_layers=2)
    elif kind.startswith("skip"):
        sizes = {"encoder_dims": [7, 9, 5], "rnn_type": kind[5:], "rnn_hidden_dim": 6, "rnn_num_layers": 2}
        model = EncoderRnnModel(obs, GROUPS, "student", 4, **settings, **sizes, skip_connection=True)
    else:
        model = RNNModel(obs, GROUPS, "student", 4, **settings, rnn_type=kind, rnn_hidden_dim=6, rnn_num_layers=2)
    model.update_normalization(TensorDict({"student": 3.0 * obs["student"] + 1.0}, batch_size=64))
    return model.eval()
