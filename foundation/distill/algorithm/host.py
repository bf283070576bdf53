"""Facts that the algorithm reads from the runner and the environment, and checks of them."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.models import MLPModel
from rsl_rl.utils import resolve_callable

from foundation.distill.algorithm.mixing import TeacherSchedule
from foundation.distill.log import logger
from foundation.distill.phases import TEACHER_PHASE

FORMER_KEYS = {
    "policy": "student and teacher, a model's configuration each",
    "empirical_normalization": "obs_normalization of student and teacher",
}
"""Keys of a runner's configuration in rsl_rl 3, and their names since rsl_rl 4."""

_OF_RSL_RL = (
    "algorithm student teacher actor critic obs_groups num_steps_per_env save_interval check_for_nan "
    "torch_compile_mode multi_gpu logger run_name wandb_project neptune_project"
)
_OF_THIS_PROJECT = (
    "seed max_iterations experiment_name keep_last keep_every cuda_graph anneal_from init_from init_noise_std "
    "critic_warmup_iterations"
)
_OF_HOSTS = "class_name device clip_actions resume load_run load_checkpoint upload_model wandb_tags"
"""Keys of Isaac Lab and mjlab, for their own scripts."""
RUNNER_KEYS = {*_OF_RSL_RL.split(), *_OF_THIS_PROJECT.split(), *_OF_HOSTS.split(), *FORMER_KEYS}
"""Keys of a runner's configuration that somebody reads."""
_LIKE_A_KNOWN_ONE = 0.75
"""Similarity from which an unknown key of a runner is a slip of the pen rather than one of the host's own."""

_CALLERS = 4
"""Callers to inspect: a subclass may override ``train_mode``."""


def check_runner_cfg(cfg: dict[str, Any]) -> None:
    """Refuse a configuration that was written for rsl_rl 3.

    Raises:
        ValueError: If it has keys of that version, lacks one, or has one that is misspelt; the message says the
            right names.
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
    check_keys(cfg, ("student", "teacher"))


def check_keys(cfg: dict[str, Any], models: Iterable[str]) -> None:
    """Refuse keys of a runner's configuration and of its models that are misspelt, before anything is built.

    A key of a runner that resembles no known one may be the host's own: it costs a warning. A model's key that is
    None and unknown to its class is removed, as hosts write them that have one set of keys for all classes.

    Args:
        cfg: The runner's configuration.
        models: Its sections that configure a model.

    Raises:
        ValueError: If there is such a key; the message has the nearest known one.
    """
    for key in cfg:
        near = difflib.get_close_matches(str(key), RUNNER_KEYS, n=1, cutoff=_LIKE_A_KNOWN_ONE)
        if key not in RUNNER_KEYS and near:
            raise ValueError(f"the runner's configuration has an unknown key {key!r}; did you mean {near[0]!r}?")
        if key not in RUNNER_KEYS:
            logger.warning(f"[DAgger] the runner's configuration has a key that nothing here reads: {key!r}")
    for name in models:
        cfg[name] = _checked(name, cfg[name], given=4)
        if cfg[name].get("distribution_cfg"):
            _checked(f"{name}.distribution_cfg", cfg[name]["distribution_cfg"], given=1)


def _checked(section: str, settings: dict[str, Any], given: int) -> dict[str, Any]:
    """Return the settings of a class without unknown ones that are None.

    Args:
        section: Name of the section, for messages.
        settings: ``class_name`` and arguments of the class.
        given: Number of first arguments that rsl_rl gives.
    """
    if "class_name" not in settings:
        raise ValueError(f"{section} has no class_name, only {', '.join(map(str, settings)) or 'nothing'}; set it")
    parameters = list(inspect.signature(resolve_callable(settings["class_name"])).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return settings
    known = ["class_name", *(parameter.name for parameter in parameters[given:])]
    for key, value in settings.items():
        if key not in known and value is not None:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
            raise ValueError(
                f"{section} has an unknown key {key!r}: {settings['class_name']} takes {', '.join(known[1:])}; "
                f"did you mean {near[0]!r}?"
            )
    return {key: value for key, value in settings.items() if key in known}


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
