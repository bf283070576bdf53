"""Who drives the environment while data are collected."""

from __future__ import annotations

from dataclasses import dataclass

TEACHER_PHASE = 1
"""The teacher's actions drive the environment."""
STUDENT_PHASE = 2
"""The student's actions drive the environment."""


@dataclass(frozen=True)
class TwoStageSchedule:
    """The teacher drives iterations 0 ... phase1_iterations - 1, the student all later ones."""

    phase1_iterations: int
    """Number of iterations that the teacher drives; 0 leaves everything to the student."""

    def __post_init__(self) -> None:
        """Check the number of iterations."""
        if self.phase1_iterations < 0:
            raise ValueError(f"phase1_iterations must be at least 0, got {self.phase1_iterations}")

    def phase(self, iteration: int) -> int:
        """Return the phase, 1 or 2, that an iteration belongs to."""
        return TEACHER_PHASE if iteration < self.phase1_iterations else STUDENT_PHASE

    def switches_at(self, iteration: int) -> bool:
        """Return whether the student takes over from the teacher at the start of this iteration."""
        return 0 < self.phase1_iterations == iteration
