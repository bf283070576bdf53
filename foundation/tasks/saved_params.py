"""The parameters that a run saves, and from which it is repeated."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader

from foundation.tasks.run_vehicle import save_vehicle, use_vehicle

PARAMS = "params"
"""Folder of a run that holds ``env.yaml`` and ``agent.yaml``."""


class ConfigError(ValueError):
    """A setting is unknown or has a value that cannot work."""


def save_params(run_dir: Path, env_cfg: Any, agent_cfg: Any) -> None:
    """Write ``params/env.yaml`` and ``params/agent.yaml``, from which the run can be repeated."""
    folder = run_dir / PARAMS
    folder.mkdir(parents=True, exist_ok=True)
    usd_path = env_cfg.robot.spawn.usd_path
    if os.path.isfile(usd_path):
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


class _Loader(get_yaml_loader()):
    """Reads plain values, and no aliases: a short file of aliases can expand to more than fits into memory."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError("an alias, write the value out", self.peek_event().start_mark)
        return super().compose_node(parent, index)


def _sequence(loader: Any, node: yaml.Node) -> list[Any]:
    return loader.construct_sequence(node, deep=True)


# Written by yaml.dump, as mjlab's and Isaac Lab's runs are; other tags of Python stay refused.
_Loader.add_constructor("tag:yaml.org,2002:python/tuple", _sequence)


def read_params(path: Path) -> dict[str, Any]:
    """Return saved parameters. Text is taken literally: no interpolation, no tags that execute code."""
    if not os.path.isfile(path):
        raise ConfigError(f"{path} does not exist; give a run folder that holds {PARAMS}/env.yaml and agent.yaml")
    try:
        values = yaml.load(path.read_bytes(), Loader=_Loader)
    except Exception as error:  # a value that contradicts its tag can raise anything
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path} does not hold saved parameters: {reason or type(error).__name__}; write it again, or "
            "leave out --params"
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__}, expected settings by name")
    for name, value in leaves(values):
        if not isinstance(value, (str, int, float, type(None))):
            raise ConfigError(f"{path}: {name} is a {type(value).__name__}, expected text, a number or a switch")
    return use_vehicle(path.parent, values) if path.name == "env.yaml" else values


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
    """Yield the name and value of every setting in nested groups, such as ``robot.motor.tau_up``."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from settings(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and value of everything in nested containers that is not a container."""
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(item, f"{name}.{key}" if name else str(key))
    else:
        yield name, value
