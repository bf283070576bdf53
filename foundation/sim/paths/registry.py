"""Paths by name, and many paths at once."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from foundation.sim.paths.hover import Hover
from foundation.sim.paths.langevin import Langevin, sample_langevin
from foundation.sim.paths.periodic import Circle, FigureEight, Lissajous
from foundation.sim.paths.sampled import Sampled
from foundation.sim.paths.samples import Path, PathSamples, checked_times
from foundation.sim.paths.waypoints import Waypoints

PATHS: dict[str, type] = {
    "hover": Hover,
    "circle": Circle,
    "figure_eight": FigureEight,
    "lissajous": Lissajous,
    "langevin": Langevin,
    "waypoints": Waypoints,
    "file": Sampled,
}
"""Kinds of paths by name."""


def path_parameters(name: str) -> tuple[str, ...]:
    """Return the parameters of a kind of path.

    Raises:
        ValueError: If there is no such kind.
    """
    return tuple(item.name for item in fields(_kind(name)) if item.init)


def make_path(name: str, **parameters: Any) -> Path:
    """Return a path by name.

    Raises:
        ValueError: If there is no such kind, or it does not have such parameters, or they cannot work.
    """
    kind, known = _kind(name), path_parameters(name)
    for given in parameters:
        if given not in known:
            near = difflib.get_close_matches(given, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"path {name!r} has no parameter {given!r}, it has {', '.join(known)}{hint}")
    for item in fields(kind):
        if item.init and item.default is MISSING and item.name not in parameters:
            raise ValueError(f"path {name!r} needs the parameter {item.name!r}, it has {', '.join(known)}")
    return kind(**parameters)


def sample_many(paths: Sequence[Path], times: np.ndarray, rng: np.random.Generator) -> PathSamples:
    """Return P paths at ``times`` [s], shape (T,), with a leading dimension P; faster than one by one.

    Langevin paths are drawn first, together, then the others in their order.
    """
    times = checked_times(times)
    shape = (len(paths), len(times), 3)
    many = PathSamples(np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape[:2]))
    random = [(index, path) for index, path in enumerate(paths) if isinstance(path, Langevin)]
    if random:
        _store(many, [index for index, _ in random], sample_langevin([path for _, path in random], times, rng))
    sampled: dict[int, PathSamples] = {}
    for index, path in enumerate(paths):
        if isinstance(path, Langevin):
            continue
        # Only hovering draws of its own: the other paths are the same however often they are listed.
        if isinstance(path, Hover) or id(path) not in sampled:
            sampled[id(path)] = path.sample(times, rng)
        _store(many, index, sampled[id(path)])
    return many


def _store(many: PathSamples, index: int | list[int], samples: PathSamples) -> None:
    for item in fields(PathSamples):
        getattr(many, item.name)[index] = getattr(samples, item.name)


def _kind(name: str) -> type:
    if name not in PATHS:
        near = difflib.get_close_matches(name, PATHS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown path {name!r}, expected one of {', '.join(PATHS)}{hint}")
    return PATHS[name]
