"""Losses: the distance between the student's action and the expert label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple, TypedDict

import torch
from torch import nn

from foundation.distill.strategies import Registry, Strategy

SMALLEST_STD = 1e-6
"""Floor of a standard deviation, as in rsl_rl's distributions."""


class LatentMatching(TypedDict):
    """Which outputs of student and teacher are matched."""

    student: str
    """Name of a module of the student."""
    teacher: str
    """Name of a module of the teacher, of the same width."""
    weight: float
    """Factor on their mean squared difference."""


class Actions(NamedTuple):
    """Actions of one policy, or the Gaussians that they are the means of."""

    mean: torch.Tensor
    """Mean actions, shape (…, A)."""
    std: torch.Tensor | None = None
    """Standard deviations, shape (…, A); only for losses that read them."""


class Loss(Strategy):
    """The loss of every element of an action. Extend it to write one of your own."""

    reads_std: ClassVar[bool] = False
    """Whether both policies' standard deviations are needed; the teacher's is then stored with every label."""

    def __init__(self, options: Any = None) -> None:
        """Set up the loss.

        Args:
            options: The :class:`~foundation.distill.DaggerOptions`, for losses with options.
        """

    def __call__(self, student: Actions, teacher: Actions) -> torch.Tensor:
        """Return the loss of every element, shape (…, A)."""
        raise NotImplementedError


class MeanSquare(Loss):
    """Squared difference."""

    def __call__(self, student: Actions, teacher: Actions) -> torch.Tensor:
        """Return the squared difference of every element, shape (…, A)."""
        return nn.functional.mse_loss(student.mean, teacher.mean, reduction="none")


class Huber(Loss):
    """Huber's loss with a delta of 1, as torch has it."""

    def __call__(self, student: Actions, teacher: Actions) -> torch.Tensor:
        """Return Huber's loss of every element, shape (…, A)."""
        return nn.functional.huber_loss(student.mean, teacher.mean, reduction="none")


class GaussianKl(Loss):
    """KL(teacher || student) of two diagonal Gaussians: it also teaches the student the teacher's noise."""

    reads_std = True

    def __call__(self, student: Actions, teacher: Actions) -> torch.Tensor:
        """Return the divergence of every element, shape (…, A)."""
        assert student.std is not None
        assert teacher.std is not None
        # Padding has a standard deviation of zero, and the divergence would be infinite.
        return gaussian_kl(teacher.mean, teacher.std.clamp(min=SMALLEST_STD), student.mean, student.std)


LOSSES = Registry("loss_type", Loss, {"mse": MeanSquare, "huber": Huber, "kl": GaussianKl})


def gaussian_kl(
    mean_p: torch.Tensor, std_p: torch.Tensor, mean_q: torch.Tensor, std_q: torch.Tensor
) -> torch.Tensor:
    """Return KL(p || q) of two normal distributions, element by element.

    log(s_q / s_p) + (s_p^2 + (m_p - m_q)^2) / (2 s_q^2) - 1/2; Kullback and Leibler, 1951, for two Gaussians.
    """
    variance = std_q.square()
    return torch.log(std_q / std_p) + (std_p.square() + (mean_p - mean_q).square()) / (2.0 * variance) - 0.5


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
