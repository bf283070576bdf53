"""Dataclasses for OmegaConf, which knows no unions of containers."""

from __future__ import annotations

import types
from dataclasses import field, fields, is_dataclass, make_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict


def open_unions(cfg: Any) -> Any:
    """Return a configuration whose fields of a type such as ``str | tuple[str, ...]`` take anything.

    The classes are subclasses of the given ones, whose checks of the values still run.

    Args:
        cfg: An instance of a dataclass, nested ones included.
    """
    cls, values = type(cfg), {item.name: getattr(cfg, item.name) for item in fields(cfg)}
    values = {name: open_unions(value) if is_dataclass(value) else value for name, value in values.items()}
    hints = get_type_hints(cls)
    opened = [(name, Any, field(default=values[name])) for name in values if _has_container(hints[name])]
    if opened:
        cls = make_dataclass(cls.__name__, opened, bases=(cls,))
    return cls(**values)


def _has_container(hint: Any) -> bool:
    if get_origin(hint) not in (Union, types.UnionType):
        return False
    members = [member for member in get_args(hint) if member is not type(None)]
    containers = [member for member in members if get_origin(member) or is_typeddict(member)]
    return bool(containers) and (len(members) > 1 or is_typeddict(containers[0]))
