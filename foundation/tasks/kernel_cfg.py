"""A task's configuration as its kernels read it: Warp structures with the same names as the dataclasses.

A setting is declared once, in its dataclass; the kernels read ``cfg.reward.position`` where the command line sets
``env.reward.position``.
"""

from __future__ import annotations

import dataclasses
from typing import Any, get_args, get_origin, get_type_hints

import warp as wp

_SCALARS = {bool: wp.bool, int: wp.int32, float: wp.float32}


def kernel_struct(cls: type) -> Any:
    """Return the Warp structure of a configuration dataclass: its numbers, tuples of numbers, and parts.

    Properties count as settings if they are annotated as numbers; text is left out.
    """
    hints = get_type_hints(cls)
    for name, value in vars(cls).items():
        if isinstance(value, property):
            hints[name] = get_type_hints(value.fget)["return"]
    members = {name: _member(hint) for name, hint in hints.items()}
    annotations = {name: member for name, member in members.items() if member is not None}
    return wp.struct(type(cls.__name__, (), {"__annotations__": annotations, "__module__": cls.__module__}))


def _member(hint: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return kernel_struct(hint)  # pyright: ignore[reportArgumentType]
    if get_origin(hint) is tuple:
        return wp.types.vector(length=len(get_args(hint)), dtype=_SCALARS[get_args(hint)[0]])
    return _SCALARS.get(hint)


def kernel_values(struct: Any, cfg: Any) -> Any:
    """Return an instance of a configuration's structure with its values."""
    out = struct()
    for name, member in struct.vars.items():
        value = getattr(cfg, name)
        nested = dataclasses.is_dataclass(value)
        setattr(out, name, kernel_values(member.type, value) if nested else value)
    return out
