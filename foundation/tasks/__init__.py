"""Registry of tasks. Importing it imports none of them."""

from __future__ import annotations

import difflib
from typing import Any

from foundation.tasks.config import resolve
from foundation.tasks.packaged import (
    EXPERT,
    is_packaged,
    packaged_policy,
    packaged_student,
    packaged_teacher,
)
from foundation.tasks.saved_params import ConfigError
from foundation.tasks.task_spec import TaskSpec

__all__ = [
    "EXPERT",
    "TASKS",
    "TaskSpec",
    "create_env",
    "is_packaged",
    "load_task",
    "packaged_policy",
    "packaged_student",
    "packaged_teacher",
]


_POINT_CTRL = "foundation.tasks.point_ctrl"
_FOUNDATION = "foundation.tasks.foundation"
_TRACKING = "foundation.tasks.tracking"

TASKS = {
    "point_ctrl": TaskSpec(
        env=f"{_POINT_CTRL}.point_ctrl_env:PointCtrlEnv",
        env_cfg=f"{_POINT_CTRL}.point_ctrl_env_cfg:teacher_env_cfg",
        agent_cfg=f"{_POINT_CTRL}.agents.rsl_rl_ppo_cfg:teacher_runner_cfg",
        runner="foundation.distill.runners.ppo:PpoRunner",
    ),
    "distillation": TaskSpec(
        env=f"{_POINT_CTRL}.point_ctrl_env:PointCtrlEnv",
        env_cfg=f"{_POINT_CTRL}.point_ctrl_env_cfg:student_env_cfg",
        agent_cfg=f"{_POINT_CTRL}.agents.rsl_rl_ppo_cfg:student_runner_cfg",
        runner="foundation.distill.runners.dagger:DaggerRunner",
    ),
    "foundation": TaskSpec(
        env=f"{_POINT_CTRL}.point_ctrl_env:PointCtrlEnv",
        env_cfg=f"{_FOUNDATION}.foundation_env_cfg:foundation_env_cfg",
        agent_cfg=f"{_FOUNDATION}.foundation_agent_cfg:foundation_runner_cfg",
        runner="foundation.distill.runners.dagger:DaggerRunner",
    ),
    "tracking": TaskSpec(
        env=f"{_POINT_CTRL}.point_ctrl_env:PointCtrlEnv",
        env_cfg=f"{_TRACKING}.tracking_env_cfg:tracking_env_cfg",
        agent_cfg=f"{_TRACKING}.tracking_agent_cfg:tracking_runner_cfg",
        runner="foundation.distill.runners.dagger:DaggerRunner",
    ),
}
"""All tasks."""


def load_task(name: str) -> TaskSpec:
    """Return a task by name.

    Raises:
        ConfigError: If there is no such task.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown task {name!r}, expected one of {', '.join(TASKS)}{hint}")
    return TASKS[name]


def create_env(task: str, env_cfg: Any, device: str, seed: int) -> Any:
    """Return the environment of a task for a composed configuration.

    Raises:
        ConfigError: If the configuration or the seed cannot work.
        UsdVehicleError: If the USD file does not describe a quadrotor.
    """
    from foundation.sim.usd import UsdVehicleError

    if seed < 0:
        raise ConfigError(f"seed must be at least 0, got {seed}")
    try:
        return resolve(load_task(task).env)(env_cfg, device, seed)
    except UsdVehicleError:
        raise
    except ValueError as error:
        raise ConfigError(f"env: {error}") from error
