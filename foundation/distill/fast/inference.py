"""Inference copies of policies: weights are constant between two updates, so much can be precomputed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from rsl_rl.models import MLPModel, RNNModel
from rsl_rl.modules import EmpiricalNormalization, GaussianDistribution
from torch import nn

from foundation.distill.models import EncoderRnnModel
from foundation.distill.observations import InputConversion

ROWS_AT_ONCE = {"cpu": 2**12, "cuda": 2**20}
"""Observations that :meth:`InferenceMlp.run_rollout` computes at once: on a CPU few enough that activations stay
in a core's cache, on a GPU enough to occupy it."""


class InferenceMlp:
    """A copy of an ``MLPModel``'s weights without gradients: the same actions up to rounding, in less time.

    Activations are computed in place. A tanh is replaced by a logistic function, tanh(x) = 2 s(2 x) - 1, which
    torch computes several times faster on a CPU; the factors and offsets are folded into the weights of the layers
    around.
    """

    def __init__(self, model: MLPModel) -> None:
        """Copy the model's weights; later changes of the model have no effect.

        Raises:
            ValueError: If :meth:`supports` does not hold.
        """
        if not self.supports(model):
            raise ValueError(f"{type(self).__name__} cannot run this {type(model).__name__}")
        self._groups = list(model.obs_groups)
        self._norm: tuple[torch.Tensor, torch.Tensor] | None = None
        with torch.no_grad():
            if isinstance(model.obs_normalizer, EmpiricalNormalization):
                norm = model.obs_normalizer
                self._norm = norm._mean.clone(), (norm._std + norm.eps).reciprocal()  # pyright: ignore
            self._std = None if model.distribution is None else self._current_std(model.distribution)  # pyright: ignore
            self._layers = _fold(list(model.mlp))

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Return whether a model is a plain MLP, with a Gaussian of constant noise or none."""
        return type(model) is MLPModel and InferenceMlp._has_plain_ends(model)

    @staticmethod
    def _has_plain_ends(model: MLPModel) -> bool:
        return (
            type(model.distribution) in (type(None), GaussianDistribution)
            and type(model.obs_normalizer) in (nn.Identity, EmpiricalNormalization)
            # A hook may change a module's input or output; conversion leaves stored observations as they are.
            and all(isinstance(hook, InputConversion) for hook in model._forward_pre_hooks.values())
            and not any(m._forward_pre_hooks for m in model.modules() if m is not model)
            and not any(m._forward_hooks or m._backward_hooks or m._backward_pre_hooks for m in model.modules())
            and not any(parameter._backward_hooks for parameter in model.parameters())
            # A subclass of Linear, such as a parametrized one, may compute something else.
            and all(type(m) is nn.Linear for m in model.modules() if isinstance(m, nn.Linear))
        )

    def copy_weights(self, model: MLPModel) -> None:
        """Copy the weights of a model of the same architecture, in place: their addresses do not change."""
        for own, new in zip(self._tensors(), type(self)(model)._tensors(), strict=True):
            own.copy_(new)

    def _tensors(self) -> Iterator[torch.Tensor]:
        yield from self._norm or ()
        if self._std is not None:
            yield self._std
        yield from _weights_of(self._layers)

    def __call__(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean actions for observations (..., D), shape (..., A)."""
        return self._head(self._normalized(obs))

    def _normalized(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        groups = [obs[group] for group in self._groups]
        values = groups[0] if len(groups) == 1 else torch.cat(groups, dim=-1)
        if self._norm is not None:
            values = (values - self._norm[0]).mul_(self._norm[1])
        return values

    def _head(self, values: torch.Tensor) -> torch.Tensor:
        for layer in self._layers:
            values = layer(values)
        return values

    def sample(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return actions with the model's noise, drawn from the default generator as the model itself does."""
        return self.with_noise(self(obs))

    def reset(self, dones: torch.Tensor) -> None:
        """Do nothing: there is no hidden state."""

    def with_noise(self, mean: torch.Tensor) -> torch.Tensor:
        """Add noise to mean actions."""
        if self._std is None:
            return mean
        return torch.empty_like(mean).normal_().mul_(self._std).add_(mean)

    def run_rollout(self, obs: Mapping[str, torch.Tensor], out: torch.Tensor) -> None:
        """Write the mean actions for a rollout's observations (T, N, D) into ``out`` (T, N, A)."""
        groups = [obs[group].flatten(0, 1) for group in self._groups]
        flat = out.view(-1, out.shape[-1])
        most = ROWS_AT_ONCE.get(flat.device.type, len(flat))
        for start in range(0, len(flat), most):
            rows = slice(start, start + most)
            part = {group: values[rows] for group, values in zip(self._groups, groups, strict=True)}
            flat[rows] = self(part)

    @staticmethod
    def _current_std(distribution: GaussianDistribution) -> torch.Tensor:
        low, high = distribution.std_range
        if distribution.std_type == "log":
            return distribution.log_std_param.exp().clamp(low, high)
        return distribution.std_param.clamp(low, high)


class InferenceGru(InferenceMlp):
    """A copy of the weights of a model with one layer of GRU; it shares the model's hidden state."""

    def __init__(self, model: RNNModel) -> None:
        """Copy the model's weights.

        Raises:
            ValueError: If :meth:`supports` does not hold.
        """
        super().__init__(model)
        self._rnn = model.rnn
        self._skips = skips_memory(model)
        self._weights = [parameter.detach().clone() for parameter in model.rnn.rnn.parameters()]
        self._encoder = _fold(list(encoder_of(model)))

    def _tensors(self) -> Iterator[torch.Tensor]:
        yield from super()._tensors()
        yield from self._weights
        yield from _weights_of(self._encoder)

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Return whether a model is a GRU of one layer under a plain MLP, with or without an encoder."""
        known = type(model) in (RNNModel, EncoderRnnModel)
        return known and is_plain_gru(model) and InferenceMlp._has_plain_ends(model)  # pyright: ignore

    def __call__(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the mean actions for observations (N, D), shape (N, A)."""
        values = normalized = self._normalized(obs)
        hidden = self._rnn.hidden_state
        for layer in self._encoder:
            values = layer(values)
        if hidden is None:
            hidden = values.new_zeros(1, len(values), self._rnn.rnn.hidden_size)
        after = torch.gru_cell(values, hidden[0], *self._weights)  # pyright: ignore
        self._rnn.hidden_state = after[None]
        return self._head(torch.cat([after, normalized], dim=-1) if self._skips else after)

    def reset(self, dones: torch.Tensor) -> None:
        """Zero the hidden state of environments (N,) that begin an episode; does not synchronise."""
        assert self._rnn.hidden_state is not None
        self._rnn.hidden_state[0].masked_fill_((dones != 0)[:, None], 0.0)  # pyright: ignore


def encoder_of(model: nn.Module) -> nn.Sequential:
    """Return the layers before the recurrent ones; none of most models."""
    return model.encoder if isinstance(model, EncoderRnnModel) else nn.Sequential()


def skips_memory(model: nn.Module) -> bool:
    """Return whether the layers behind the memory also read the normalised observations."""
    return isinstance(model, EncoderRnnModel) and model.skip_connection


def is_plain_gru(model: RNNModel) -> bool:
    """Return whether a model's recurrent part is one layer of torch's GRU with biases and nothing else."""
    rnn = model.rnn.rnn
    return (
        type(rnn) is nn.GRU
        and rnn.num_layers == 1
        and rnn.bias
        and not (rnn.bidirectional or rnn.batch_first or rnn.dropout)
    )


def inference_copy(model: nn.Module) -> InferenceMlp | None:
    """Return an inference copy of a model; None if there is none for its architecture."""
    if InferenceMlp.supports(model):
        return InferenceMlp(model)  # pyright: ignore
    return InferenceGru(model) if InferenceGru.supports(model) else None  # pyright: ignore


class _Affine:
    """A linear layer with a copy of the weights."""

    def __init__(self, linear: nn.Linear) -> None:
        self.weight = linear.weight.detach().clone()
        bias = linear.bias
        self.bias = self.weight.new_zeros(len(self.weight)) if bias is None else bias.detach().clone()

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(values, self.weight, self.bias)


def _weights_of(layers: list[Any]) -> Iterator[torch.Tensor]:
    for layer in layers:
        if isinstance(layer, _Affine):
            yield from (layer.weight, layer.bias)


def _fold(modules: list[nn.Module]) -> list[Callable[[torch.Tensor], torch.Tensor]]:
    """Return callables that compute what the modules compute in sequence; they do not change their first input."""
    layers: list[Any] = [_Affine(module) if type(module) is nn.Linear else module for module in modules]
    for i in range(1, len(layers)):
        before, module = layers[i - 1], layers[i]
        if not isinstance(before, _Affine):
            continue
        after = layers[i + 1] if i + 1 < len(layers) else None
        if isinstance(module, nn.Tanh) and isinstance(after, _Affine):
            before.weight *= 2.0
            before.bias *= 2.0
            after.bias -= after.weight.sum(1)
            after.weight *= 2.0
            layers[i] = torch.sigmoid_
        elif isinstance(module, nn.ELU):
            layers[i] = partial(nn.functional.elu_, alpha=module.alpha)
        elif isinstance(module, nn.ReLU):
            layers[i] = torch.relu_
    return layers
