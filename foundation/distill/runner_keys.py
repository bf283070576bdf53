"""The keys of a runner's configuration and of its models; misspelt and outdated ones are errors."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable
from typing import Any

from rsl_rl.utils import resolve_callable

from foundation.distill.log import logger

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
