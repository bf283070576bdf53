"""Paths from files."""

from __future__ import annotations

import csv
import os
import zipfile
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import numpy as np

from foundation.sim.paths.checks import fixed_heading
from foundation.sim.paths.samples import PathSamples, checked_times

_VECTORS = {
    "position": ("x", "y", "z"),
    "velocity": ("vx", "vy", "vz"),
    "acceleration": ("ax", "ay", "az"),
}
"""Columns of each quantity."""


@dataclass(frozen=True)
class Sampled:
    """A recorded path, linearly interpolated between its times.

    Its first time is 0, whatever clock recorded it. Velocities and accelerations that the file does not have are
    central differences. Before the first time and beyond the last one the path rests there, with zero velocity and
    acceleration.

    Raises:
        ValueError: If the file does not describe a path.
        FileNotFoundError: If there is no such file.
    """

    file: str
    """A CSV file with the header ``t,x,y,z`` and optionally ``vx,vy,vz``, ``ax,ay,az``, ``heading``; or an
    ``.npz`` file with arrays of these names, or with ``t``, ``position`` (T, 3), ``velocity``, ``acceleration``
    and ``heading``. SI units, world frame, headings in rad."""
    heading: float | None = None
    """Heading [rad] of a file without one, 0 by default."""
    _times: np.ndarray = field(init=False, repr=False, compare=False)
    _samples: PathSamples = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Read and check the file."""
        if self.heading is not None:
            fixed_heading("Sampled.heading", self.heading)
        path = FilePath(os.fspath(self.file))
        if not path.is_file():
            raise FileNotFoundError(
                f"Sampled.file must be a file of a path, got {self.file}, which does not exist"
            )
        columns = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
        times = _time_column(path, columns)
        object.__setattr__(self, "_times", times - times[0])
        object.__setattr__(self, "_samples", self._assemble(path, columns))

    @property
    def period(self) -> float | None:
        """None, as for all paths that do not repeat."""
        return None

    @property
    def duration(self) -> float:
        """Time from the first sample to the last [s]."""
        return float(self._times[-1])

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Return the path at ``times`` [s], shape (T,); ``rng`` is not used."""
        times, recorded = checked_times(times), self._samples
        position, velocity, acceleration = (
            np.stack([np.interp(times, self._times, axis) for axis in vector.T], axis=-1)
            for vector in (recorded.position, recorded.velocity, recorded.acceleration)
        )
        outside = (times < self._times[0]) | (times > self._times[-1])
        velocity[outside] = acceleration[outside] = 0.0
        return PathSamples(position, velocity, acceleration, np.interp(times, self._times, recorded.heading))

    def _assemble(self, path: FilePath, columns: dict[str, np.ndarray]) -> PathSamples:
        times = columns["t"]
        position = _vector(path, columns, "position")
        if position is None:
            raise ValueError(f"{path} must have the columns t, x, y and z, got {', '.join(columns)}")
        velocity = _vector(path, columns, "velocity")
        if velocity is None:
            velocity = np.gradient(position, times, axis=0)
        acceleration = _vector(path, columns, "acceleration")
        if acceleration is None:
            acceleration = np.gradient(velocity, times, axis=0)
        if "heading" in columns and self.heading is not None:
            raise ValueError(
                f"Sampled.heading cannot take effect, got {self.heading}, because {path} has headings; "
                "leave it out, or remove that column"
            )
        heading = columns.get("heading", np.full(len(times), self.heading or 0.0))
        # Headings jump by a turn at pi, and interpolation would take the long way round.
        return PathSamples(position, velocity, acceleration, np.unwrap(heading))


def _read_csv(path: FilePath) -> dict[str, np.ndarray]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [(number, row) for number, row in enumerate(csv.reader(file), start=1) if row]
    if len(rows) < 3:
        raise ValueError(f"{path} must have a header and at least two rows, got {len(rows)} lines")
    names = [name.strip() for name in rows[0][1]]
    if unknown := [name for name in names if name not in _column_names()]:
        raise ValueError(f"{path} has an unknown column {unknown[0]!r}, expected {', '.join(_column_names())}")
    if len(set(names)) < len(names):
        raise ValueError(f"{path} must have each column once, got {', '.join(names)}")
    values = np.empty((len(rows) - 1, len(names)))
    for index, (line, row) in enumerate(rows[1:]):
        try:
            values[index] = [float(cell) for cell in row]
        except ValueError:
            raise ValueError(f"{path}, line {line} must be {len(names)} numbers, got {','.join(row)}") from None
    return dict(zip(names, values.T, strict=True))


def _read_npz(path: FilePath) -> dict[str, np.ndarray]:
    known = (*_column_names(), *_VECTORS)
    try:
        with np.load(path, allow_pickle=False) as archive:
            columns = {name: np.asarray(archive[name], dtype=np.float64) for name in archive.files}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must be an .npz file of numbers: {error}") from error
    if unknown := [name for name in columns if name not in known]:
        raise ValueError(f"{path} has an unknown array {unknown[0]!r}, expected {', '.join(known)}")
    return columns


def _column_names() -> tuple[str, ...]:
    return ("t", *(name for names in _VECTORS.values() for name in names), "heading")


def _time_column(path: FilePath, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Return the times [s], shape (T,), of columns that are complete, finite and equally long."""
    if "t" not in columns:
        raise ValueError(f"{path} must have a column t, the time [s], got {', '.join(columns)}")
    times = columns["t"]
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"{path}: t must be at least two times, got shape {times.shape}")
    for name, column in columns.items():
        expected = (len(times), 3) if name in _VECTORS else (len(times),)
        if column.shape != expected:
            raise ValueError(f"{path}: {name} must have shape {expected}, got {column.shape}")
        if not np.isfinite(column).all():
            row = int(np.argwhere(~np.isfinite(column))[0, 0])
            raise ValueError(f"{path}: {name} must be finite, got {column[row]} in row {row} of the data")
    if (falls := np.flatnonzero(np.diff(times) <= 0.0)).size:
        row = int(falls[0])
        raise ValueError(f"{path}: t must rise, got {times[row]} s and then {times[row + 1]} s in row {row + 1}")
    return times


def _vector(path: FilePath, columns: dict[str, np.ndarray], quantity: str) -> np.ndarray | None:
    """Return a quantity, shape (T, 3), or None if the file does not have it."""
    names = _VECTORS[quantity]
    given = [name for name in names if name in columns]
    if quantity in columns and given:
        raise ValueError(f"{path} must have either {quantity} or {', '.join(names)}, got both")
    if given and len(given) < 3:
        missing = ", ".join(name for name in names if name not in columns)
        raise ValueError(f"{path} lacks the column {missing}: of {', '.join(names)} all or none must be there")
    return np.stack([columns[name] for name in names], axis=-1) if given else columns.get(quantity)
