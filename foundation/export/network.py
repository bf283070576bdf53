"""Weights and structure of a policy as NumPy arrays."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from foundation.export.errors import ExportError

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel

Array = np.ndarray


@dataclass(frozen=True)
class Activation:
    """The function behind a linear layer."""

    name: str
    """Name in C, without prefix."""
    slope: float = 0.0
    """Slope or scale for negative inputs, for the functions that have one."""


_CALLS = {"identity": 0, "relu": 0, "leaky_relu": 0, "softplus": 2, "mish": 3}
"""Calls of mathematical functions such as tanh in an activation, where it is not one."""


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
    """A policy: a normaliser, an encoder and recurrent layers, all optional, and dense layers."""

    mean: Array | None
    """Mean of the observations, shape (O,); None without a normaliser."""
    scale: Array | None
    """Standard deviation that the centred observations are divided by, shape (O,)."""
    encoder: list[Dense]
    """Dense layers before the recurrent ones."""
    cell: str | None
    """``gru``, ``lstm`` or None."""
    recurrent: list[RecurrentLayer]
    skip_connection: bool
    """Whether the layers after the memory read its output and, appended to it, the normalised observations."""
    dense: list[Dense]

    @property
    def num_obs(self) -> int:
        """Number of observations O."""
        first = self.recurrent[0].weight_input if self.recurrent else self.dense[0].weight
        return (self.encoder[0].weight if self.encoder else first).shape[1]

    @property
    def num_actions(self) -> int:
        """Number of actions A."""
        return len(self.dense[-1].bias)

    @property
    def hidden_dim(self) -> int:
        """Size of a recurrent layer, 0 without any."""
        return self.recurrent[0].weight_hidden.shape[1] if self.recurrent else 0

    @property
    def all_dense(self) -> list[Dense]:
        """The dense layers before and behind the recurrent ones."""
        return [*self.encoder, *self.dense]

    @property
    def num_weights(self) -> int:
        """Number of stored values."""
        arrays = [array for array in (self.mean, self.scale) if array is not None]
        arrays += itertools.chain.from_iterable((layer.weight, layer.bias) for layer in self.all_dense)
        arrays += itertools.chain.from_iterable(vars(layer).values() for layer in self.recurrent)
        return sum(array.size for array in arrays)

    @property
    def num_multiplies(self) -> int:
        """Multiplications of one step, without those inside mathematical functions."""
        matrices = [layer.weight for layer in self.all_dense]
        for layer in self.recurrent:
            matrices += [layer.weight_input, layer.weight_hidden]
        # GRU and LSTM both multiply by their gates three times per unit.
        gating = 3 * self.hidden_dim * len(self.recurrent)
        return sum(matrix.size for matrix in matrices) + gating + (0 if self.scale is None else self.num_obs)

    @property
    def num_functions(self) -> int:
        """Upper bound of the mathematical functions, such as tanh, of one step."""
        gates = {"gru": 3, "lstm": 5}.get(str(self.cell), 0) * self.hidden_dim * len(self.recurrent)
        return gates + sum(_CALLS.get(layer.activation.name, 1) * len(layer.bias) for layer in self.all_dense)


def extract(model: MLPModel) -> Network:
    """Return weights and structure of an rsl_rl model.

    Raises:
        ExportError: If the model has a part that is not supported, or weights that are not finite.
    """
    from rsl_rl.models import MLPModel, RNNModel
    from torch import nn

    from foundation.distill.models import EncoderRnnModel

    if type(model) not in (MLPModel, RNNModel, EncoderRnnModel):
        raise ExportError(
            f"{type(model).__name__} cannot be written as C, only MLPModel, RNNModel and EncoderRnnModel; "
            "use onnx or torchscript"
        )
    mean = scale = None
    if not isinstance(model.obs_normalizer, nn.Identity):
        mean = _numbers(model.obs_normalizer.mean)
        scale = _numbers(model.obs_normalizer.std) + model.obs_normalizer.eps
    cell, recurrent = None, []
    if isinstance(model, RNNModel):
        rnn = model.rnn.rnn
        cell = "lstm" if isinstance(rnn, nn.LSTM) else "gru"
        for index in range(rnn.num_layers):
            names = (f"weight_ih_l{index}", f"weight_hh_l{index}", f"bias_ih_l{index}", f"bias_hh_l{index}")
            recurrent.append(RecurrentLayer(*(_numbers(getattr(rnn, name)) for name in names)))
    encoder = _dense_layers(model.encoder) if isinstance(model, EncoderRnnModel) else []
    skip_connection = isinstance(model, EncoderRnnModel) and model.skip_connection
    return Network(mean, scale, encoder, cell, recurrent, skip_connection, _dense(model))


def why_not_c(model: MLPModel) -> str | None:
    """Return why a model has no form in C; None if it has one."""
    try:
        extract(model)
    except ExportError as error:
        return str(error)
    return None


def _dense(model: MLPModel) -> list[Dense]:
    layers = _dense_layers(model.mlp)
    output = model.distribution and model.distribution.as_deterministic_output_module()
    known = ("_IdentityDeterministicOutput", "_FirstSliceDeterministicOutput")
    if output is not None and type(output).__name__ not in known:
        raise ExportError(
            f"a policy with a {type(model.distribution).__name__} cannot be written as C; use onnx or torchscript"
        )
    return layers


def _dense_layers(modules: Any) -> list[Dense]:
    from torch import nn

    layers: list[Dense] = []
    for module in modules:
        if isinstance(module, nn.Linear):
            layers.append(Dense(_numbers(module.weight), _numbers(module.bias)))
        elif isinstance(module, nn.Unflatten):
            # The last layer returns mean and noise of the actions; only the mean is exported.
            actions = module.unflattened_size[-1]
            last = layers[-1]
            layers[-1] = Dense(last.weight[:actions], last.bias[:actions])
        else:
            layers[-1] = Dense(layers[-1].weight, layers[-1].bias, _activation(module))
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
