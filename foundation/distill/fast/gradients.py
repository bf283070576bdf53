"""Gradients of plain students in closed form: the same operations as autograd's, without recording a graph.

Reference: Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature 323, 1986;
for the gated recurrent unit, the formulas of ``torch.nn.GRU`` (Cho et al., EMNLP 2014).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from foundation.distill.algorithm.losses import Huber, Loss, MeanSquare
from foundation.distill.fast.inference import InferenceGru, InferenceMlp, encoder_of, skips_memory

_Layers = list[tuple[nn.Linear, nn.Module | None]]


class MlpBackprop:
    """The imitation loss of an ``MLPModel`` and its gradients, as autograd gives them, in about half the time."""

    def __init__(self, model: nn.Module, loss: type[Loss], weights: torch.Tensor | None) -> None:
        """Collect the model's layers; their weights are read with every call.

        Args:
            model: The student.
            loss: ``MeanSquare`` or ``Huber``.
            weights: Factor on each action's loss, shape (A,); None weighs all alike.

        Raises:
            ValueError: If :meth:`supports` does not hold.
        """
        layers = _layers_of(model.mlp)  # pyright: ignore
        if layers is None or not self.supports(model):
            raise ValueError(f"{type(self).__name__} cannot compute the gradients of this {type(model).__name__}")
        self._model, self._layers = model, layers
        self._is_square, self._weights = loss is MeanSquare, weights

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Return whether a model's gradients can be computed here."""
        return InferenceMlp.supports(model) and _all_trained_and_known(model)

    @torch.no_grad()
    def __call__(self, obs: Mapping[str, torch.Tensor], batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of every transition, (B,), and write the gradients of their mean to the parameters.

        Args:
            obs: Observations by group, each of shape (B, D).
            batch: The labels: ``teacher_actions`` of shape (B, A).
        """
        values = _forward(self._layers, self._normalized(obs))
        error = values[-1] - batch["teacher_actions"]
        losses, gradient = self._loss(error, 1.0 / error.numel())
        _backward(self._layers, values, gradient, to_input=False)
        return losses

    def _normalized(self, obs: Mapping[str, torch.Tensor]) -> torch.Tensor:
        groups = [obs[group] for group in self._model.obs_groups]  # pyright: ignore
        values = groups[0] if len(groups) == 1 else torch.cat(groups, dim=-1)
        return self._model.obs_normalizer(values)  # pyright: ignore

    def _loss(self, error: torch.Tensor, share: float | torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return losses (...) and ``share`` times their gradients (..., A) for actions off by ``error``."""
        # Half the derivative of a square is the error itself, of Huber's function the error within 1.
        slope = error if self._is_square else error.clamp(-1.0, 1.0)
        losses = error.square() if self._is_square else slope * (error - 0.5 * slope)
        gradient = slope * (2.0 * share if self._is_square else share)
        if self._weights is not None:
            losses, gradient = losses * self._weights, gradient * self._weights
        return losses.mean(-1), gradient


class GruBackprop(MlpBackprop):
    """The same for a model with one layer of GRU, through windows with a reset after each done."""

    @staticmethod
    def supports(model: nn.Module) -> bool:
        """Return whether a model's gradients can be computed here."""
        return InferenceGru.supports(model) and _all_trained_and_known(model)

    @torch.no_grad()
    def __call__(self, obs: Mapping[str, torch.Tensor], batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of every step, (B, W), and write the gradients of the trained steps' mean.

        Args:
            obs: Observations by group, each of shape (B, W, D).
            batch: The labels ``teacher_actions`` (B, W, A), ``dones`` and ``trained`` (B, W), and the hidden state
                ``hidden/0`` (B, 1, H) at the windows' first steps.
        """
        inputs = self._normalized(obs).transpose(0, 1).contiguous()
        steps_by_envs = inputs.shape[:2]
        encoder = _layers_of(encoder_of(self._model)) or []
        encoded = _forward(encoder, inputs.flatten(0, 1))
        inputs = encoded[-1].view(*steps_by_envs, -1)
        # The state before a step that follows a done is zero.
        resets = batch["dones"].T[:-1, :, None]
        steps = _GruSteps(self._model.rnn.rnn, inputs, batch["hidden/0"][:, 0], resets)  # pyright: ignore
        latent = steps.outputs.flatten(0, 1)
        if skips_memory(self._model):
            latent = torch.cat([latent, encoded[0]], dim=-1)
        values = _forward(self._layers, latent)
        target = batch["teacher_actions"].transpose(0, 1)
        trained = batch["trained"].T[..., None].to(inputs.dtype)
        error = values[-1].view(target.shape) - target
        losses, gradient = self._loss(error, trained / (trained.sum() * error.shape[-1]))
        below = _backward(self._layers, values, gradient.flatten(0, 1), to_input=True)
        of_memory = below[:, : steps.outputs.shape[-1]]
        below = steps.backward(of_memory.reshape(steps.outputs.shape), to_input=bool(encoder))
        if below is not None:
            _backward(encoder, encoded, below, to_input=False)
        return losses.T


class _GruSteps:
    """The steps of a GRU over (W, B) inputs, and the gradients of its weights.

    One step computes so little that its cost is the overhead of calling torch. So both loops call torch a handful
    of times per step, and everything that does not depend on the step before is computed for all steps at once.
    """

    def __init__(self, gru: Any, inputs: torch.Tensor, first: torch.Tensor, resets: torch.Tensor) -> None:
        self._gru, self._inputs, self._resets = gru, inputs, resets
        shape, size = (len(inputs), len(first)), gru.hidden_size
        from_inputs = nn.functional.linear(inputs, gru.weight_ih_l0, gru.bias_ih_l0)
        # State before each step, what it contributes, reset and update gate, candidate, state after the step.
        self._before = inputs.new_empty(*shape, size)
        self._from_state = inputs.new_empty(*shape, 3 * size)
        self._gates = inputs.new_empty(*shape, 2 * size)
        self._candidate = inputs.new_empty(*shape, size)
        self.outputs = inputs.new_empty(*shape, size)
        weight, bias = gru.weight_hh_l0.t(), gru.bias_hh_l0
        state, nothing = self._before[0].copy_(first), inputs.new_zeros(())
        to_gates, to_candidate = from_inputs.split([2 * size, size], -1)
        of_gates, of_candidate = self._from_state.split([2 * size, size], -1)
        reset, update = self._gates.split(size, -1)
        for t in _per_step(
            begin=resets, before=self._before, from_state=self._from_state, to_gates=to_gates,
            of_gates=of_gates, gates=self._gates, to_candidate=to_candidate, reset=reset,
            of_candidate=of_candidate, candidate=self._candidate, update=update, output=self.outputs,
        ):  # fmt: skip
            if t.begin is not None:
                state = torch.where(t.begin, nothing, state, out=t.before)
            torch.addmm(bias, state, weight, out=t.from_state)
            torch.add(t.to_gates, t.of_gates, out=t.gates).sigmoid_()
            torch.addcmul(t.to_candidate, t.reset, t.of_candidate, out=t.candidate).tanh_()
            state = torch.lerp(t.candidate, state, t.update, out=t.output)

    def backward(self, gradient: torch.Tensor, to_input: bool) -> torch.Tensor | None:
        """Write the gradients of the weights, from those of the outputs (W, B, H).

        Args:
            gradient: Gradient of the outputs.
            to_input: Whether to return the gradient of the inputs, shape (W * B, D).
        """
        gru, size = self._gru, self._gru.hidden_size
        reset, update = self._gates.split(size, -1)
        of_candidate = (1.0 - update) * (1.0 - self._candidate.square())
        of_update = (self._before - self._candidate) * update * (1.0 - update)
        of_reset = of_candidate * self._from_state[..., 2 * size :] * reset * (1.0 - reset)
        # Times a step's gradient: the gradients of what its state before contributed.
        factors = torch.stack([of_reset, of_update, of_candidate * reset], -2)
        from_state, backs = torch.empty_like(factors), torch.empty_like(gradient)
        back = torch.zeros_like(gradient[0])
        for t in reversed(
            _per_step(
                begin=self._resets,
                of_output=gradient,
                summed=backs,
                factor=factors,
                of_state=from_state,
                update=update,
            )
        ):
            torch.add(back, t.of_output, out=t.summed)
            torch.mul(t.summed[:, None], t.factor, out=t.of_state)
            back = torch.addmm(t.summed * t.update, t.of_state.view(len(back), -1), gru.weight_hh_l0)
            if t.begin is not None:
                back.masked_fill_(t.begin, 0.0)
        flat = from_state.view(-1, 3 * size)
        gru.weight_hh_l0.grad = flat.t() @ self._before.flatten(0, 1)
        gru.bias_hh_l0.grad = flat.sum(0)
        flat[:, 2 * size :] = (backs * of_candidate).flatten(0, 1)
        gru.weight_ih_l0.grad = flat.t() @ self._inputs.flatten(0, 1)
        gru.bias_ih_l0.grad = flat.sum(0)
        return flat @ gru.weight_ih_l0 if to_input else None


def _per_step(begin: torch.Tensor, **tensors: torch.Tensor) -> list[SimpleNamespace]:
    """Return views of tensors (W, …) step by step; ``begin``, (W - 1, …), has None for the first."""
    columns = [(None, *begin.unbind()), *(tensor.unbind() for tensor in tensors.values())]
    names = ["begin", *tensors]
    return [SimpleNamespace(**dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def closed_form_gradients(model: nn.Module, loss: type[Loss], weights: torch.Tensor | None) -> MlpBackprop | None:
    """Return the function that computes a model's loss and gradients in closed form; None if only autograd can."""
    for known in (MlpBackprop, GruBackprop):
        if loss in (MeanSquare, Huber) and known.supports(model):
            return known(model, loss, weights)
    return None


def _all_trained_and_known(model: nn.Module) -> bool:
    parts = [part for name, part in model.named_parameters() if not name.startswith("distribution.")]
    known = all(_layers_of(modules) is not None for modules in (model.mlp, encoder_of(model)))  # pyright: ignore
    return known and all(part.requires_grad for part in parts)


def _layers_of(modules: nn.Sequential) -> _Layers | None:
    """Return linear layers with the activations after them; None if there is anything else."""
    layers: _Layers = []
    for module in modules:
        if type(module) is nn.Linear:
            layers.append((module, None))
        elif type(module) in (nn.Tanh, nn.ReLU, nn.ELU) and layers and layers[-1][1] is None:
            layers[-1] = (layers[-1][0], module)
        else:
            return None
    return layers


def _forward(layers: _Layers, values: torch.Tensor) -> list[torch.Tensor]:
    """Return the input (B, D) of the layers and the output of each."""
    outputs = [values]
    for linear, activation in layers:
        if isinstance(activation, nn.Tanh):
            # tanh(x) = 2 s(2 x) - 1: torch computes the logistic function s several times faster on a CPU.
            out = torch.addmm(linear.bias, outputs[-1], linear.weight.t(), beta=2.0, alpha=2.0)
            out.sigmoid_().mul_(2.0).sub_(1.0)
        else:
            out = nn.functional.linear(outputs[-1], linear.weight, linear.bias)
            if isinstance(activation, nn.ELU):
                nn.functional.elu_(out, activation.alpha)
            elif activation is not None:
                out.relu_()
        outputs.append(out)
    return outputs


def _backward(
    layers: _Layers, outputs: list[torch.Tensor], gradient: torch.Tensor, to_input: bool
) -> torch.Tensor:
    """Write the gradients of the layers' weights, and return that of their input, or of their first output."""
    for i in reversed(range(len(layers))):
        linear, activation = layers[i]
        if isinstance(activation, nn.Tanh):
            gradient = torch.ops.aten.tanh_backward(gradient, outputs[i + 1])
        elif isinstance(activation, nn.ELU):
            gradient = torch.ops.aten.elu_backward(gradient, activation.alpha, 1.0, 1.0, True, outputs[i + 1])
        elif activation is not None:
            gradient = torch.ops.aten.threshold_backward(gradient, outputs[i + 1], 0.0)
        linear.weight.grad = gradient.t() @ outputs[i]
        linear.bias.grad = gradient.sum(0)
        if i > 0 or to_input:
            gradient = gradient @ linear.weight
    return gradient
