"""Who drives, against the closed form."""

from __future__ import annotations

import pytest

from foundation.distill import TeacherSchedule


def test_the_teacher_drives_exactly_the_first_iterations():
    schedule = TeacherSchedule("two_stage", 3)
    assert [schedule.phase(i) for i in range(6)] == [1, 1, 1, 2, 2, 2]
    assert [schedule.switches_at(i) for i in range(6)] == [False, False, False, True, False, False]


def test_without_a_first_phase_the_student_drives_and_nothing_switches():
    schedule = TeacherSchedule("two_stage", 0)
    assert [schedule.phase(i) for i in range(3)] == [2, 2, 2]
    assert not any(schedule.switches_at(i) for i in range(3))


def test_a_negative_phase_is_refused():
    with pytest.raises(ValueError, match="phase1_iterations must be at least 0, got -1"):
        TeacherSchedule("two_stage", -1)
