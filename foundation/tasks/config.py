"""Compose a task's configuration: defaults, then a run's saved parameters, then overrides."""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_origin

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

if TYPE_CHECKING:
    from foundation.tasks import TaskSpec

PARAMS = "params"
"""Folder of a run that holds ``env.yaml`` and ``agent.yaml``."""


class ConfigError(ValueError):
    """A setting is unknown or has a value that cannot work."""


def resolve(entry_point: str) -> Any:
    """Import and return what ``module:attribute`` names."""
    module, _, attribute = entry_point.partition(":")
    return getattr(importlib.import_module(module), attribute)


def compose(
    task: TaskSpec,
    overrides: Sequence[str] = (),
    params_dir: Path | None = None,
    groups: Sequence[str] = ("env", "agent"),
    agent_updates: dict[str, Any] | None = None,
    flags: dict[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return the environment's and the runner's configuration as validated dataclasses.

    Args:
        task: The task.
        overrides: Settings ``env.…=`` and ``agent.…=`` in Hydra's grammar.
        params_dir: Folder with ``env.yaml`` and ``agent.yaml`` of an earlier run, to repeat it.
        groups: The groups that overrides may address.
        agent_updates: Settings of the runner's configuration that overrides still take precedence over.
        flags: Values by setting, such as ``{"env.num_envs": 4}``, that take precedence over all; None is ignored.

    Raises:
        ConfigError: If a setting is unknown or its value cannot work; names the nearest setting.
    """
    tree = _tree(task, overrides, params_dir, groups, agent_updates, flags)
    return _to_dataclass(tree["env"], "env"), _to_dataclass(tree["agent"], "agent")


def preview_agent(
    task: TaskSpec, overrides: Sequence[str], params_dir: Path | None, flags: dict[str, Any]
) -> SimpleNamespace:
    """Return the runner's configuration before its values are checked against each other.

    What a checkpoint adds to it may be what they fit to. Arguments and errors are those of :func:`compose`.
    """
    agent = _tree(task, overrides, params_dir, ("env", "agent"), None, flags)["agent"]
    return json.loads(json.dumps(OmegaConf.to_container(agent)), object_hook=lambda node: SimpleNamespace(**node))


def _tree(
    task: TaskSpec,
    overrides: Sequence[str],
    params_dir: Path | None,
    groups: Sequence[str],
    agent_updates: dict[str, Any] | None,
    flags: dict[str, Any] | None,
) -> dict[str, DictConfig]:
    tree = {name: OmegaConf.structured(resolve(getattr(task, f"{name}_cfg"))()) for name in ("env", "agent")}
    if params_dir is not None:
        tree = {name: _merge(node, _load(params_dir / f"{name}.yaml"), name) for name, node in tree.items()}
    if agent_updates:
        tree["agent"] = _merge(tree["agent"], OmegaConf.create(agent_updates), "agent")
    for override in overrides:
        _apply(tree, override, groups)
    for setting, value in (flags or {}).items():
        if value is not None:
            _set(tree, setting, value, setting)
    return tree


def save_params(run_dir: Path, env_cfg: Any, agent_cfg: Any) -> None:
    """Write ``params/env.yaml`` and ``params/agent.yaml``, from which the run can be repeated."""
    folder = run_dir / PARAMS
    folder.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(OmegaConf.structured(env_cfg), folder / "env.yaml")
    OmegaConf.save(OmegaConf.structured(agent_cfg), folder / "agent.yaml")


def load_params(run_dir: Path, group: str) -> dict[str, Any] | None:
    """Return a run's saved parameters of one group as plain containers, or None if it saved none."""
    path = run_dir / PARAMS / f"{group}.yaml"
    if not path.is_file():
        return None
    return OmegaConf.to_container(_load(path))  # pyright: ignore


def _load(path: Path) -> DictConfig:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; give a run folder that holds {PARAMS}/env.yaml and agent.yaml")
    return OmegaConf.load(path)  # pyright: ignore


def _merge(node: DictConfig, update: Any, name: str) -> DictConfig:
    try:
        return OmegaConf.merge(node, update)  # pyright: ignore
    except OmegaConfBaseException as error:
        raise ConfigError(f"saved parameters do not fit {name}: {_first_line(error)}") from error


def _apply(tree: dict[str, DictConfig], override: str, groups: Sequence[str]) -> None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException as error:
        raise ConfigError(f"override {override!r} is not in Hydra's grammar: {_first_line(error)}") from error
    if parsed.is_add() or parsed.is_delete() or parsed.is_sweep_override():
        raise ConfigError(f"override {override!r} adds, deletes or sweeps; only key=value is supported")
    group, _, key = parsed.key_or_group.partition(".")
    if group not in groups or not key:
        raise ConfigError(
            f"override {override!r} must begin with {' or '.join(g + '.' for g in groups)}, as in env.sim.dt=0.01"
        )
    _set(tree, parsed.key_or_group, parsed.value(), f"override {override!r}")


def _set(tree: dict[str, DictConfig], setting: str, value: Any, what: str) -> None:
    group, _, key = setting.partition(".")
    _require_known(tree[group], key, group)
    # Text is text: nothing in it refers to another setting.
    value = value.replace("${", "\\${") if isinstance(value, str) else value
    before = OmegaConf.select(tree[group], key)
    if isinstance(value, list) and _has_fixed_length(before) and len(value) != len(before):
        raise ConfigError(f"{what}: expected {len(before)} values, got {len(value)}")
    try:
        # Where nothing is set there is nothing to merge with.
        OmegaConf.update(tree[group], key, value, merge=before is not None)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{what}: {_first_line(error)}") from error


def _has_fixed_length(node: Any) -> bool:
    return isinstance(node, ListConfig) and get_origin(node._metadata.ref_type) is tuple


def _require_known(node: DictConfig, key: str, group: str) -> None:
    walked = group
    for part in key.split("."):
        names = [str(name) for name in node] if isinstance(node, DictConfig) else []
        free_form = isinstance(node, DictConfig) and OmegaConf.get_type(node) is dict
        if part not in names and not free_form:
            near = difflib.get_close_matches(part, names, n=1)
            hint = (
                f"did you mean {walked}.{near[0]}?" if near else f"{walked} has: {', '.join(names) or 'no parts'}"
            )
            raise ConfigError(f"unknown setting {group}.{key}; {hint}")
        node = node[part] if part in names else node
        walked += f".{part}"


def _to_dataclass(node: DictConfig, group: str) -> Any:
    try:
        return OmegaConf.to_object(node)
    except (OmegaConfBaseException, ValueError) as error:
        raise ConfigError(f"{group}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
