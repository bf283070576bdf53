"""The keys of a runner's configuration and of its models; misspelt and outdated ones are errors."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from rsl_rl.utils import resolve_callable

from foundation.distill.log import logger

FORMER_KEYS = {
    "policy": "{} and {}, a model's configuration each",
    "empirical_normalization": "obs_normalization of {} and {}",
}
"""Keys of a runner's configuration in rsl_rl 3, and their names since rsl_rl 4, of both models."""
_NOISE = "since rsl_rl 5 it is {} of distribution_cfg"
_MODEL_HINTS = {
    "init_noise_std": _NOISE.format("init_std"),
    "noise_std_type": _NOISE.format("std_type"),
    "state_dependent_std": _NOISE.format("class_name=HeteroscedasticGaussianDistribution"),
    "stochastic": "since rsl_rl 5 a model is stochastic if it has a distribution_cfg",
    "actor_hidden_dims": "since rsl_rl 4 it is hidden_dims",
    "student_hidden_dims": "since rsl_rl 4 it is hidden_dims",
    "teacher_hidden_dims": "since rsl_rl 4 it is hidden_dims",
    "critic_hidden_dims": "since rsl_rl 4 it is hidden_dims",
    **dict.fromkeys(("rnn_type", "rnn_hidden_dim", "rnn_num_layers"), "it needs class_name=RNNModel"),
    "cnn_cfg": "it needs class_name=CNNModel",
    **dict.fromkeys(("encoder_dims", "skip_connection"), "it needs class_name=foundation.distill:EncoderRnnModel"),
}
"""Keys of models in earlier versions and other classes, and what to do about them."""
_LOGGERS = ("tensorboard", "wandb", "neptune")
_OBS_SETS = ("student", "teacher", "actor", "critic", "rnd_state")
"""Keys of ``obs_groups`` that rsl_rl reads."""

_OF_RSL_RL = (
    "algorithm student teacher actor critic obs_groups num_steps_per_env save_interval check_for_nan "
    "torch_compile_mode multi_gpu logger run_name wandb_project neptune_project"
)
_OF_THIS_PROJECT = (
    "seed max_iterations experiment_name keep_last keep_every cuda_graph anneal_from init_from init_noise_std "
    "critic_warmup_iterations"
)
_OF_HOSTS = (
    "class_name device clip_actions resume load_run load_checkpoint init_at_random_ep_len upload_model wandb_tags"
)
"""Keys of Isaac Lab and mjlab, for their own scripts."""
RUNNER_KEYS = {*_OF_RSL_RL.split(), *_OF_THIS_PROJECT.split(), *_OF_HOSTS.split(), *FORMER_KEYS}
"""Keys of a runner's configuration that somebody reads."""
_UNSET: tuple[Any, ...] = (None, {})
"""What former keys hold that are not set; Isaac Lab writes its marker of a missing value as {}."""
_LIKE_A_KNOWN_ONE = 0.75
"""Similarity from which an unknown key of a runner is a slip of the pen rather than one of the host's own."""


def check_runner_cfg(cfg: dict[str, Any], models: tuple[str, str] = ("student", "teacher")) -> None:
    """Refuse a runner's configuration that cannot work, before anything is built.

    Args:
        cfg: The configuration; keys of models that have no effect are removed.
        models: Its sections that configure a model.

    Raises:
        ValueError: If it has keys of rsl_rl 3, lacks one, has one that is misspelt, or a value that cannot work;
            the message says the right names.
    """
    former = [key for key in FORMER_KEYS if cfg.get(key) not in _UNSET]
    first, second = models
    if former and ("policy" in former or first not in cfg):
        names = "; ".join(f"{key} is now {FORMER_KEYS[key].format(first, second)}" for key in former)
        raise ValueError(f"the runner's configuration is of rsl_rl 3: {names}")
    missing = [key for key in (*models, "obs_groups", "num_steps_per_env") if key not in cfg]
    if missing:
        raise ValueError(
            f"the runner's configuration lacks {', '.join(missing)}; {first} and {second} configure the models, "
            "obs_groups names the observation groups of each, num_steps_per_env is the length of a rollout"
        )
    _check_keys(cfg)
    _check_values(cfg)
    _check_obs_groups(cfg["obs_groups"], models)
    for name in models:
        cfg[name] = _checked(name, cfg[name], given=4)
        if cfg[name].get("distribution_cfg"):
            _checked(f"{name}.distribution_cfg", cfg[name]["distribution_cfg"], given=1)
    wanted = cfg.get("empirical_normalization")
    if wanted not in _UNSET and any(bool(cfg[name].get("obs_normalization")) != wanted for name in models):
        logger.warning(
            f"[DAgger] empirical_normalization={wanted} has no effect: it is now "
            f"{FORMER_KEYS['empirical_normalization'].format(first, second)}"
        )


def _check_keys(cfg: dict[str, Any]) -> None:
    """Refuse misspelt keys. One that resembles no known key may be the host's own: it costs a warning."""
    for key in cfg:
        near = difflib.get_close_matches(str(key), RUNNER_KEYS, n=1, cutoff=_LIKE_A_KNOWN_ONE)
        if key not in RUNNER_KEYS and near:
            raise ValueError(f"the runner's configuration has an unknown key {key!r}; did you mean {near[0]!r}?")
        if key not in RUNNER_KEYS:
            logger.warning(f"[DAgger] the runner's configuration has a key that nothing here reads: {key!r}")


def _check_values(cfg: dict[str, Any]) -> None:
    for key in ("num_steps_per_env", "save_interval"):
        value = cfg.get(key, 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{key} must be a whole number of at least 1, got {value!r}")
    service = cfg.get("logger")
    if isinstance(service, str) and service not in _LOGGERS:
        raise ValueError(f"logger must be one of {', '.join(_LOGGERS)}, or have a class_name, got {service!r}")


def _check_obs_groups(obs_groups: Any, models: tuple[str, str]) -> None:
    """Refuse names that are no lists, and groups of nobody where those of a model are missing."""
    if not isinstance(obs_groups, Mapping):
        raise ValueError(
            f"obs_groups must name the observation groups of {' and '.join(models)}, got {obs_groups!r}"
        )
    for name, groups in obs_groups.items():
        if isinstance(groups, str) or not isinstance(groups, Sequence):
            raise ValueError(f"obs_groups[{name!r}] must be a list of names, such as [{name!r}], got {groups!r}")
    missing = [name for name in models if name not in obs_groups]
    unread = [name for name in obs_groups if name not in _OBS_SETS]
    if missing and unread:
        raise ValueError(
            f"obs_groups has no groups for {missing[0]!r}, but for {unread[0]!r}, which nothing reads; rename that"
        )


def _checked(section: str, settings: Any, given: int) -> dict[str, Any]:
    """Return the settings of a class without keys that are None and unknown to it.

    Hosts that have one set of keys for all classes write such keys.

    Args:
        section: Name of the section, for messages.
        settings: ``class_name`` and arguments of the class.
        given: Number of first arguments that rsl_rl gives.
    """
    if not isinstance(settings, Mapping):
        raise ValueError(f"{section} must be a configuration with class_name, got {settings!r}")
    if "class_name" not in settings:
        raise ValueError(f"{section} has no class_name, only {', '.join(map(str, settings)) or 'nothing'}; set it")
    parameters = list(inspect.signature(_class_of(section, settings["class_name"])).parameters.values())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return settings  # pyright: ignore
    known = ["class_name", *(parameter.name for parameter in parameters[given:])]
    for key, value in settings.items():
        if key not in known and value is not None:
            near = difflib.get_close_matches(str(key), known, n=1)
            way = f"did you mean {near[0]!r}?" if near else "leave it out"
            raise ValueError(
                f"{section} has an unknown key {key!r}: {settings['class_name']} takes {', '.join(known[1:])}; "
                f"{_MODEL_HINTS.get(key, way)}"
            )
    if settings.get("hidden_dims") is not None:
        optional = any(one.name == "hidden_dims" and one.default == () for one in parameters)
        _check_layers(section, settings["hidden_dims"], optional)
    return {key: value for key, value in settings.items() if key in known}


def _class_of(section: str, name: Any) -> type:
    """Return the class that a ``class_name`` stands for.

    Raises:
        ValueError: If there is none, or it is no class.
    """
    try:
        found = resolve_callable(name)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{section}.class_name={name} cannot be imported: {reason}; name a class of rsl_rl or module:Class"
        ) from error
    if not inspect.isclass(found):
        raise ValueError(
            f"{section}.class_name={name} is a {type(found).__name__}, and a class is needed; write one that "
            "calls it"
        )
    return found


def _check_layers(section: str, sizes: Any, optional: bool) -> None:
    # -1 is rsl_rl's word for the number of inputs.
    if (
        not isinstance(sizes, Sequence)
        or not (sizes or optional)
        or any(not isinstance(size, int) or (size < 1 and size != -1) for size in sizes)
    ):
        raise ValueError(f"{section}.hidden_dims must be a list of layer sizes, such as [64, 64], got {sizes!r}")
