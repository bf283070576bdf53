"""Facts that the algorithm reads from the runner and the environment, and checks of them."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel

from foundation.distill.algorithm.mixing import TeacherSchedule
from foundation.distill.log import logger
from foundation.distill.phases import TEACHER_PHASE

FORMER_KEYS = {
    "policy": "student and teacher, a model's configuration each",
    "empirical_normalization": "obs_normalization of student and teacher",
}
"""Keys of a runner's configuration in rsl_rl 3, and their names since rsl_rl 4."""

_CALLERS = 4
"""Callers to inspect: a subclass may override ``train_mode``."""


def check_runner_cfg(cfg: dict[str, Any]) -> None:
    """Refuse a configuration that was written for rsl_rl 3.

    Raises:
        ValueError: If it has keys of that version; the message says their present names.
    """
    former = [key for key in FORMER_KEYS if cfg.get(key) is not None]
    if former and ("policy" in former or "student" not in cfg):
        names = "; ".join(f"{key} is now {FORMER_KEYS[key]}" for key in former)
        raise ValueError(f"the runner's configuration is of rsl_rl 3: {names}")
    missing = [key for key in ("student", "teacher", "obs_groups") if key not in cfg]
    if missing:
        raise ValueError(
            f"the runner's configuration lacks {', '.join(missing)}; student and teacher configure the models, "
            "obs_groups names the observation groups of each"
        )


def require_noise(student: MLPModel) -> None:
    """Refuse a student without action noise, whose standard deviation rsl_rl's runner logs in every iteration.

    Raises:
        ValueError: If it has none, and no ``output_std`` of its own.
    """
    if getattr(student, "distribution", None) is None and type(student).output_std is MLPModel.output_std:
        raise ValueError(
            "student.distribution_cfg is None, but rsl_rl's runner logs a student's standard deviation; set it to "
            "{class_name: GaussianDistribution, init_std: 0.1}"
        )


def iterations_of_caller() -> tuple[int, int] | None:
    """Return the first iteration of the run that is about to begin, and the first one after it.

    rsl_rl's runner tells its algorithm neither; but its ``learn`` calls ``train_mode``, whose callers are
    inspected here. None if none of them is a runner's ``learn``.
    """
    frame = inspect.currentframe()
    for _ in range(_CALLERS):
        frame = frame and frame.f_back
        if frame is None:
            break
        count = frame.f_locals.get("num_learning_iterations")
        first = getattr(frame.f_locals.get("self"), "current_learning_iteration", None)
        if isinstance(first, int) and isinstance(count, int):
            return first, first + count
    return None


def warn_if_student_never_acts(phase1_iterations: float, schedule: TeacherSchedule, end: int) -> None:
    """Warn before a run of which only the teacher will act.

    Args:
        phase1_iterations: The option.
        schedule: Who acts, iteration by iteration.
        end: First iteration that is not run.
    """
    if schedule.phase(end - 1) == TEACHER_PHASE:
        logger.warning(
            f"[DAgger] the run ends before the student ever acts: phase1_iterations={phase1_iterations}, and the "
            f"last iteration is {end - 1}. So it never learns to correct its own errors; set phase1_iterations to "
            "a share of the run, such as 0.05, or train longer"
        )


def action_range(env: VecEnv) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the lowest and the highest action that an environment applies, as far as it says so.

    Read from ``clip_actions``, as Isaac Lab's and mjlab's wrappers have it, or from ``single_action_space`` or
    ``action_space``, as gymnasium's environments have it. None if there is neither, or no limit.
    """
    clip = getattr(env, "clip_actions", None)
    if isinstance(clip, (int, float)) and not isinstance(clip, bool):
        return torch.tensor(-float(clip)), torch.tensor(float(clip))
    for name in ("single_action_space", "action_space"):
        space = getattr(env, name, None) or getattr(getattr(env, "unwrapped", None), name, None)
        if getattr(space, "low", None) is None or getattr(space, "high", None) is None:
            continue
        low, high = (torch.as_tensor(getattr(space, side)).float() for side in ("low", "high"))
        if low.shape[-1:] == (env.num_actions,) and bool(torch.isfinite(low).all() & torch.isfinite(high).all()):
            return low.reshape(-1, env.num_actions)[0], high.reshape(-1, env.num_actions)[0]
    return None
