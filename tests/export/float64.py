"""A policy's network in float64: the oracle of the exported C, itself compared with rsl_rl's model."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from foundation.export.network import Array, Dense, Network, RecurrentLayer

SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Constants of SELU (Klambauer et al. 2017, arXiv 1706.02515)."""


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


ACTIVATIONS: dict[str, Callable[[Array, float], Array]] = {
    "identity": lambda x, _: x,
    "relu": lambda x, _: np.maximum(x, 0.0),
    "leaky_relu": lambda x, slope: np.where(x > 0.0, x, slope * x),
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: sigmoid(x),
    "elu": lambda x, scale: np.where(x > 0.0, x, scale * np.expm1(np.minimum(x, 0.0))),
    "selu": lambda x, _: SELU_SCALE * np.where(x > 0.0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0.0))),
    "softplus": lambda x, _: softplus(x),
    "silu": lambda x, _: x * sigmoid(x),
    "mish": lambda x, _: x * np.tanh(softplus(x)),
    "gelu": lambda x, _: 0.5 * x * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0))),
}
"""The functions between two layers, called with the input and the slope or scale of negative inputs."""


def initial_state(network: Network, num_envs: int) -> Array:
    """Return zeros of shape (2, layers, N, H): hidden values, and cell values that only an LSTM uses."""
    return np.zeros((2, len(network.recurrent), num_envs, network.hidden_dim))


def step(network: Network, obs: Array, state: Array) -> tuple[Array, Array]:
    """Return actions (N, A) and the new state for observations (N, O) and the state of the last step."""
    x = np.asarray(obs, dtype=np.float64)
    if network.mean is not None and network.scale is not None:
        x = (x - network.mean) / network.scale
    normalised, new = x, state.copy()
    x = _dense(network.encoder, x)
    for index, layer in enumerate(network.recurrent):
        cell = gru if network.cell == "gru" else lstm
        new[:, index] = cell(layer, x, state[0, index], state[1, index])
        x = new[0, index]
    if network.skip_connection:
        x = np.concatenate([x, normalised], axis=-1)
    return _dense(network.dense, x), new


def _dense(layers: list[Dense], x: Array) -> Array:
    for layer in layers:
        activation = layer.activation
        x = ACTIVATIONS[activation.name](x @ layer.weight.T + layer.bias, activation.slope)
    return x


def gru(layer: RecurrentLayer, x: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
    """Cho et al. 2014, arXiv 1406.1078, with the reset gate behind the matrix, as cuDNN and PyTorch have it."""
    from_input = np.split(x @ layer.weight_input.T + layer.bias_input, 3, axis=-1)
    from_hidden = np.split(hidden @ layer.weight_hidden.T + layer.bias_hidden, 3, axis=-1)
    reset, update = (sigmoid(a + b) for a, b in zip(from_input[:2], from_hidden[:2], strict=True))
    new = np.tanh(from_input[2] + reset * from_hidden[2])
    return new + update * (hidden - new), cell


def lstm(layer: RecurrentLayer, x: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
    """Hochreiter and Schmidhuber 1997, with a forget gate (Gers et al. 2000)."""
    gates = x @ layer.weight_input.T + layer.bias_input + hidden @ layer.weight_hidden.T + layer.bias_hidden
    entry, forget, new, exit_ = np.split(gates, 4, axis=-1)
    cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(new)
    return sigmoid(exit_) * np.tanh(cell), cell
