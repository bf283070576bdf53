"""Console lines are rendered from an iteration's report, in the documented words."""

from __future__ import annotations

import pytest

from foundation.distill.runners.report import IterationReport, render_status

DAGGER = {"rollout_size": 10_000, "buffer_size": 1_000_000, "max_buffer_size": 1_000_000}


@pytest.mark.parametrize(
    ("report", "lines"),
    [
        (
            IterationReport(100, 1500, 1, 500, teacher_probability=1.0, **DAGGER),
            "Training Phase: Phase 1 (teacher actions)\n"
            "Phase Iteration: 100/500 (Phase 1)\n\n"
            "[DAgger] Aggregated 10000 transitions. Total buffer size: 1000000/1000000\n\n",
        ),
        (
            IterationReport(600, 1500, 2, 500, teacher_probability=0.0),
            "Training Phase: Phase 2 (student actions)\nPhase Iteration: 100/1000 (Phase 2)\n\n",
        ),
        (
            IterationReport(2, 10, 2, 10, "linear", 0.8, rows_held_back=7, **DAGGER),
            "Training Phase: linear schedule (teacher drives with probability 0.800)\n\n"
            "[DAgger] Aggregated 10000 transitions. Total buffer size: 1000000/1000000\n"
            "[DAgger] 7 rows wait for their episodes to end\n\n",
        ),
        (
            IterationReport(1, 9, warmup_iterations=3),
            "Critic Warm-up: 1/3 (the actor is frozen)\n\n",
        ),
        (IterationReport(3, 9, warmup_iterations=3), ""),
    ],
)
def test_every_kind_of_iteration_has_its_lines(report, lines):
    assert render_status(report) == lines
