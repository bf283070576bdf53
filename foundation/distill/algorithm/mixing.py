"""Mixing of teacher and student: the schedule of beta_i, and who acts in every environment and step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from foundation.distill.phases import STUDENT_PHASE, TEACHER_PHASE
from foundation.distill.strategies import Registry, Strategy

RECIPROCAL = "1/(i+1)"
"""The schedule of reciprocals; ``reciprocal`` is the same, and needs no quotes on a command line."""


class Schedule(Strategy):
    """The probability beta_i that the teacher acts in iteration i. Extend it to write one of your own."""

    is_two_stage: ClassVar[bool] = False
    """Whether each iteration belongs to one policy alone and the student takes over once, for good."""

    def __init__(self, settings: TeacherSchedule) -> None:
        """Keep the settings: ``phase1_iterations``, ``decay`` and ``fraction``."""
        self.settings = settings

    def teacher_probability(self, iteration: int) -> float:
        """Return beta_i, from 0 to 1."""
        raise NotImplementedError


class TwoStage(Schedule):
    """1 for i < n, then 0, with n the ``phase1_iterations``."""

    is_two_stage = True

    def teacher_probability(self, iteration: int) -> float:
        """Return 1 in phase 1 and 0 in phase 2."""
        return 1.0 if iteration < self.settings.phase1_iterations else 0.0


class Linear(Schedule):
    """max(0, 1 - i / n), with n the ``phase1_iterations``."""

    @classmethod
    def check(cls, options: Any) -> None:
        """Check that there is an iteration to begin with."""
        if options.phase1_iterations == 0:
            raise ValueError("teacher_schedule=linear needs phase1_iterations of at least 1, got 0")

    def teacher_probability(self, iteration: int) -> float:
        """Return a straight line from 1 to 0."""
        last = self.settings.phase1_iterations
        return max(0.0, 1.0 - iteration / last) if last else 0.0


class Exponential(Schedule):
    """``teacher_decay`` ** i."""

    needs = ("teacher_decay",)

    def teacher_probability(self, iteration: int) -> float:
        """Return a power of the decay."""
        return self.settings.decay**iteration


class Constant(Schedule):
    """``teacher_fraction``."""

    needs = ("teacher_fraction",)

    def teacher_probability(self, iteration: int) -> float:
        """Return the fraction."""
        return self.settings.fraction


class Reciprocal(Schedule):
    """1 / (i + 1)."""

    def teacher_probability(self, iteration: int) -> float:
        """Return the reciprocal of the iteration's number, counted from 1."""
        return 1.0 / (iteration + 1)


SCHEDULES = Registry(
    "teacher_schedule",
    Schedule,
    {
        "two_stage": TwoStage,
        "linear": Linear,
        "exponential": Exponential,
        "constant": Constant,
        "reciprocal": Reciprocal,
        RECIPROCAL: Reciprocal,
    },
)


@dataclass(frozen=True)
class TeacherSchedule:
    """The probability that the teacher acts, as a function of the iteration, and the phases that follow from it.

    Reference: Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to no-regret
    online learning", AISTATS 2011, section 3.
    """

    kind: str = "two_stage"
    """``two_stage``, ``linear``, ``exponential``, ``constant``, ``reciprocal``, or ``module:Class``."""
    phase1_iterations: int = 0
    """n of ``two_stage`` and ``linear``; with 0 only the student acts."""
    decay: float = 1.0
    """Factor per iteration of ``exponential``."""
    fraction: float = 0.0
    """Probability of ``constant``."""
    schedule: Schedule = field(init=False, repr=False, compare=False)
    """The strategy of this kind."""

    def __post_init__(self) -> None:
        """Check the number of iterations and the probabilities."""
        if self.phase1_iterations < 0:
            raise ValueError(f"phase1_iterations must be at least 0, got {self.phase1_iterations}")
        if not 0.0 <= self.decay <= 1.0:
            raise ValueError(f"teacher_decay must lie in [0, 1], got {self.decay}")
        if not 0.0 <= self.fraction <= 1.0:
            raise ValueError(f"teacher_fraction must lie in [0, 1], got {self.fraction}")
        object.__setattr__(self, "schedule", SCHEDULES.find(self.kind)(self))

    @property
    def is_two_stage(self) -> bool:
        """Whether each iteration belongs to one policy alone and the student takes over once, for good."""
        return self.schedule.is_two_stage

    def teacher_probability(self, iteration: int) -> float:
        """Return the probability that the teacher acts in an iteration.

        Raises:
            ValueError: If a schedule of yours returns anything else.
        """
        probability = self.schedule.teacher_probability(iteration)
        if not 0.0 <= probability <= 1.0:
            raise ValueError(
                f"teacher_schedule={self.kind} gave {probability} in iteration {iteration}, not in [0, 1]"
            )
        return probability

    def phase(self, iteration: int) -> int:
        """Return 1 while the teacher always acts, and 2 from the iteration in which the student takes part."""
        return TEACHER_PHASE if self.teacher_probability(iteration) == 1.0 else STUDENT_PHASE

    def switches_at(self, iteration: int) -> bool:
        """Return whether the student takes over from the teacher at the start of this iteration."""
        return self.is_two_stage and 0 < self.phase1_iterations == iteration


class Mixing(Strategy):
    """When the acting policy is drawn again. Extend it to write one of your own."""

    def redraws(self, begins: torch.Tensor) -> torch.Tensor:
        """Return where to draw the acting policy before this step, bool (N,).

        Args:
            begins: Where an episode begins in this step, bool (N,).
        """
        raise NotImplementedError


class PerEpisode(Mixing):
    """The policy that is drawn at the beginning of an episode acts until its end."""

    def redraws(self, begins: torch.Tensor) -> torch.Tensor:
        """Return where an episode begins."""
        return begins


class PerStep(Mixing):
    """Every step is drawn independently."""

    def redraws(self, begins: torch.Tensor) -> torch.Tensor:
        """Return all environments."""
        return torch.ones_like(begins)


MIXINGS = Registry("teacher_mixing", Mixing, {"episode": PerEpisode, "step": PerStep})


class ActionMixer:
    """Chooses, for every environment and step, whose action is applied."""

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
            schedule: Probability that the teacher acts.
            num_envs: Number of environments N.
            device: Device of the actions.
            mixing: ``episode`` draws the acting policy when an episode begins, ``step`` in every step.
            disagreement_threshold: The teacher also acts where the Euclidean distance of the two actions exceeds
                this [units of the actions]; None has no such gate.
        """
        self.schedule = schedule
        self.mixing: Mixing = MIXINGS.find(mixing)()
        self.disagreement_threshold = disagreement_threshold
        with torch.inference_mode(False):
            self._teacher_acts = torch.zeros(num_envs, dtype=torch.bool, device=device)
            self._begins = torch.ones(num_envs, dtype=torch.bool, device=device)

    def acts_alone(self, iteration: int) -> int | None:
        """Return the phase whose policy acts throughout an iteration; None if that is decided in each step."""
        probability = self.schedule.teacher_probability(iteration)
        if probability not in (0.0, 1.0) or self.disagreement_threshold is not None:
            return None
        return TEACHER_PHASE if probability else STUDENT_PHASE

    def choose(
        self, iteration: int, student_actions: torch.Tensor, teacher_actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the actions to apply (N, A), and where they are the teacher's, bool (N,)."""
        probability = self.schedule.teacher_probability(iteration)
        if probability in (0.0, 1.0):
            # Draw nothing: the random numbers of a run without mixing must not depend on it.
            self.set_acting(TEACHER_PHASE if probability else STUDENT_PHASE)
            alone = self.acts_alone(iteration)
            if alone is not None:
                return (teacher_actions if alone == TEACHER_PHASE else student_actions), self._teacher_acts
        else:
            drawn = torch.rand(len(self._begins), device=self._begins.device) < probability
            redraws = self.mixing.redraws(self._begins)
            self._teacher_acts.copy_(torch.where(redraws, drawn, self._teacher_acts))
        teacher_acts = self._teacher_acts
        if self.disagreement_threshold is not None:
            distance = (student_actions - teacher_actions).norm(dim=-1)
            teacher_acts = teacher_acts | (distance > self.disagreement_threshold)
        return torch.where(teacher_acts[:, None], teacher_actions, student_actions), teacher_acts

    def set_acting(self, phase: int) -> None:
        """Let the policy of this phase act everywhere, whatever was drawn when an episode began."""
        self._teacher_acts.fill_(phase == TEACHER_PHASE)

    def episodes_ended(self, dones: torch.Tensor) -> None:
        """Register the environments, (N,), that begin an episode in the next step."""
        self._begins.copy_(dones.view(-1) > 0)

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next choice reads."""
        return {"teacher_drives": self._teacher_acts.clone(), "begins": self._begins.clone()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore a state of :meth:`state_dict`."""
        self._teacher_acts.copy_(state["teacher_drives"])
        self._begins.copy_(state["begins"])
