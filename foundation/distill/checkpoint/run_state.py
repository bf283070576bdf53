"""Every part of a resumable run, as tensors and plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class _State:
    """Parts by name; a part that is added here is saved, and has to be given by whoever makes the state."""

    def to_dict(self) -> dict[str, Any]:
        """Return the parts by name, without copying them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True)
class AlgorithmState(_State):
    """The parts of :class:`~foundation.distill.DaggerDistillation` that are not in ``model_<iteration>.pt``."""

    aggregation: dict[str, Any] | None
    """The aggregated history without its rows, and pending parts of earlier rollouts; None without DAgger."""
    student_hidden: Any
    """Hidden state of a recurrent student."""
    teacher_hidden: Any
    """Hidden state of a recurrent teacher, or a list of them."""
    update_hidden: Any
    """Hidden state with which rsl_rl's own update begins."""
    driver: dict[str, Any]
    """The policy that drives each environment."""
    assignment: Any
    """Number of each environment's teacher (N,); None with one teacher."""
    action_range: list[Any] | None
    """Lowest and highest action that the environment applies, each a number or a list (A,); None if unknown."""

    def to_dict(self) -> dict[str, Any]:
        """Return the parts by name; an environment that does not tell its range leaves no trace."""
        parts = super().to_dict()
        if self.action_range is None:
            del parts["action_range"]
        return parts


@dataclass(frozen=True)
class RunState(_State):
    """The parts of every run besides ``model_<iteration>.pt`` and the files with the history's rows."""

    rng: dict[str, Any]
    """All global random generators."""
    env: Any
    """The environment's ``state_dict``; None if it has none."""
    env_training: dict[str, Any]
    """What of the environment outlives its episodes, such as counters that curricula read, by name."""
    counters: dict[str, Any]
    """Steps, seconds and the last episodes, as the logger counts them."""
    episodes: dict[str, Any]
    """Return and length so far of the episodes under way."""
    best_mean_reward: float
    """Mean return of ``best_model.pt``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the parts by name; an environment that tells nothing besides its state leaves no trace."""
        parts = super().to_dict()
        if not self.env_training:
            del parts["env_training"]
        return parts


@dataclass(frozen=True)
class DaggerRunState(RunState):
    """The parts of a distillation run."""

    algorithm: dict[str, Any]
    """The fields of :class:`AlgorithmState`."""
    student_iterations: int
    """Iterations that the student has driven in a row."""


@dataclass(frozen=True)
class PpoRunState(RunState):
    """The parts of a PPO run."""

    hidden: list[Any]
    """Hidden states of actor and critic."""
    learning_rate: float
    """Learning rate of the adaptive schedule."""
