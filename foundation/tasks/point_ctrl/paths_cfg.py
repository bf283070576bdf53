"""Which paths the target follows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foundation.sim.paths import Path, make_path

LANGEVIN_SPEED = 2.0
"""Largest root mean square speed of Langevin paths [m/s]: their accelerations have no bound."""
KINDS = ("hover", "circle", "figure_eight", "lissajous", "langevin")


@dataclass
class PathsCfg:
    """A mixture of paths: a share for each kind, and the ranges from which size and speed are drawn.

    Every episode draws one of ``number`` paths; each begins at a random phase. Speeds are the largest on a path,
    of Langevin paths the root mean square.
    """

    number: int = 512
    """Paths in the table."""
    hover: float = 0.4
    """Share of paths that stay at the origin."""
    circle: float = 0.15
    """Share of horizontal circles."""
    figure_eight: float = 0.15
    """Share of horizontal figure eights."""
    lissajous: float = 0.2
    """Share of Lissajous figures in three dimensions, each with its own ratio of frequencies."""
    langevin: float = 0.1
    """Share of random paths of Langevin dynamics, from rough to smooth."""
    amplitude: tuple[float, float] = (0.3, 2.0)
    """Range of the half-width of a path [m]; two of a Lissajous figure's three may be down to a fifth of it, and
    Langevin paths have their own."""
    speed: tuple[float, float] = (0.2, 4.0)
    """Range of the speed [m/s]."""
    acceleration: float = 9.0
    """Largest square of the speed over the half-width [m/s^2], to which speeds are lowered. It is the acceleration
    on a circle; on a figure eight it is about 1.1 times that, on a Lissajous figure up to about twice, and on
    Langevin paths it has no bound."""
    along: float = 0.1
    """Share of circles and figure eights on which the heading is that of the velocity; others keep one heading."""

    def __post_init__(self) -> None:
        """Check shares and ranges.

        Raises:
            ValueError: Names the setting.
        """
        if self.number < 1:
            raise ValueError(f"paths.number must be at least 1, got {self.number}")
        for name in (*KINDS, "along"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"paths.{name} must lie in [0, 1], got {getattr(self, name)}")
        total = sum(getattr(self, kind) for kind in KINDS)
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"paths: the shares of {', '.join(KINDS)} must sum to 1, got {total:g}")
        for name in ("amplitude", "speed"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise ValueError(f"paths.{name} must be an ordered range above 0, got {(low, high)}")
        if not self.acceleration > 0.0:
            raise ValueError(f"paths.acceleration must be positive, got {self.acceleration}")


def draw_paths(cfg: PathsCfg, rng: np.random.Generator) -> list[Path]:
    """Return ``cfg.number`` paths; numbers of each kind are its share, rounded."""
    bounds = np.round(cfg.number * np.cumsum([getattr(cfg, kind) for kind in KINDS])).astype(int)
    counts = np.diff(bounds, prepend=0)
    return [_draw(kind, cfg, rng) for kind, count in zip(KINDS, counts, strict=True) for _ in range(count)]


def _draw(kind: str, cfg: PathsCfg, rng: np.random.Generator) -> Path:
    if kind == "hover":
        return make_path(kind)
    amplitude = rng.uniform(*cfg.amplitude)
    speed = min(rng.uniform(*cfg.speed), math.sqrt(cfg.acceleration * amplitude))
    if kind == "langevin":
        speed = min(speed, LANGEVIN_SPEED)
        return make_path(kind, omega=rng.uniform(1.0, 3.0), smoothing=10.0 ** rng.uniform(-2.0, 0.0), speed=speed)
    phase = rng.uniform()
    if kind == "lissajous":
        ratio = tuple(int(n) for n in rng.integers(1, 4, 3))
        size = tuple(amplitude * rng.uniform(0.2, 1.0, 3))
        phases = tuple(rng.uniform(0.0, 1.0, 3))
        return make_path(kind, amplitude=size, ratio=ratio, phases=phases, speed=speed)
    heading = "along" if rng.uniform() < cfg.along else rng.uniform(-math.pi, math.pi)
    return make_path(kind, amplitude=amplitude, speed=speed, phase=phase, heading=heading)
