"""Smooth paths through points."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foundation.sim.paths.checks import DEFAULT_SPEED, fixed_heading, positive, triple
from foundation.sim.paths.minimum_snap import evaluate, largest_speed, minimum_snap
from foundation.sim.paths.samples import PathSamples, checked_times


@dataclass(frozen=True)
class Waypoints:
    """The minimum-snap path through points, from rest in the first at time 0 to rest in the last, where it stays.

    See :func:`foundation.sim.paths.minimum_snap.minimum_snap`.

    Raises:
        ValueError: If a parameter cannot work.
    """

    points: tuple[tuple[float, float, float], ...]
    """Points [m], at least two."""
    speed: float | None = None
    """Largest speed [m/s]; 1 m/s if neither it nor durations are given. The durations of the segments are then
    proportional to the distances. Known after construction in any case."""
    durations: tuple[float, ...] | None = None
    """Durations of the segments [s], one fewer than points, instead of the speed. Known after construction in any
    case."""
    heading: float = 0.0
    """Heading [rad]."""
    _coefficients: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the parameters, and compute the polynomials."""
        fixed_heading("Waypoints.heading", self.heading)
        points = _points(self.points)
        if self.speed is not None and self.durations is not None:
            raise ValueError(
                f"Waypoints.speed and Waypoints.durations exclude each other, got {self.speed} m/s and "
                f"{self.durations}; give one, the other follows"
            )
        if self.durations is None:
            speed = DEFAULT_SPEED
            if self.speed is not None:
                speed = positive("Waypoints.speed", self.speed, "for a standing target take Hover")
            distances = _distances(points)
            # Slower by a factor is the same path: polynomials in the share of the segment do not change.
            coefficients = minimum_snap(points, distances)
            durations = distances * largest_speed(coefficients, distances) / speed
        else:
            durations = _durations(self.durations, len(points) - 1)
            coefficients = minimum_snap(points, durations)
            speed = largest_speed(coefficients, durations)
        for name, value in (
            ("points", tuple(tuple(point) for point in points.tolist())),
            ("speed", speed),
            ("durations", tuple(durations.tolist())),
            ("_coefficients", coefficients),
        ):
            object.__setattr__(self, name, value)

    @property
    def period(self) -> float | None:
        """None, as for all paths that do not repeat."""
        return None

    @property
    def duration(self) -> float:
        """Time from the first point to the last [s]."""
        return float(sum(self.durations or ()))

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Return the path at ``times`` [s], shape (T,); ``rng`` is not used."""
        times = checked_times(times)
        durations = np.array(self.durations)
        position, velocity, acceleration = (
            evaluate(self._coefficients, durations, times, order) for order in range(3)
        )
        # Not to leave the rounding of the linear system at rest.
        resting = (times <= 0.0) | (times >= durations.sum())
        velocity[resting] = acceleration[resting] = 0.0
        return PathSamples(position, velocity, acceleration, np.full(len(times), float(self.heading)))


def _points(points: tuple[tuple[float, float, float], ...]) -> np.ndarray:
    listed = [] if isinstance(points, str) else list(points)
    if len(listed) < 2:
        raise ValueError(f"Waypoints.points must be at least two points, got {points!r}; for one take Hover")
    return np.array([triple(f"Waypoints.points[{index}]", point) for index, point in enumerate(listed)])


def _distances(points: np.ndarray) -> np.ndarray:
    distances = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    if (coincide := np.flatnonzero(distances == 0.0)).size:
        first = int(coincide[0])
        raise ValueError(
            f"Waypoints.points[{first}] and [{first + 1}] must differ, got {points[first].tolist()} twice; "
            "remove one, or give durations"
        )
    return distances


def _durations(durations: tuple[float, ...], count: int) -> np.ndarray:
    values = [
        positive(f"Waypoints.durations[{i}]", one, "each segment takes time") for i, one in enumerate(durations)
    ]
    if len(values) != count:
        raise ValueError(
            f"Waypoints.durations must be {count}, one for each segment between points, got {len(values)}"
        )
    return np.array(values)
