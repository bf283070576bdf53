"""The teacher that comes with the package."""

from __future__ import annotations

from pathlib import Path

_TEACHER = Path(__file__).parent / "point_ctrl" / "assets" / "teacher" / "best_model.pt"


def packaged_teacher() -> Path:
    """Return the checkpoint of the packaged teacher."""
    return _TEACHER


def is_packaged(checkpoint: Path) -> bool:
    """Return whether a checkpoint is the packaged teacher's."""
    return checkpoint.resolve() == _TEACHER.resolve()
