"""How far the student is from its teacher."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.modules import GaussianDistribution
from tensordict import TensorDict
from torch import nn
from torch.utils.hooks import RemovableHandle

LOSSES = ("mse", "huber", "kl")
SMALLEST_STD = 1e-6
"""Floor of a standard deviation, as in rsl_rl's distributions."""
_RAW, _LATENT = "raw", "latent"


@dataclass
class LatentMatching:
    """An additional loss between the outputs of a module of the student and one of the teacher."""

    student: str
    """Name of the student's module, as in ``named_modules``."""
    teacher: str
    """Name of the teacher's module."""
    weight: float
    """Factor on the mean square difference."""


class _Tap:
    """The newest output of a module, while listening: a model with hooks or graphs could not be exported."""

    def __init__(self, model: nn.Module, name: str, what: str) -> None:
        modules = dict(model.named_modules())
        if name not in modules:
            known = ", ".join(key for key in modules if key)
            raise ValueError(f"latent_matching.{what}={name!r} is no module of the {what}; it has {known}")
        self._module, self._name, self._what = modules[name], name, what
        self._value: torch.Tensor | None = None

    def listen(self) -> RemovableHandle:
        """Begin to keep outputs, until the handle is removed."""
        return self._module.register_forward_hook(self._keep)

    def take(self) -> torch.Tensor:
        """Return the newest output and forget it.

        Raises:
            ValueError: If it is not a tensor.
        """
        value, self._value = self._value, None
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"latent_matching.{self._what}={self._name!r} gives no tensor but {type(value).__name__}; name "
                "another module"
            )
        return value

    def _keep(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        self._value = output


class ImitationLoss:
    """The loss per transition, and what it needs to know of the teacher besides its actions."""

    def __init__(
        self,
        kind: str,
        action_weights: Sequence[float] | None,
        latent_matching: LatentMatching | None,
        student: MLPModel,
        teachers: Sequence[MLPModel],
        num_actions: int,
        device: torch.device | str,
    ) -> None:
        """Set up the loss.

        Args:
            kind: ``mse``, ``huber`` or ``kl``, the divergence KL(teacher || student) of two Gaussians.
            action_weights: Factor on each action's loss; None weighs all alike.
            latent_matching: Additional loss between two modules; None has none.
            student: The student.
            teachers: The teachers, of one architecture.
            num_actions: Number of actions A.
            device: Device of the models.

        Raises:
            ValueError: If the models do not have what the loss needs.
        """
        self.kind = kind
        self.weights = None
        if action_weights is not None:
            self.weights = weights_per_action(action_weights, num_actions, device)
        self._student, self._teachers = student, teachers
        self._latent = latent_matching
        self._taps: list[_Tap] = []
        self._student_taps: dict[str, _Tap] = {}
        self._teacher_taps: dict[str, list[_Tap]] = {}
        if kind == "kl":
            for role, model in (("student", student), ("teacher", teachers[0])):
                if not isinstance(model.distribution, GaussianDistribution):
                    raise ValueError(
                        f"loss_type=kl needs a Gaussian {role}, which has {type(model.distribution).__name__}; "
                        f"set {role}.distribution_cfg to a GaussianDistribution, or loss_type to mse"
                    )
            self._tap(_RAW, "mlp", "mlp")
        if latent_matching is not None:
            if student.is_recurrent and latent_matching.student.split(".")[0] not in ("rnn", "mlp"):
                raise ValueError(
                    f"latent_matching.student={latent_matching.student!r} comes before the memory of a recurrent "
                    "student, where sequences are padded; name rnn or a module of mlp"
                )
            self._tap(_LATENT, latent_matching.student, latent_matching.teacher)

    def _tap(self, key: str, of_student: str, of_teachers: str) -> None:
        self._student_taps[key] = _Tap(self._student, of_student, "student")
        self._teacher_taps[key] = [_Tap(model, of_teachers, "teacher") for model in self._teachers]
        self._taps += [self._student_taps[key], *self._teacher_taps[key]]

    @property
    def reads_modules(self) -> bool:
        """Whether the loss reads more of the models than their actions."""
        return bool(self._taps)

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Keep what the loss needs of the models' forward passes."""
        handles = [tap.listen() for tap in self._taps]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def labels(
        self, num_envs: int, select: Callable[[list[torch.Tensor]], torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return what to store of the teachers' newest forward pass besides the actions, each (N, …).

        Args:
            num_envs: Number of environments N that were asked.
            select: Chooses among the teachers' values.
        """
        labels = {}
        if self.kind == "kl":
            stds = []
            for model, raw in zip(self._teachers, self._teacher_taps[_RAW], strict=True):
                model.distribution.update(raw.take())  # pyright: ignore
                stds.append(model.output_std.detach().expand_as(model.output_mean))
            labels["teacher_std"] = select(stds)
        if self._latent is not None:
            latents = [tap.take().detach().reshape(num_envs, -1) for tap in self._teacher_taps[_LATENT]]
            labels["teacher_latent"] = select(latents)
        return labels

    def check_latents(self, num_envs: int, labels: dict[str, torch.Tensor]) -> None:
        """Compare the width of the student's latent, new for ``num_envs`` environments, with the label's.

        Raises:
            ValueError: If they differ.
        """
        if self._latent is None:
            return
        student = self._student_taps[_LATENT].take().numel() // num_envs
        teacher = labels["teacher_latent"].shape[-1]
        if student != teacher:
            raise ValueError(
                f"latent_matching compares {self._latent.student} of the student, {student} wide, with "
                f"{self._latent.teacher} of the teacher, {teacher} wide; name modules of one width"
            )

    def __call__(
        self, actions: torch.Tensor, batch: TensorDict, arrange: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """Return the loss of every transition.

        Args:
            actions: The student's actions, shape (…, A), just computed.
            batch: The labels, of the same leading shape.
            arrange: Brings outputs of the student's modules into that shape.
        """
        target = batch["teacher_actions"]
        if self.kind == "kl":
            self._student.distribution.update(self._student_taps[_RAW].take())  # pyright: ignore
            # Steps that count for nothing may have none: zero, and an infinite divergence.
            teacher_std = batch["teacher_std"].clamp(min=SMALLEST_STD)
            loss = gaussian_kl(target, teacher_std, actions, arrange(self._student.output_std))
        else:
            loss = elementwise(self.kind)(actions, target)
        loss = (loss if self.weights is None else loss * self.weights).mean(-1)
        if self._latent is not None:
            difference = (
                arrange(self._student_taps[_LATENT].take()).flatten(batch["dones"].ndim) - batch["teacher_latent"]
            )
            loss = loss + self._latent.weight * difference.square().mean(-1)
        return loss


def weights_per_action(weights: Sequence[float], num_actions: int, device: torch.device | str) -> torch.Tensor:
    """Return the factor on each action's loss, shape (A,).

    Raises:
        ValueError: If there is not one for each action, or one is negative, or all are zero.
    """
    if len(weights) != num_actions or min(weights) < 0 or max(weights) <= 0:
        raise ValueError(
            f"action_weights must be {num_actions} numbers, none negative and not all zero, one per action; "
            f"got {list(weights)}"
        )
    return torch.tensor(list(weights), dtype=torch.float32, device=device)


def elementwise(kind: str) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Return the loss ``mse`` or ``huber`` of every element."""
    function = {"mse": nn.functional.mse_loss, "huber": nn.functional.huber_loss}[kind]
    return lambda actions, target: function(actions, target, reduction="none")


def gaussian_kl(
    mean_p: torch.Tensor, std_p: torch.Tensor, mean_q: torch.Tensor, std_q: torch.Tensor
) -> torch.Tensor:
    """Return KL(p || q) of two normal distributions, element by element.

    log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2; Kullback and Leibler, 1951, for two Gaussians.
    """
    variance = std_q.square()
    return torch.log(std_q / std_p) + (std_p.square() + (mean_p - mean_q).square()) / (2.0 * variance) - 0.5
