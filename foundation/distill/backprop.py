"""Gradients of a plain MLP student in closed form: the few operations that autograd would record, and no more."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from foundation.distill.acting import FrozenMlp


class MlpBackprop:
    """The imitation loss of an ``MLPModel`` and its gradients, as autograd computes them, in about half the time.

    Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323,
    1986. A tanh is taken as 2 s(2 x) - 1 with the logistic function s, which torch computes faster on a CPU.
    """

    def __init__(self, model: nn.Module, kind: str, weights: torch.Tensor | None) -> None:
        """Take note of the model's layers, whose weights are read when they are used.

        Args:
            model: A model for which :meth:`supports` holds.
            kind: ``mse`` or ``huber``.
            weights: Factor on each action's loss, shape (A,); None weighs all alike.

        Raises:
            ValueError: If the model has other layers.
        """
        self._model = model
        self._kind, self._weights = kind, weights
        layers = _layers_of(model.mlp)  # pyright: ignore
        if layers is None:
            raise ValueError("MlpBackprop needs linear layers with tanh, ELU or ReLU between them")
        self._layers = layers

    @staticmethod
    def supports(model: nn.Module, kind: str) -> bool:
        """Return whether a model and a loss have gradients of the kind computed here."""
        return (
            kind in ("mse", "huber")
            and FrozenMlp.supports(model)
            and _layers_of(model.mlp) is not None  # pyright: ignore
            and all(parameter.requires_grad for parameter in model.mlp.parameters())  # pyright: ignore
        )

    @torch.no_grad()
    def __call__(self, obs: Mapping[str, torch.Tensor], target: torch.Tensor) -> torch.Tensor:
        """Return the loss of every transition, (B,), and write the gradients of their mean to the parameters.

        Args:
            obs: Observations by group, each of shape (B, D).
            target: The teacher's actions, shape (B, A).
        """
        model = self._model
        groups = [obs[group] for group in model.obs_groups]  # pyright: ignore
        values = [model.obs_normalizer(torch.cat(groups, dim=-1) if len(groups) > 1 else groups[0])]  # pyright: ignore
        for linear, activation in self._layers:
            values.append(_forward(linear, activation, values[-1]))
        error = values[-1] - target
        # The mean over actions and transitions: of squares, or of Huber's function with threshold 1.
        if self._kind == "mse":
            losses, gradient = error.square(), error.mul_(2.0 / error.numel())
        else:
            slope = error.clamp(-1.0, 1.0)
            losses, gradient = slope * (error - 0.5 * slope), slope / error.numel()
        if self._weights is not None:
            losses, gradient = losses * self._weights, gradient * self._weights
        for i in reversed(range(len(self._layers))):
            linear, activation = self._layers[i]
            gradient = _through(activation, gradient, values[i + 1])
            linear.weight.grad = gradient.t() @ values[i]
            if linear.bias is not None:
                linear.bias.grad = gradient.sum(0)
            if i > 0:
                gradient = gradient @ linear.weight
        return losses.mean(-1)


def _layers_of(mlp: nn.Sequential) -> list[tuple[nn.Linear, nn.Module | None]] | None:
    """Return linear layers with the activations after them; None if there is anything else."""
    layers: list[tuple[nn.Linear, nn.Module | None]] = []
    for module in mlp:
        if isinstance(module, nn.Linear):
            layers.append((module, None))
        elif isinstance(module, nn.Tanh | nn.ReLU | nn.ELU) and layers and layers[-1][1] is None:
            layers[-1] = (layers[-1][0], module)
        else:
            return None
    return layers


def _forward(linear: nn.Linear, activation: nn.Module | None, values: torch.Tensor) -> torch.Tensor:
    if isinstance(activation, nn.Tanh):
        if linear.bias is None:
            out = torch.mm(values, linear.weight.t()).mul_(2.0)
        else:
            out = torch.addmm(linear.bias, values, linear.weight.t(), beta=2.0, alpha=2.0)
        return out.sigmoid_().mul_(2.0).sub_(1.0)
    out = nn.functional.linear(values, linear.weight, linear.bias)
    if isinstance(activation, nn.ELU):
        return nn.functional.elu_(out, activation.alpha)
    return out if activation is None else out.relu_()


def _through(activation: nn.Module | None, gradient: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Return the gradient before an activation, from the one after it and its output."""
    if isinstance(activation, nn.Tanh):
        return torch.ops.aten.tanh_backward(gradient, out)
    if isinstance(activation, nn.ELU):
        return torch.ops.aten.elu_backward(gradient, activation.alpha, 1.0, 1.0, True, out)
    return gradient if activation is None else torch.ops.aten.threshold_backward(gradient, out, 0.0)
