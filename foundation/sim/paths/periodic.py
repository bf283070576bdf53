"""Circles, figures of eight and Lissajous curves: one harmonic oscillation per axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from foundation.sim.paths.checks import ALONG, heading_or_along, number, positive, share, speed_and_period, triple
from foundation.sim.paths.samples import PathSamples, checked_times

_LARGEST_RATIO = 50
"""Of a Lissajous curve's frequencies: the roots that give the largest speed are precise far beyond."""


@dataclass(frozen=True)
class Circle:
    """A horizontal circle around the origin, counter-clockwise seen from above, that starts on the x-axis.

    Raises:
        ValueError: If a parameter cannot work.
    """

    amplitude: float = 1.0
    """Radius [m]."""
    speed: float | None = None
    """Speed [m/s]; 1 m/s if neither it nor the period is given. Known after construction in any case."""
    period: float | None = None
    """Time of one turn [s], instead of the speed. Known after construction in any case."""
    phase: float = 0.0
    """Where the path starts, as a share of the period in [0, 1)."""
    heading: float | str = 0.0
    """Heading [rad], or ``along`` for the direction of the velocity, in [-pi, pi]."""

    def __post_init__(self) -> None:
        """Check the parameters, and find speed or period."""
        positive("Circle.amplitude", self.amplitude, "for a standing target take Hover")
        _complete(self, self.amplitude)

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Return the path at ``times`` [s], shape (T,); ``rng`` is not used."""
        return _sample(self, times, _Curve((self.amplitude, self.amplitude, 0.0), (1, 1, 1), (0.25, 0.0, 0.0)))


@dataclass(frozen=True)
class FigureEight:
    """A horizontal figure of eight, x = A sin(wt) and y = A/2 sin(2wt), that starts in its centre, the origin.

    The speed is largest in the centre, sqrt(2) A w.

    Raises:
        ValueError: If a parameter cannot work.
    """

    amplitude: float = 1.0
    """Half of the length along x, A [m]; the half-width along y is half of it."""
    speed: float | None = None
    """Largest speed [m/s]; 1 m/s if neither it nor the period is given. Known after construction in any case."""
    period: float | None = None
    """Time of one repetition [s], instead of the speed. Known after construction in any case."""
    phase: float = 0.0
    """Where the path starts, as a share of the period in [0, 1)."""
    heading: float | str = 0.0
    """Heading [rad], or ``along`` for the direction of the velocity, in [-pi, pi]."""

    def __post_init__(self) -> None:
        """Check the parameters, and find speed or period."""
        positive("FigureEight.amplitude", self.amplitude, "for a standing target take Hover")
        _complete(self, math.sqrt(2.0) * self.amplitude)

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Return the path at ``times`` [s], shape (T,); ``rng`` is not used."""
        return _sample(
            self, times, _Curve((self.amplitude, self.amplitude / 2.0, 0.0), (1, 2, 1), (0.0, 0.0, 0.0))
        )


@dataclass(frozen=True)
class Lissajous:
    """A Lissajous curve, an oscillation sin(r w t + 2 pi phase) on each axis, with integer frequencies r.

    Raises:
        ValueError: If a parameter cannot work.
    """

    amplitude: tuple[float, float, float] = (1.0, 0.5, 0.25)
    """Amplitudes along x, y and z [m]; 0 leaves an axis at rest."""
    ratio: tuple[int, int, int] = (1, 2, 3)
    """Frequencies along x, y and z relative to each other, integers from 1; what is common to the axes that move
    does not count."""
    phases: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offsets of the axes, as shares of their own oscillations in [0, 1)."""
    speed: float | None = None
    """Largest speed [m/s]; 1 m/s if neither it nor the period is given. Known after construction in any case."""
    period: float | None = None
    """Time of one repetition [s], instead of the speed. Known after construction in any case."""
    phase: float = 0.0
    """Where the path starts, as a share of the period in [0, 1)."""
    heading: float | str = 0.0
    """Heading [rad], or ``along`` for the direction of the horizontal velocity, in [-pi, pi], if that never
    vanishes."""
    _curve: _Curve = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the parameters, and find speed or period."""
        amplitude = triple("Lissajous.amplitude", self.amplitude)
        if min(amplitude) < 0.0 or max(amplitude) == 0.0:
            raise ValueError(
                f"Lissajous.amplitude must be 0 or above, and above 0 on one axis, got {amplitude}; "
                "phases of 0.5 turn an axis around, and for a standing target take Hover"
            )
        ratio = _frequencies(self.ratio)
        phases = triple("Lissajous.phases", self.phases)
        for axis, one in enumerate(phases):
            share(f"Lissajous.phases[{axis}]", one)
        common = math.gcd(*(r for r, a in zip(ratio, amplitude, strict=True) if a > 0.0))
        # An axis at rest need not share the factor; its frequency has no effect.
        x, y, z = (max(r // common, 1) for r in ratio)
        curve = _Curve(amplitude, (x, y, z), phases)
        for name, value in (("amplitude", amplitude), ("ratio", ratio), ("phases", phases), ("_curve", curve)):
            object.__setattr__(self, name, value)
        _complete(self, math.sqrt(curve.squared_speeds().max()))
        horizontal = curve.squared_speeds(axes=2)
        if self.heading == ALONG and not horizontal.min() > 1e-6 * horizontal.max():
            raise ValueError(
                "Lissajous.heading cannot be 'along' here, because the horizontal velocity vanishes at times, got "
                f"amplitude {amplitude}, ratio {ratio}, phases {phases}; give an angle [rad], or other phases"
            )

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Return the path at ``times`` [s], shape (T,); ``rng`` is not used."""
        return _sample(self, times, self._curve)


@dataclass(frozen=True)
class _Curve:
    """One harmonic oscillation per axis: amplitude sin(ratio angle + 2 pi phase)."""

    amplitude: tuple[float, float, float]
    ratio: tuple[int, int, int]
    phases: tuple[float, float, float]

    def squared_speeds(self, axes: int = 3) -> np.ndarray:
        """Return the squared speed in the first ``axes`` axes [m^2/s^2] for a unit rate wherever it is extremal.

        It is the sum of (a r cos(r angle + p))^2, whose derivative has the terms -a^2 r^3 sin(2 r angle + 2 p).
        These are a polynomial in exp(2i angle), the roots of which are exact but for rounding. Roots off the unit
        circle only add angles where the speed is not extremal.
        """
        amplitude, ratio = np.array(self.amplitude[:axes]), np.array(self.ratio[:axes])
        offset = 2.0 * np.pi * np.array(self.phases[:axes])
        degree = ratio.max()
        polynomial = np.zeros(2 * degree + 1, dtype=complex)
        terms = amplitude**2 * ratio**3 * np.exp(2j * offset)
        np.add.at(polynomial, degree - ratio, terms)
        np.add.at(polynomial, degree + ratio, -terms.conj())
        # What is left of terms that cancel, as on a circle, is rounding.
        polynomial[np.abs(polynomial) < 1e-14 * np.abs(terms).max()] = 0.0
        angles = np.append(np.angle(np.roots(polynomial)) / 2.0, 0.0)[:, None]
        # A root stands for two angles, half a turn apart; their speeds are equal.
        return ((amplitude * ratio * np.cos(ratio * angles + offset)) ** 2).sum(-1)


def _frequencies(ratio: tuple[int, int, int]) -> tuple[int, int, int]:
    values = triple("Lissajous.ratio", ratio)
    if any(value != int(value) or not 1 <= value <= _LARGEST_RATIO for value in values):
        raise ValueError(
            f"Lissajous.ratio must be integers from 1 to {_LARGEST_RATIO}, got {ratio}; "
            "set an amplitude of 0 to keep an axis at rest"
        )
    x, y, z = (int(value) for value in values)
    return x, y, z


def _complete(path: Circle | FigureEight | Lissajous, speed_at_unit_rate: float) -> None:
    """Check what all periodic paths have, and set the speed and the period, of which one was given at most."""
    kind = type(path).__name__
    speed, period = speed_and_period(kind, path.speed, path.period, speed_at_unit_rate)
    object.__setattr__(path, "speed", speed)
    object.__setattr__(path, "period", period)
    share(f"{kind}.phase", path.phase)
    heading_or_along(f"{kind}.heading", path.heading)


def _sample(path: Circle | FigureEight | Lissajous, times: np.ndarray, curve: _Curve) -> PathSamples:
    times = checked_times(times)
    period = number("period", path.period)
    amplitude, ratio = np.array(curve.amplitude), np.array(curve.ratio)
    rate = 2.0 * np.pi / period * ratio
    angle = 2.0 * np.pi * (np.outer(times / period + path.phase, ratio) + np.array(curve.phases))
    position = amplitude * np.sin(angle)
    velocity = amplitude * rate * np.cos(angle)
    if isinstance(path.heading, str):
        heading = np.arctan2(velocity[:, 1], velocity[:, 0])
    else:
        heading = np.full(len(times), float(path.heading))
    return PathSamples(position, velocity, -(rate**2) * position, heading)
