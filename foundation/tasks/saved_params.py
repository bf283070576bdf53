"""The parameters that a run saves, and from which it is repeated."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from foundation.tasks.run_vehicle import save_vehicle, use_vehicle

PARAMS = "params"
"""Folder of a run that holds ``env.yaml`` and ``agent.yaml``."""


FORMER_EXPERT = {"near_command": 1.0}
"""What settings of the expert were before they existed."""
MODELS = ("actor", "critic", "student", "teacher")
"""Groups that describe a network."""


class ConfigError(ValueError):
    """A setting is unknown or has a value that cannot work."""


def save_params(run_dir: Path, env_cfg: Any, agent_cfg: Any) -> None:
    """Write ``params/env.yaml`` and ``params/agent.yaml``, from which the run can be repeated."""
    folder = run_dir / PARAMS
    folder.mkdir(parents=True, exist_ok=True)
    usd_path = env_cfg.robot.spawn.usd_path
    if env_cfg.robot.vehicle is None and env_cfg.randomization.family != "raptor" and os.path.isfile(usd_path):
        save_vehicle(folder, usd_path)
    for name, cfg in (("env", env_cfg), ("agent", agent_cfg)):
        (folder / f"{name}.yaml").write_text(as_yaml(cfg), encoding="utf-8")


def as_yaml(cfg: Any) -> str:
    """Return a configuration as YAML, from which it can be composed again."""
    return OmegaConf.to_yaml(OmegaConf.create(literal(asdict(cfg))), resolve=True)


def load_params(run_dir: Path, group: str) -> dict[str, Any] | None:
    """Return a run's saved parameters of one group as plain containers, or None if it saved none.

    Raises:
        ConfigError: If the file does not hold parameters.
    """
    path = run_dir / PARAMS / f"{group}.yaml"
    return read_params(path) if os.path.isfile(path) else None


def read_params(path: Path) -> dict[str, Any]:
    """Return saved parameters. Text is taken literally: no interpolation.

    Raises:
        ConfigError: If there is no such file, or it does not hold parameters.
    """
    # They load torch, and the registry of tasks does without.
    from foundation.distill.checkpoint.run_network import OF_SOME_CLASSES
    from foundation.distill.checkpoint.saved_yaml import SavedYamlError, read_yaml

    if not os.path.isfile(path):
        raise ConfigError(f"{path} does not exist; give a run folder that holds {PARAMS}/env.yaml and agent.yaml")
    try:
        values = read_yaml(path)
    except SavedYamlError as error:
        raise ConfigError(
            f"{path} does not hold saved parameters: {error}; write it again, or leave out --params"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, expected settings by name")
    for name, value in leaves(values):
        if not isinstance(value, (str, int, float, type(None))):
            raise ConfigError(f"{path}: {name} is a {type(value).__name__}, expected text, a number or a switch")
    if path.name == "env.yaml":
        return use_vehicle(path.parent, _with_former(values, "expert", "lateral_command", FORMER_EXPERT))
    for model in MODELS:
        values = _with_former(values, model, "class_name", dict.fromkeys(OF_SOME_CLASSES))
    return values


def _with_former(values: dict[str, Any], group: str, always: str, former: dict[str, Any]) -> dict[str, Any]:
    """Return settings with what did not exist when they were saved, or the task's defaults would be taken.

    Args:
        values: The settings.
        group: The group that may lack some.
        always: A setting that every saved group has; one without it was written by hand.
        former: The values.
    """
    saved = values.get(group)
    return values | {group: former | saved} if isinstance(saved, dict) and always in saved else values


def literal(value: Any) -> Any:
    """Escape ``${`` in text, which OmegaConf would take for an interpolation."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [literal(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", r"\1\1\\${", value)
    return value


def settings(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and value of every setting in nested groups, such as ``robot.motor.tau_up``.

    Tuples become lists, as they are in YAML.
    """
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from settings(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, list(value) if isinstance(value, tuple) else value


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and value of everything in nested containers that is not a container."""
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
