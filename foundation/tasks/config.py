"""Compose a task's configuration: defaults, then a run's saved parameters, then overrides."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, get_args, get_origin

from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from foundation.tasks.model_class import classes_first, give_way
from foundation.tasks.open_unions import open_unions
from foundation.tasks.saved_params import (
    ConfigError,
    leaves,
    literal,
    read_params,
)

if TYPE_CHECKING:
    from foundation.tasks.task_spec import TaskSpec

LONGEST_OVERRIDE = 10_000
"""Most characters of an override: Hydra's parser needs time quadratic in the length of a list."""
LARGEST_FLOAT = 3.4e38
"""Largest number, about that of float32, the type of kernels and networks."""
WHOLE_BITS = {"env": 32, "agent": 64}
"""Size of each group's integers: those of the environment go into kernels."""
# Raised by OmegaConf for a value that does not fit, such as integers too large for a float, and deep nesting.
_REFUSALS = (OmegaConfBaseException, ValueError, OverflowError, RecursionError)


def resolve(entry_point: str) -> Any:
    """Import ``module:attribute`` and return it."""
    module, _, attribute = entry_point.partition(":")
    return getattr(importlib.import_module(module), attribute)


def compose(
    task: TaskSpec,
    overrides: Sequence[str] = (),
    params_dir: Path | None = None,
    groups: Sequence[str] = ("env", "agent"),
    agent_updates: dict[str, Any] | None = None,
    flags: dict[str, Any] | None = None,
    env_updates: dict[str, Any] | None = None,
) -> tuple[Any, Any]:
    """Return the environment's and the runner's configuration as validated dataclasses.

    Args:
        task: The task.
        overrides: Settings ``env.…=`` and ``agent.…=`` in Hydra's grammar.
        params_dir: Folder with ``env.yaml`` and ``agent.yaml`` of an earlier run, to repeat it.
        groups: The groups that overrides may address, and that are read from ``params_dir``.
        agent_updates: Settings of the runner's configuration that overrides still take precedence over.
        flags: Values by setting, such as ``{"env.num_envs": 4}``, that take precedence over all; None is ignored.
        env_updates: Settings of the environment that overrides still take precedence over.

    Raises:
        ConfigError: If a setting is unknown or its value cannot work; names the nearest setting.
    """
    updates = {"env": env_updates, "agent": agent_updates}
    tree = _tree(task, overrides, params_dir, groups, updates, flags)
    return _to_dataclass(tree["env"], "env"), _to_dataclass(tree["agent"], "agent")


def require_effect(env_cfg: Any, overrides: Sequence[str]) -> None:
    """Refuse overrides of an environment that another setting silences.

    Args:
        env_cfg: The configuration with the overrides.
        overrides: Settings in Hydra's grammar.

    Raises:
        ConfigError: Names the override and the setting to change.
    """
    for override in overrides:
        name = override.partition("=")[0]
        needed = env_cfg.needed_by(name.removeprefix("env.")) if name.startswith("env.") else None
        if needed is not None:
            raise ConfigError(f"override {override!r} has no effect; leave it out, or set {needed}")


def preview_agent(
    task: TaskSpec, overrides: Sequence[str], params_dir: Path | None, flags: dict[str, Any]
) -> SimpleNamespace:
    """Return the runner's configuration before its values are checked against each other.

    A checkpoint that it names may still change settings, and only then do they have to be consistent.
    Arguments and errors are those of :func:`compose`.
    """
    agent = _values(_tree(task, overrides, params_dir, ("env", "agent"), {}, flags)["agent"], "agent")
    return json.loads(json.dumps(agent), object_hook=lambda node: SimpleNamespace(**node))


def _tree(
    task: TaskSpec,
    overrides: Sequence[str],
    params_dir: Path | None,
    groups: Sequence[str],
    updates: dict[str, dict[str, Any] | None],
    flags: dict[str, Any] | None,
) -> dict[str, DictConfig]:
    defaults = {name: resolve(getattr(task, f"{name}_cfg"))() for name in ("env", "agent")}
    tree = {name: OmegaConf.structured(open_unions(cfg)) for name, cfg in defaults.items()}
    if params_dir is not None:
        for name in groups:
            tree[name] = _merge(tree[name], read_params(params_dir / f"{name}.yaml"), name)
    for name, update in updates.items():
        if update:
            tree[name] = _merge(tree[name], update, name)
    for override in classes_first(list(overrides)):
        _apply(tree, override, groups)
    for setting, value in (flags or {}).items():
        if value is not None:
            _set(tree, setting, value, setting)
    return tree


def _merge(node: DictConfig, update: dict[str, Any], name: str) -> DictConfig:
    try:
        return OmegaConf.merge(node, OmegaConf.create(literal(update)))  # pyright: ignore
    except _REFUSALS as error:
        raise ConfigError(f"saved parameters do not fit {name}: {_first_line(error)}") from error


def _apply(tree: dict[str, DictConfig], override: str, groups: Sequence[str]) -> None:
    setting, value = _parsed(override)
    group, _, key = setting.partition(".")
    if group not in groups or not key:
        raise ConfigError(
            f"override {override!r} must begin with {' or '.join(g + '.' for g in groups)}, as in env.sim.dt=0.01"
        )
    _set(tree, setting, value, f"override {override!r}")


def parse_values(overrides: Sequence[str], group: str) -> dict[str, Any]:
    """Return the values of overrides ``group.name=value`` by name.

    Raises:
        ConfigError: If one is not in Hydra's grammar, or names a setting within another.
    """
    values: dict[str, Any] = {}
    for override in overrides:
        setting, value = _parsed(override)
        name = setting.removeprefix(f"{group}.")
        if "." in name or name in values:
            raise ConfigError(f"override {override!r}: give {group}.NAME=VALUE once, without further dots")
        values[name] = literal(value)
    return values


def _parsed(override: str) -> tuple[str, Any]:
    """Return the setting and the value of an override."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if len(override) > LONGEST_OVERRIDE:
        raise ConfigError(
            f"override {override[:40]!r}... has {len(override)} characters, at most {LONGEST_OVERRIDE} are read; "
            f"write it into the file of --params"
        )
    try:
        parsed = OverridesParser.create().parse_override(override)
    except (HydraException, ValueError, RecursionError) as error:
        raise ConfigError(
            f"override {override!r} is not in Hydra's grammar: {_first_line(error)}; quote a value with blanks or "
            "special characters twice, for the shell and for Hydra: 'KEY=\"VALUE\"'"
        ) from error
    if parsed.is_add() or parsed.is_delete() or parsed.is_sweep_override():
        raise ConfigError(f"override {override!r} adds, deletes or sweeps; only key=value is supported")
    return parsed.key_or_group, parsed.value()


def _set(tree: dict[str, DictConfig], setting: str, value: Any, source: str) -> None:
    group, _, key = setting.partition(".")
    _require_known(tree[group], key, group)
    value = literal(value)
    give_way(tree[group], key, value)
    before = OmegaConf.select(tree[group], key)
    try:
        if before is None and isinstance(value, dict):
            value = _group_of_settings(tree[group], key, value)
        # A setting that is None has nothing to merge into.
        OmegaConf.update(tree[group], key, value, merge=before is not None)
    except _REFUSALS as error:
        raise ConfigError(f"{source}: {_first_line(error)}") from error


def _group_of_settings(node: DictConfig, key: str, value: dict[str, Any]) -> Any:
    """Return the settings for an optional group that was None: its defaults, with the given ones."""
    parent, _, name = key.rpartition(".")
    place = (OmegaConf.select(node, parent) if parent else node)._get_node(name)  # pyright: ignore
    kind = place._metadata.ref_type  # pyright: ignore
    return OmegaConf.merge(OmegaConf.structured(kind), value) if dataclasses.is_dataclass(kind) else value


def _is_tuple(node: Any) -> bool:
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
    _values(node, group)
    _require_containers(node, group)
    try:
        return OmegaConf.to_object(node)
    except _REFUSALS as error:
        raise ConfigError(f"{group}: {_first_line(error)}") from error


def _require_containers(node: DictConfig, name: str) -> None:
    """Check that groups are groups, lists are lists, and tuples have the right length.

    OmegaConf accepts text with ``${`` in it for a group or list, and lists of any length for tuples.
    """
    for key in node:
        value, place = node[key], node._get_node(key)
        if isinstance(place, (DictConfig, ListConfig)) and isinstance(value, str):
            kind = "a group of settings" if isinstance(place, DictConfig) else "a list"
            raise ConfigError(f"{name}.{key} must be {kind}, got {value!r}")
        lengths = get_args(value._metadata.ref_type) if _is_tuple(value) else ()
        if lengths and lengths[-1] is not Ellipsis and len(value) != len(lengths):
            raise ConfigError(f"{name}.{key} must have {len(lengths)} values, got {len(value)}")
        if isinstance(value, DictConfig):
            _require_containers(value, f"{name}.{key}")


def _values(node: DictConfig, group: str) -> Any:
    """Return settings as plain containers, with all numbers in range."""
    try:
        values = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    except _REFUSALS as error:
        raise ConfigError(f"{group}: {_first_line(error)}") from error
    _require_range(values, group)
    return values


def _require_range(values: Any, group: str) -> None:
    bits = WHOLE_BITS[group]
    for name, value in leaves(values, group):
        if isinstance(value, float) and not (math.isfinite(value) and abs(value) <= LARGEST_FLOAT):
            raise ConfigError(f"{name} must be a number of at most {LARGEST_FLOAT} in size, got {value}")
        if isinstance(value, int) and not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
            raise ConfigError(
                f"{name} must be a whole number of at most {bits - 1} bits, got one of {value.bit_length()}"
            )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
