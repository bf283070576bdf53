"""The numbers and the structure of a policy, free of torch, and what they compute, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foundation.export.errors import ExportError

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel

Array = np.ndarray
SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
"""Constants of SELU (Klambauer et al. 2017, arXiv 1706.02515)."""


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def softplus(x: Array) -> Array:
    """Return log(1 + exp(x)) without overflow."""
    return np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))


@dataclass(frozen=True)
class Activation:
    """A function between two layers."""

    name: str
    """Name in C, without prefix."""
    slope: float = 0.0
    """Slope or scale for negative inputs, where the function has one."""

    def __call__(self, x: Array) -> Array:
        """Return the function's values in float64."""
        return _FUNCTIONS[self.name](x, self.slope)


_FUNCTIONS: dict[str, Callable[[Array, float], Array]] = {
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
_CALLS = {"identity": 0, "relu": 0, "leaky_relu": 0, "softplus": 2, "mish": 3}
"""Mathematical functions in an activation, where it is not one."""


@dataclass(frozen=True)
class Dense:
    """A linear layer and the function behind it."""

    weight: Array
    """Shape (outputs, inputs)."""
    bias: Array
    """Shape (outputs,)."""
    activation: Activation = field(default_factory=lambda: Activation("identity"))


@dataclass(frozen=True)
class RecurrentLayer:
    """A layer of GRU or LSTM cells, gates stacked in PyTorch's order."""

    weight_input: Array
    """Shape (gates * hidden, inputs)."""
    weight_hidden: Array
    """Shape (gates * hidden, hidden)."""
    bias_input: Array
    """Shape (gates * hidden,)."""
    bias_hidden: Array
    """Shape (gates * hidden,)."""


@dataclass(frozen=True)
class Network:
    """A policy: normaliser, recurrent layers if it has any, dense layers."""

    mean: Array | None
    """Mean of the observations that is subtracted, shape (O,); None without a normaliser."""
    scale: Array | None
    """What the difference is divided by, shape (O,)."""
    cell: str | None
    """``gru``, ``lstm`` or None."""
    recurrent: list[RecurrentLayer]
    dense: list[Dense]

    @property
    def num_obs(self) -> int:
        """Number of observations O."""
        first = self.recurrent[0].weight_input if self.recurrent else self.dense[0].weight
        return first.shape[1]

    @property
    def num_actions(self) -> int:
        """Number of actions A."""
        return len(self.dense[-1].bias)

    @property
    def hidden_dim(self) -> int:
        """Number of hidden values of a recurrent layer, 0 without any."""
        return self.recurrent[0].weight_hidden.shape[1] if self.recurrent else 0

    @property
    def num_weights(self) -> int:
        """Number of stored values."""
        arrays = [array for array in (self.mean, self.scale) if array is not None]
        arrays += itertools.chain.from_iterable((layer.weight, layer.bias) for layer in self.dense)
        arrays += itertools.chain.from_iterable(vars(layer).values() for layer in self.recurrent)
        return sum(array.size for array in arrays)

    @property
    def num_multiplies(self) -> int:
        """Multiplications of one step, without those inside mathematical functions."""
        matrices = [layer.weight for layer in self.dense]
        for layer in self.recurrent:
            matrices += [layer.weight_input, layer.weight_hidden]
        # A GRU multiplies by its gates three times a unit, as an LSTM does.
        gating = 3 * self.hidden_dim * len(self.recurrent)
        return sum(matrix.size for matrix in matrices) + gating + (0 if self.scale is None else self.num_obs)

    @property
    def num_functions(self) -> int:
        """Mathematical functions of one step, such as tanh, at most."""
        gates = {"gru": 3, "lstm": 5}.get(str(self.cell), 0) * self.hidden_dim * len(self.recurrent)
        return gates + sum(_CALLS.get(layer.activation.name, 1) * len(layer.bias) for layer in self.dense)

    def initial_state(self, num_envs: int) -> Array:
        """Return zeros of shape (2, layers, N, H): hidden values, and cell values that only an LSTM uses."""
        return np.zeros((2, len(self.recurrent), num_envs, self.hidden_dim))

    def step(self, obs: Array, state: Array) -> tuple[Array, Array]:
        """Compute one step in float64.

        Args:
            obs: Observations, shape (N, O).
            state: What :meth:`initial_state` or the last step returned.

        Returns:
            Actions (N, A) and the new state.
        """
        x = np.asarray(obs, dtype=np.float64)
        if self.mean is not None and self.scale is not None:
            x = (x - self.mean) / self.scale
        new = state.copy()
        for index, layer in enumerate(self.recurrent):
            cell = _gru if self.cell == "gru" else _lstm
            new[:, index] = cell(layer, x, state[0, index], state[1, index])
            x = new[0, index]
        for layer in self.dense:
            x = layer.activation(x @ layer.weight.T + layer.bias)
        return x, new


def _gru(layer: RecurrentLayer, x: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
    """Cho et al. 2014, arXiv 1406.1078, with the reset gate behind the matrix, as cuDNN and PyTorch have it."""
    from_input = np.split(x @ layer.weight_input.T + layer.bias_input, 3, axis=-1)
    from_hidden = np.split(hidden @ layer.weight_hidden.T + layer.bias_hidden, 3, axis=-1)
    reset, update = (sigmoid(a + b) for a, b in zip(from_input[:2], from_hidden[:2], strict=True))
    new = np.tanh(from_input[2] + reset * from_hidden[2])
    return new + update * (hidden - new), cell


def _lstm(layer: RecurrentLayer, x: Array, hidden: Array, cell: Array) -> tuple[Array, Array]:
    """Hochreiter and Schmidhuber 1997, with a forget gate (Gers et al. 2000)."""
    gates = x @ layer.weight_input.T + layer.bias_input + hidden @ layer.weight_hidden.T + layer.bias_hidden
    entry, forget, new, exit_ = np.split(gates, 4, axis=-1)
    cell = sigmoid(forget) * cell + sigmoid(entry) * np.tanh(new)
    return sigmoid(exit_) * np.tanh(cell), cell


def extract(model: MLPModel) -> Network:
    """Return the numbers and the structure of a model of rsl_rl.

    Raises:
        ExportError: If the model has a part that is not supported, or weights that are not finite.
    """
    from rsl_rl.models import MLPModel, RNNModel
    from torch import nn

    if type(model) not in (MLPModel, RNNModel):
        raise ExportError(
            f"a {type(model).__name__} cannot be written as C, only MLPModel and RNNModel; use onnx or torchscript"
        )
    mean = scale = None
    if not isinstance(model.obs_normalizer, nn.Identity):
        mean = _numbers(model.obs_normalizer._mean)[0]
        scale = _numbers(model.obs_normalizer._std)[0] + model.obs_normalizer.eps
    cell, recurrent = None, []
    if isinstance(model, RNNModel):
        rnn = model.rnn.rnn
        cell = "lstm" if isinstance(rnn, nn.LSTM) else "gru"
        for index in range(rnn.num_layers):
            names = (f"weight_ih_l{index}", f"weight_hh_l{index}", f"bias_ih_l{index}", f"bias_hh_l{index}")
            recurrent.append(RecurrentLayer(*(_numbers(getattr(rnn, name)) for name in names)))
    return Network(mean, scale, cell, recurrent, _dense(model))


def _dense(model: MLPModel) -> list[Dense]:
    from torch import nn

    layers: list[Dense] = []
    for module in model.mlp:
        if isinstance(module, nn.Linear):
            layers.append(Dense(_numbers(module.weight), _numbers(module.bias)))
        elif isinstance(module, nn.Unflatten):
            # Mean and noise of the actions side by side; only the mean flies.
            actions = module.unflattened_size[-1]
            last = layers[-1]
            layers[-1] = Dense(last.weight[:actions], last.bias[:actions])
        else:
            layers[-1] = Dense(layers[-1].weight, layers[-1].bias, _activation(module))
    output = model.distribution and model.distribution.as_deterministic_output_module()
    known = ("_IdentityDeterministicOutput", "_FirstSliceDeterministicOutput")
    if output is not None and type(output).__name__ not in known:
        raise ExportError(
            f"a policy with a {type(model.distribution).__name__} cannot be written as C; use onnx or torchscript"
        )
    return layers


def _activation(module: Any) -> Activation:
    from torch import nn

    if isinstance(module, nn.LeakyReLU):
        return Activation("leaky_relu", module.negative_slope)
    # With alpha = 1 CELU is ELU.
    if isinstance(module, nn.ELU) or (isinstance(module, nn.CELU) and module.alpha == 1.0):
        return Activation("elu", module.alpha)
    if isinstance(module, nn.GELU) and module.approximate == "none":
        return Activation("gelu")
    if isinstance(module, nn.Softplus) and (module.beta, module.threshold) != (1, 20):
        raise ExportError(f"{module} cannot be written as C, only with beta=1 and threshold=20")
    names = {
        nn.Identity: "identity",
        nn.ReLU: "relu",
        nn.Tanh: "tanh",
        nn.Sigmoid: "sigmoid",
        nn.SELU: "selu",
        nn.Softplus: "softplus",
        nn.SiLU: "silu",
        nn.Mish: "mish",
    }
    if type(module) not in names:
        raise ExportError(
            f"{module} cannot be written as C, only elu, gelu, leaky_relu, {', '.join(names.values())}"
        )
    return Activation(names[type(module)])


def _numbers(tensor: Any) -> Array:
    values = tensor.detach().cpu().double().numpy()
    if not np.isfinite(values).all():
        raise ExportError("the policy has weights that are not finite; it cannot fly")
    return values
