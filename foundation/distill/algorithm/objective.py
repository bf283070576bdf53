"""The imitation objective: a loss per transition, with weights per action and latent matching."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.modules import GaussianDistribution
from tensordict import TensorDict
from torch import nn
from torch.utils.hooks import RemovableHandle

from foundation.distill.algorithm.losses import LOSSES, Actions, LatentMatching, Loss

_RAW, _LATENT = "raw", "latent"


class ModuleTap:
    """The newest output of a module, recorded only while it is tapped: hooks that stay would prevent an export."""

    def __init__(self, model: nn.Module, name: str, role: str) -> None:
        """Find the module.

        Args:
            model: The policy.
            name: Name of the module, as in ``named_modules``.
            role: ``student`` or ``teacher``, for messages.

        Raises:
            ValueError: If the policy has no such module.
        """
        modules = dict(model.named_modules())
        if name not in modules:
            known = ", ".join(key for key in modules if key)
            raise ValueError(f"latent_matching.{role}={name!r} is no module of the {role}; it has {known}")
        self._module, self._name, self._role = modules[name], name, role
        self._value: torch.Tensor | None = None

    def attach(self) -> RemovableHandle:
        """Record outputs until the handle is removed."""
        return self._module.register_forward_hook(self._record)

    def take(self) -> torch.Tensor:
        """Return the newest output and drop it.

        Raises:
            ValueError: If it is not a tensor.
        """
        value, self._value = self._value, None
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"latent_matching.{self._role}={self._name!r} gives no tensor but {type(value).__name__}; name "
                "another module"
            )
        return value

    def _record(self, module: nn.Module, args: Any, output: torch.Tensor) -> None:
        self._value = output


class ImitationObjective:
    """The loss of every transition, and the labels that it needs besides the teacher's actions."""

    def __init__(
        self,
        loss: Loss,
        action_weights: torch.Tensor | None,
        latent_matching: LatentMatching | None,
        student: MLPModel,
        teachers: Sequence[MLPModel],
    ) -> None:
        """Set up the objective.

        Args:
            loss: The loss of every element of an action.
            action_weights: Factor on each action's loss, (A,); None weighs all alike.
            latent_matching: ``student`` and ``teacher``, the names of two modules, and ``weight``, the factor on
                the mean square difference of their outputs; None adds nothing.
            student: The student.
            teachers: The teachers, of one architecture.

        Raises:
            ValueError: If a model lacks something that the objective needs.
        """
        self.loss, self.action_weights = loss, action_weights
        self._student, self._teachers = student, teachers
        self._latent = latent_matching
        self._taps: list[ModuleTap] = []
        self._student_taps: dict[str, ModuleTap] = {}
        self._teacher_taps: dict[str, list[ModuleTap]] = {}
        if loss.reads_std:
            self._require_gaussians(LOSSES.name_of(loss))
            self._tap(_RAW, "mlp", "mlp")
        if latent_matching is not None:
            if student.is_recurrent and latent_matching["student"].split(".")[0] not in ("rnn", "mlp"):
                raise ValueError(
                    f"latent_matching.student={latent_matching['student']!r} comes before the memory of a "
                    "recurrent student, where sequences are padded; name rnn or a module of mlp"
                )
            self._tap(_LATENT, latent_matching["student"], latent_matching["teacher"])

    def _require_gaussians(self, loss: str) -> None:
        for role, model in (("student", self._student), *(("teacher", teacher) for teacher in self._teachers)):
            kind = type(model.distribution)
            if not issubclass(kind, GaussianDistribution):
                noise = "no standard deviation" if kind is type(None) else f"a {kind.__name__}"
                raise ValueError(
                    f"loss_type={loss} needs a Gaussian {role}, and this one has {noise}; set loss_type=mse, or "
                    f"{role}.distribution_cfg to a GaussianDistribution if the {role}'s file has one"
                )

    def _tap(self, key: str, of_student: str, of_teachers: str) -> None:
        self._student_taps[key] = ModuleTap(self._student, of_student, "student")
        self._teacher_taps[key] = [ModuleTap(model, of_teachers, "teacher") for model in self._teachers]
        self._taps += [self._student_taps[key], *self._teacher_taps[key]]

    @property
    def reads_modules(self) -> bool:
        """Whether the objective reads outputs of modules besides the actions."""
        return bool(self._taps)

    @contextlib.contextmanager
    def tapped(self) -> Iterator[None]:
        """Record the module outputs that the objective needs."""
        handles = [tap.attach() for tap in self._taps]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def labels(
        self, num_envs: int, select: Callable[[list[torch.Tensor]], torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the labels of the teachers' newest forward pass besides the actions, each (N, …).

        Args:
            num_envs: Number of environments N in that pass.
            select: Chooses each environment's label among those of all teachers.
        """
        labels = {}
        if self.loss.reads_std:
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
        """Check that the newest latents of student and teacher, for ``num_envs`` environments, are equally wide.

        Raises:
            ValueError: If they are not.
        """
        if self._latent is None:
            return
        student = self._student_taps[_LATENT].take().numel() // num_envs
        teacher = labels["teacher_latent"].shape[-1]
        if student != teacher:
            raise ValueError(
                f"latent_matching compares {self._latent['student']} of the student, {student} wide, with "
                f"{self._latent['teacher']} of the teacher, {teacher} wide; name modules of one width"
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
        student, teacher = Actions(actions), Actions(batch["teacher_actions"])
        if self.loss.reads_std:
            self._student.distribution.update(self._student_taps[_RAW].take())  # pyright: ignore
            student = Actions(actions, arrange(self._student.output_std))
            teacher = Actions(batch["teacher_actions"], batch["teacher_std"])
        loss = self.loss(student, teacher)
        loss = (loss if self.action_weights is None else loss * self.action_weights).mean(-1)
        if self._latent is not None:
            latent = arrange(self._student_taps[_LATENT].take()).flatten(batch["dones"].ndim)
            loss = loss + self._latent["weight"] * (latent - batch["teacher_latent"]).square().mean(-1)
        return loss
