"""Models beside rsl_rl's own: a recurrent one with an encoder or a skip connection, and an observed teacher."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import torch
from rsl_rl.models import MLPModel, RNNModel
from rsl_rl.modules import RNN
from rsl_rl.utils import resolve_nn_activation, unpad_trajectories
from tensordict import TensorDict
from torch import nn


class EncoderRnnModel(RNNModel):
    """rsl_rl's ``RNNModel`` with an encoder, dense layers before the memory, a skip connection, or both.

    A narrow encoder, as in RAPTOR's policy, makes a small network: 22 observations, encoder 16, GRU 16 and
    4 actions are 2068 weights. With a skip connection the layers behind the memory read the observations, too:
    what a linear controller does with them need not pass through the memory's gates.
    Reference: Eschmann, Albani and Loianno, "RAPTOR: A foundation policy for quadrotor control", arXiv 2509.11481.
    """

    def __init__(
        self,
        obs: TensorDict,
        obs_groups: dict[str, list[str]],
        obs_set: str,
        output_dim: int,
        hidden_dims: list[int] | tuple[int, ...] = (),
        activation: str = "relu",
        obs_normalization: bool = False,
        distribution_cfg: dict | None = None,
        rnn_type: str = "gru",
        rnn_hidden_dim: int = 16,
        rnn_num_layers: int = 1,
        encoder_dims: list[int] | tuple[int, ...] = (16,),
        skip_connection: bool = False,
    ) -> None:
        """Build the network; other arguments are those of rsl_rl's ``RNNModel``.

        Args:
            obs: Example observations.
            obs_groups: Names of the observation groups by set.
            obs_set: The set that the model reads.
            output_dim: Number of actions.
            hidden_dims: Widths of the dense layers behind the recurrent ones; empty is one linear layer.
            activation: Activation function of the dense layers, and behind the encoder's last one.
            obs_normalization: Whether to normalise observations.
            distribution_cfg: Action distribution.
            rnn_type: ``gru`` or ``lstm``.
            rnn_hidden_dim: Width of the hidden state.
            rnn_num_layers: Recurrent layers.
            encoder_dims: Widths of the dense layers before the recurrent ones; empty is no encoder.
            skip_connection: Whether the layers behind the recurrent ones also read the normalised observations.
        """
        self.skip_connection = skip_connection
        # rsl_rl's MLP has at least one hidden layer.
        super().__init__(
            obs, obs_groups, obs_set, output_dim, hidden_dims or (1,), activation, obs_normalization,
            distribution_cfg, rnn_type, rnn_hidden_dim, rnn_num_layers,
        )  # fmt: skip
        widths = [self.obs_dim, *encoder_dims]
        layers = [(nn.Linear(*pair), resolve_nn_activation(activation)) for pair in itertools.pairwise(widths)]
        self.encoder = nn.Sequential(*itertools.chain.from_iterable(layers))
        self.rnn = RNN(widths[-1], rnn_hidden_dim, rnn_num_layers, rnn_type)
        if not hidden_dims:
            self._drop_hidden_layer()

    def get_latent(
        self, obs: TensorDict, masks: torch.Tensor | None = None, hidden_state: Any = None
    ) -> torch.Tensor:
        """Return the memory's output for encoded observations; a skip connection appends the observations."""
        values = MLPModel.get_latent(self, obs)
        memory = self.rnn(self.encoder(values), masks, hidden_state).squeeze(0)
        if not self.skip_connection:
            return memory
        values = values if masks is None else unpad_trajectories(values, masks).squeeze(0)
        return torch.cat([memory, values], dim=-1)

    def as_jit(self) -> nn.Module:
        """Return a model that TorchScript can compile."""
        return self._with_ends(super().as_jit())

    def as_onnx(self, verbose: bool = False) -> nn.Module:
        """Return a model that can be exported to ONNX."""
        return self._with_ends(super().as_onnx(verbose))

    def _with_ends(self, exported: Any) -> nn.Module:
        kind = _ExportedLstm if isinstance(exported.rnn, nn.LSTM) else _ExportedGru
        exported.rnn = kind(copy.deepcopy(self.encoder), exported.rnn, self.skip_connection)
        return exported

    def _get_latent_dim(self) -> int:
        return self.latent_dim + (self.obs_dim if self.skip_connection else 0)

    def _drop_hidden_layer(self) -> None:
        _, _, last, *shaping = self.mlp
        self.mlp = nn.Sequential(nn.Linear(self._get_latent_dim(), last.out_features), *shaping)  # pyright: ignore
        if self.distribution is not None:
            self.distribution.init_mlp_weights(self.mlp)


class _ExportedGru(nn.Module):
    """The recurrent layers of an exported model, with the encoder before and the observations beside them."""

    def __init__(self, encoder: nn.Sequential, rnn: nn.GRU | nn.LSTM, skip_connection: bool) -> None:
        super().__init__()
        self.encoder, self.rnn, self.skip_connection = encoder, rnn, skip_connection

    def forward(self, values: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        memory, after = self.rnn(self.encoder(values), state)
        return torch.cat([memory, values], dim=-1) if self.skip_connection else memory, after


class _ExportedLstm(_ExportedGru):
    """The same for another type of state; TorchScript compiles each type by itself."""

    def forward(  # pyright: ignore
        self, values: torch.Tensor, state: tuple[torch.Tensor, torch.Tensor]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
        memory, after = self.rnn(self.encoder(values), state)
        return torch.cat([memory, values], dim=-1) if self.skip_connection else memory, after


class ObservedActions(nn.Module):
    """A teacher whose actions are an observation group, as an environment with an expert of its own gives them.

    Its one group has the width of the actions: ``obs_groups = {"teacher": ["expert"], ...}``. It needs no
    checkpoint and has no distribution: losses that need the teacher's standard deviation are refused.
    """

    needs_checkpoint = False
    is_recurrent = False
    obs_normalization = False
    distribution = None

    def __init__(
        self, obs: TensorDict, obs_groups: dict[str, list[str]], obs_set: str, output_dim: int, **unused: Any
    ) -> None:
        """Find the group.

        Args:
            obs: Example observations.
            obs_groups: Names of the observation groups by set.
            obs_set: The set that the teacher reads.
            output_dim: Number of actions A.
            **unused: Settings of networks, which a runner's configuration holds; without effect.

        Raises:
            ValueError: If the set is not one group of shape (N, A).
        """
        super().__init__()
        self.obs_groups = obs_groups[obs_set]
        widths = {group: tuple(obs[group].shape[1:]) for group in self.obs_groups}
        if list(widths.values()) != [(output_dim,)]:
            raise ValueError(
                f"ObservedActions reads one observation group of the {output_dim} actions, got "
                f"obs_groups[{obs_set!r}] = {widths}; name the group that holds the expert's actions"
            )

    def forward(self, obs: TensorDict, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the group, shape (N, A)."""
        return obs[self.obs_groups[0]]

    def reset(self, dones: torch.Tensor | None = None, hidden_state: Any = None) -> None:
        """Do nothing: there is no hidden state."""

    def get_hidden_state(self) -> None:
        """Return None: there is no hidden state."""
