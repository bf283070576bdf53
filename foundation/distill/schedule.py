"""Who drives the environment while data are collected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

TEACHER_PHASE = 1
"""The teacher's actions drive the environment."""
STUDENT_PHASE = 2
"""The student's actions drive the environment."""

RECIPROCAL = "1/(i+1)"
"""The schedule of reciprocals; ``reciprocal`` means the same and needs no quotes on a command line."""
SCHEDULES = ("two_stage", "linear", "exponential", "constant", "reciprocal", RECIPROCAL)
MIXINGS = ("episode", "step")


@dataclass(frozen=True)
class TeacherSchedule:
    """The probability that the teacher drives, as a function of the iteration i, and its closed form.

    ``two_stage``: 1 for i < n, then 0. ``linear``: max(0, 1 - i / n). ``exponential``: decay ** i.
    ``constant``: fraction. ``1/(i+1)``: that. Reference: Ross, Gordon and Bagnell, AISTATS 2011, section 3.
    """

    kind: str = "two_stage"
    """One of :data:`SCHEDULES`."""
    phase1_iterations: int = 0
    """n of ``two_stage`` and ``linear``; 0 leaves everything to the student."""
    decay: float = 1.0
    """Factor per iteration of ``exponential``."""
    fraction: float = 0.0
    """Share of ``constant``."""

    def __post_init__(self) -> None:
        """Check the number of iterations and the probabilities."""
        if self.kind not in SCHEDULES:
            raise ValueError(f"teacher_schedule must be one of {', '.join(SCHEDULES)}, got {self.kind!r}")
        if self.phase1_iterations < 0:
            raise ValueError(f"phase1_iterations must be at least 0, got {self.phase1_iterations}")
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f"teacher_decay must lie in [0, 1], got {self.decay}")
        if not 0.0 <= self.fraction <= 1.0:
            raise ValueError(f"teacher_fraction must lie in [0, 1], got {self.fraction}")

    def teacher_probability(self, iteration: int) -> float:
        """Return the probability that the teacher drives in an iteration."""
        if self.kind == "two_stage":
            return 1.0 if iteration < self.phase1_iterations else 0.0
        if self.kind == "linear":
            return max(0.0, 1.0 - iteration / self.phase1_iterations) if self.phase1_iterations else 0.0
        if self.kind == "exponential":
            return self.decay**iteration
        if self.kind == "constant":
            return self.fraction
        return 1.0 / (iteration + 1)

    def phase(self, iteration: int) -> int:
        """Return 1 while only the teacher drives and 2 from the iteration in which the student takes part."""
        return TEACHER_PHASE if self.teacher_probability(iteration) == 1.0 else STUDENT_PHASE

    def switches_at(self, iteration: int) -> bool:
        """Return whether the student takes over from the teacher at the start of this iteration."""
        return self.kind == "two_stage" and 0 < self.phase1_iterations == iteration


class Driver:
    """Decides for every environment and step whose action is applied."""

    def __init__(
        self,
        schedule: TeacherSchedule,
        num_envs: int,
        device: torch.device | str,
        mixing: str = "episode",
        disagreement_threshold: float | None = None,
    ) -> None:
        """Begin with every environment at the beginning of an episode.

        Args:
            schedule: Probability that the teacher drives.
            num_envs: Number of environments N.
            device: Device of the actions.
            mixing: ``episode`` draws the driver when an episode begins, ``step`` in every step.
            disagreement_threshold: The teacher also drives where the Euclidean distance of the two actions
                exceeds this [units of the actions]; None has no such gate.
        """
        self.schedule = schedule
        self.mixing = mixing
        self.disagreement_threshold = disagreement_threshold
        with torch.inference_mode(False):
            self._teacher_drives = torch.zeros(num_envs, dtype=torch.bool, device=device)
            self._begins = torch.ones(num_envs, dtype=torch.bool, device=device)

    def drives_alone(self, iteration: int) -> int | None:
        """Return the phase whose policy drives a whole iteration; None if each step decides that."""
        probability = self.schedule.teacher_probability(iteration)
        if probability not in (0.0, 1.0) or self.disagreement_threshold is not None:
            return None
        return TEACHER_PHASE if probability else STUDENT_PHASE

    def choose(
        self, iteration: int, student_actions: torch.Tensor, teacher_actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the actions to apply (N, A) and where they are the teacher's, bool (N,)."""
        probability = self.schedule.teacher_probability(iteration)
        if probability in (0.0, 1.0):
            # No random number is used up.
            self.drove_alone(TEACHER_PHASE if probability else STUDENT_PHASE)
            alone = self.drives_alone(iteration)
            if alone is not None:
                return (teacher_actions if alone == TEACHER_PHASE else student_actions), self._teacher_drives
        else:
            drawn = torch.rand(len(self._begins), device=self._begins.device) < probability
            renewed = self._begins if self.mixing == "episode" else torch.ones_like(self._begins)
            self._teacher_drives.copy_(torch.where(renewed, drawn, self._teacher_drives))
        teacher_drives = self._teacher_drives
        if self.disagreement_threshold is not None:
            distance = (student_actions - teacher_actions).norm(dim=-1)
            teacher_drives = teacher_drives | (distance > self.disagreement_threshold)
        actions = torch.where(teacher_drives[:, None], teacher_actions, student_actions)
        return actions, teacher_drives

    def drove_alone(self, phase: int) -> None:
        """Forget whatever was drawn when an episode began: the policy of this phase drives."""
        self._teacher_drives.fill_(phase == TEACHER_PHASE)

    def episodes_ended(self, dones: torch.Tensor) -> None:
        """Take note of the environments, (N,), that begin a new episode in the next step."""
        self._begins.copy_(dones.view(-1) > 0)

    def state_dict(self) -> dict[str, Any]:
        """Return what the next choice reads."""
        return {"teacher_drives": self._teacher_drives.clone(), "begins": self._begins.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self._teacher_drives.copy_(state["teacher_drives"])
        self._begins.copy_(state["begins"])
