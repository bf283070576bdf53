"""Whether vehicles have the thrust that a path needs."""

from __future__ import annotations

import math

import numpy as np

from foundation.sim.params import GRAVITY, QuadParams
from foundation.sim.paths.samples import PathSamples


def required_thrust(samples: PathSamples) -> float:
    """Return the thrust-to-weight that a path needs without air drag, the largest |a + g e_z| / g."""
    return float(_thrust_ratio(samples.acceleration.reshape(-1, 3)).max())


def check_path(samples: PathSamples, vehicles: QuadParams, name: str, wind: np.ndarray | None = None) -> None:
    """Check that every vehicle can give the thrust that a path needs.

    A step of :class:`Hover` needs no more than hovering, and the acceleration of :class:`Langevin` is the expected
    one, so neither jumps nor noise count.

    Args:
        samples: The path, at times that are close enough together to meet its largest acceleration.
        vehicles: V vehicles.
        name: Name of the path in :data:`PATHS`. Flown faster by a factor, a path has accelerations larger by its
            square; a Langevin path with more noise by the factor itself.
        wind: Velocity of the air, world frame [m/s], shape (3,). With it, zero included, thrust must make up for
            the drag too, with the vehicles' coefficients as in level flight; None leaves out drag.

    Raises:
        ValueError: If a vehicle lacks the thrust, or would have to push downwards.
    """
    motion = _Motion(samples, 1 if name == "langevin" else 2)
    if wind is not None and np.shape(wind) != (3,):
        raise ValueError(f"wind must have shape (3,), the velocity of the air [m/s], got {np.shape(wind)}")
    # Without drag the weakest vehicle decides; with it, each has a need of its own.
    drags = (
        [None] if wind is None else [(drag, np.asarray(wind)) for drag in vehicles.drag / vehicles.mass[:, None]]
    )
    needs = np.array([motion.thrust(1.0, drag) for drag in drags])
    spare = vehicles.thrust_to_weight - needs
    worst = int(spare.argmin())
    drag, available = drags[worst if wind is not None else 0], float(vehicles.thrust_to_weight[worst])
    downward = motion.downward(1.0)
    if spare[worst] >= 0.0 and downward < GRAVITY:
        return
    need = float(np.broadcast_to(needs, spare.shape)[worst])
    flaw = (
        f"accelerates downwards at {downward:.2f} m/s^2, at least g = {GRAVITY}: thrust would have to point down"
        if downward >= GRAVITY
        else "is too fast"
        if drag is None
        else "is too fast in this wind"
    )
    raise ValueError(
        f"path {name!r} {flaw}; with a largest speed of {motion.speed:.3g} m/s it needs a thrust-to-weight of "
        f"{need:.3f}, and vehicle {worst} of {len(vehicles)} has {available:.3f}; "
        + motion.advice(available, drag)
    )


class _Motion:
    """Velocities and accelerations of a path, flown faster or slower."""

    def __init__(self, samples: PathSamples, exponent: int) -> None:
        """Take a path whose accelerations grow with the ``exponent``-th power of its speed."""
        self.velocity, self.acceleration = samples.velocity.reshape(-1, 3), samples.acceleration.reshape(-1, 3)
        self.exponent = exponent
        self.speed = float(np.linalg.norm(self.velocity, axis=-1).max())

    def thrust(self, factor: float, drag: tuple[np.ndarray, np.ndarray] | None) -> float:
        """Return the thrust-to-weight at ``factor`` times the speed; ``drag`` is coefficients / mass and wind."""
        acceleration = factor**self.exponent * self.acceleration
        if drag is not None:
            coefficients, wind = drag
            acceleration = acceleration + coefficients * (factor * self.velocity - wind)
        return float(_thrust_ratio(acceleration).max())

    def downward(self, factor: float) -> float:
        """Return the largest downward acceleration at ``factor`` times the speed [m/s^2]."""
        return float(-(factor**self.exponent) * self.acceleration[:, 2].min())

    def advice(self, available: float, drag: tuple[np.ndarray, np.ndarray] | None) -> str:
        """Return what a vehicle of a thrust-to-weight ``available`` could fly."""
        low, high = 0.0, 1.0
        if self.thrust(low, drag) > available:
            return "it could not even hover in this wind; take less wind or a stronger vehicle"
        for _ in range(50):
            factor = (low + high) / 2.0
            flies = self.thrust(factor, drag) <= available and self.downward(factor) < GRAVITY
            low, high = (factor, high) if flies else (low, factor)
        return (
            f"it could fly this shape at {_rounded_down(low * self.speed)} m/s: lower the speed (or lengthen the "
            "period), or take a stronger vehicle"
        )


def _thrust_ratio(acceleration: np.ndarray) -> np.ndarray:
    """Return |a + g e_z| / g, for accelerations [m/s^2], shape (N, 3)."""
    return np.linalg.norm(acceleration + np.array([0.0, 0.0, GRAVITY]), axis=-1) / GRAVITY


def _rounded_down(value: float) -> str:
    """Return a positive value with three digits that is not above it."""
    if value <= 0.0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return f"{math.floor(value / unit) * unit:.3g}"
