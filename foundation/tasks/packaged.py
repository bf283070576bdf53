"""The policies that come with the package."""

from __future__ import annotations

from pathlib import Path

_TASKS = Path(__file__).parent
_TEACHER = _TASKS / "point_ctrl" / "assets" / "teacher" / "best_model.pt"
WITH_STUDENT = ("foundation", "tracking")
"""Tasks that come with a student; the others fly the packaged teacher."""
EXPERT = "expert"
"""Stands for the actions that the environment's expert computes where a checkpoint is asked for."""


def packaged_teacher() -> Path:
    """Return the checkpoint of the packaged teacher."""
    return _TEACHER


def packaged_student(task: str = "foundation") -> Path:
    """Return the checkpoint of the packaged student of a task in :data:`WITH_STUDENT`."""
    return _TASKS / task / "assets" / "student" / "best_model.pt"


def packaged_policy(task: str) -> Path:
    """Return the packaged policy that flies a task where there are no runs yet."""
    return packaged_student(task) if task in WITH_STUDENT else _TEACHER


def is_packaged(checkpoint: Path) -> bool:
    """Return whether a policy came with the package."""
    return str(checkpoint) == EXPERT or checkpoint.resolve().is_relative_to(_TASKS.resolve())
