"""Short runs that the command line's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation.cli import train

SHORT = ["agent.num_steps_per_env=10"]


def newest_run(root: Path, experiment: str) -> Path:
    return max((root / "logs" / "rsl_rl" / experiment).iterdir(), key=lambda path: path.stat().st_mtime_ns)


@pytest.fixture(scope="session")
def workspace(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="session")
def teacher_run(workspace) -> Path:
    """A run of task point_ctrl with a network that is not the default one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        train.main(
            [
                "--task",
                "point_ctrl",
                "--num_envs",
                "8",
                "--max_iterations",
                "3",
                *SHORT,
                "agent.actor.hidden_dims=[16,8]",
            ]
        )
    return newest_run(workspace, "point_ctrl_direct")


@pytest.fixture(scope="session")
def student_run(workspace, teacher_run) -> Path:
    """A run of task distillation from that teacher: two iterations of each phase."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        train.main(distillation_flags(teacher_run))
    return newest_run(workspace, "distillation")


def distillation_flags(teacher_run: Path, *more: str) -> list[str]:
    return [
        "--task", "distillation", "--num_envs", "8", "--max_iterations", "4",
        "--checkpoint", str(teacher_run / "best_model.pt"),
        *SHORT, "agent.algorithm.phase1_iterations=2", "agent.algorithm.max_updates_per_iteration=3", *more,
    ]  # fmt: skip
