"""The two phases of training, as they are stored with every transition."""

from __future__ import annotations

TEACHER_PHASE = 1
"""The teacher's actions drive the environment."""
STUDENT_PHASE = 2
"""The student's actions drive the environment."""
