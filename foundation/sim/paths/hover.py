"""A target that stands still, or jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foundation.sim.paths.checks import fixed_heading, number, positive
from foundation.sim.paths.samples import PathSamples, checked_times


@dataclass(frozen=True)
class Hover:
    """The origin, or with ``steps`` a target that jumps to random points.

    Velocity and acceleration are zero, at the jumps too.

    Raises:
        ValueError: If a parameter cannot work.
    """

    steps: float = 0.0
    """Half-width of the cube around the origin in which targets are drawn uniformly [m]; 0 stays at the origin."""
    every: float = 2.0
    """Time from jump to jump [s]; until the first one, at this time, the target is the origin."""
    heading: float = 0.0
    """Heading [rad]."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        if number("Hover.steps", self.steps) < 0.0:
            raise ValueError(f"Hover.steps must be 0 or above, got {self.steps}; 0 stays at the origin")
        positive("Hover.every", self.every, "to stay at the origin, set steps to 0")
        fixed_heading("Hover.heading", self.heading)

    @property
    def period(self) -> float | None:
        """None, as for all paths that do not repeat."""
        return None

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Return the targets at ``times`` [s], shape (T,)."""
        times = checked_times(times)
        position = np.zeros((len(times), 3))
        if self.steps > 0.0:
            # Without the margin, a time that is a multiple of `every` but for its rounding would miss the jump.
            jumps = np.floor(np.maximum(times, 0.0) / self.every + 1e-9).astype(int)
            targets = rng.uniform(-self.steps, self.steps, (jumps.max(), 3))
            position = np.concatenate([np.zeros((1, 3)), targets])[jumps]
        return PathSamples(
            position,
            np.zeros((len(times), 3)),
            np.zeros((len(times), 3)),
            np.full(len(times), float(self.heading)),
        )
