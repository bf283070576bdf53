"""The report of one iteration, and the lines that are printed of it."""

from __future__ import annotations

from dataclasses import dataclass

from foundation.distill.phases import TEACHER_PHASE


@dataclass(frozen=True)
class IterationReport:
    """An iteration that has ended."""

    iteration: int
    """Its number, from 0."""
    total: int
    """Number of the first iteration that will not be run."""
    phase: int | None = None
    """1 while only the teacher acts, then 2; None in a run without a teacher."""
    phase1_iterations: int = 0
    """Length of phase 1, if the schedule has two stages."""
    schedule: str | None = None
    """Name of the schedule if it is not ``two_stage``."""
    teacher_probability: float | None = None
    """Probability that the teacher acts; None in a run without a teacher."""
    rollout_size: int = 0
    """Transitions of the iteration's rollout."""
    buffer_size: int | None = None
    """Transitions in the history; None without one."""
    max_buffer_size: int = 0
    """Largest size of the history [transitions]."""
    rows_held_back: int | None = None
    """Rows whose episodes have not ended; None without a filter."""
    warmup_iterations: int = 0
    """Length of the critic's warm-up in a PPO run."""
    loss: float | None = None
    """Behaviour-cloning loss, if there is one."""
    reward: float | None = None
    """Mean return of the last episodes; None before the first."""
    console: str = ""
    """Everything that rsl_rl and the runner print of the iteration."""

    @property
    def phase_name(self) -> str:
        """The phase in short, such as ``Phase 1``; empty in a PPO run after the critic's warm-up."""
        if self.schedule is not None:
            return f"{self.schedule} schedule"
        if self.phase is not None:
            return f"Phase {self.phase}"
        in_warmup = self.iteration < self.warmup_iterations
        return f"Critic Warm-up: {self.iteration}/{self.warmup_iterations}" if in_warmup else ""

    @property
    def phase_description(self) -> str:
        """The phase and who acts in it, such as ``Phase 1 (teacher actions)``; empty like :attr:`phase_name`."""
        if not self.phase_name:
            return ""
        if self.phase is None:
            who = "the actor is frozen"
        elif self.schedule is not None:
            who = f"teacher drives with probability {self.teacher_probability:.3f}"
        else:
            who = "teacher actions" if self.phase == TEACHER_PHASE else "student actions"
        return f"{self.phase_name} ({who})"


def render_status(report: IterationReport) -> str:
    """Return the lines to print under an iteration's header; their wording is public interface."""
    if report.phase is None:
        return f"{report.phase_description}\n\n" if report.phase_description else ""
    lines = [f"Training Phase: {report.phase_description}"]
    if report.schedule is None:
        first = report.phase1_iterations
        done, of = (0, first) if report.phase == TEACHER_PHASE else (first, report.total - first)
        lines.append(f"Phase Iteration: {report.iteration - done}/{of} (Phase {report.phase})")
    return "\n".join([*lines, "", *_history_lines(report)]) + "\n"


def _history_lines(report: IterationReport) -> list[str]:
    if report.buffer_size is None:
        return []
    lines = [
        f"[DAgger] Aggregated {report.rollout_size} transitions. "
        f"Total buffer size: {report.buffer_size}/{report.max_buffer_size}"
    ]
    if report.rows_held_back is not None:
        lines.append(f"[DAgger] {report.rows_held_back} rows wait for their episodes to end")
    return [*lines, ""]
