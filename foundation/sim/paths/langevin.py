"""Random paths: harmonic oscillators with friction that noise keeps moving."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foundation.sim.paths.checks import fixed_heading, number, positive
from foundation.sim.paths.samples import PathSamples, checked_times

_COARSEST = 0.2
"""Largest (friction + omega) * dt: coarser steps change the variances by more than a tenth."""


@dataclass(frozen=True)
class Langevin:
    """Second-order Langevin dynamics on each axis, dv = (-friction v - omega^2 x) dt + sigma dW, dx = v dt.

    The recursion is that of RAPTOR's training (rl_tools at 3894fd84, ``l2f/operations_generic/
    70_post_integration.h``): the velocity first and the position with the new velocity, then exponential smoothing
    of the velocity, which the smoothed position integrates. There a path starts at rest in the origin, with sigma
    0.5 and smoothing 0.01, a time constant of 1 s; here it starts from the recursion's stationary distribution, so
    that all its times are alike. For small steps and without smoothing, position and velocity are independent and
    normal with the variances sigma^2 / (2 friction omega^2) and sigma^2 / (2 friction).

    The velocity of the unsmoothed path is not differentiable. The acceleration is the expected one, without the
    noise to come: the drift -friction v - omega^2 x, or with smoothing the expected rate of change of the smoothed
    velocity.

    Raises:
        ValueError: If a parameter cannot work.
    """

    friction: float = 1.0
    """Rate at which the velocity decays [1/s]."""
    omega: float = 2.0
    """Angular frequency of the oscillator [rad/s]."""
    sigma: float | None = None
    """Intensity of the noise [m/s^1.5]; 1 if neither it nor the speed is given."""
    speed: float | None = None
    """Root mean square speed of the path [m/s], not the largest, instead of sigma, which it scales."""
    smoothing: float = 1.0
    """Share of the new velocity in the smoothed one per step of ``dt``, in (0, 1]; 1 does not smooth. The time
    constant is about dt / smoothing."""
    dt: float = 0.01
    """Longest step of the integration [s]. Steps divide those of the times; for shorter ones than ``dt`` the
    smoothing has the same time constant."""
    heading: float = 0.0
    """Heading [rad]."""

    def __post_init__(self) -> None:
        """Check the parameters."""
        positive("Langevin.friction", self.friction, "without friction the noise would add up without end")
        positive("Langevin.omega", self.omega, "without a restoring force the path would leave without end")
        positive("Langevin.dt", self.dt, "0.01 s suits the defaults")
        fixed_heading("Langevin.heading", self.heading)
        if self.sigma is not None and self.speed is not None:
            raise ValueError(
                f"Langevin.sigma and Langevin.speed exclude each other, got {self.sigma} and {self.speed} m/s; "
                "give one, the other follows"
            )
        for name in ("sigma", "speed"):
            if getattr(self, name) is not None:
                positive(f"Langevin.{name}", getattr(self, name), "for a standing target take Hover")
        if not 0.0 < number("Langevin.smoothing", self.smoothing) <= 1.0:
            raise ValueError(f"Langevin.smoothing must lie in (0, 1], got {self.smoothing}; 1 does not smooth")
        if (coarse := (self.friction + self.omega) * self.dt) > _COARSEST:
            raise ValueError(
                f"Langevin.dt must be at most {_COARSEST} / (friction + omega), or the integration is coarse, got "
                f"{self.dt} s, {coarse:.3g} / (friction + omega); take at most "
                f"{_COARSEST / (self.friction + self.omega):.3g} s"
            )

    @property
    def period(self) -> float | None:
        """None, as for all paths that do not repeat."""
        return None

    def sample(self, times: np.ndarray, rng: np.random.Generator) -> PathSamples:
        """Draw one path at ``times`` [s], shape (T,)."""
        drawn = sample_langevin([self], times, rng)
        return PathSamples(drawn.position[0], drawn.velocity[0], drawn.acceleration[0], drawn.heading[0])


def sample_langevin(paths: Sequence[Langevin], times: np.ndarray, rng: np.random.Generator) -> PathSamples:
    """Draw P paths at ``times`` [s], shape (T,), integrated together; results have a leading dimension P."""
    times = checked_times(times)
    spacing = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else paths[0].dt
    finest = min(path.dt for path in paths)
    # The tolerance keeps the rounding of the times from doubling the number of steps.
    substeps = max(1, math.ceil(spacing / finest - 1e-3))
    model = _Recursion.of(paths, spacing / substeps)
    covariance = model.stationary_covariance()
    speed_at_unit_sigma = np.sqrt(3.0 * covariance[:, 3, 3])
    sigma = np.array(
        [
            path.speed / unit if path.speed is not None else (1.0 if path.sigma is None else path.sigma)
            for path, unit in zip(paths, speed_at_unit_sigma, strict=True)
        ]
    )
    # The smoothed state depends linearly on the others, so the covariance is singular: no Cholesky factor.
    values, vectors = np.linalg.eigh(covariance)
    factor = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :] * sigma[:, None, None]
    count, shape = len(paths), (len(paths), len(times), 3)
    state = np.moveaxis(factor @ rng.standard_normal((count, 4, 3)), 1, 0)
    position, velocity, acceleration = np.empty(shape), np.empty(shape), np.empty(shape)
    for index in range(len(times)):
        for _ in range(substeps if index else 0):
            state = model.step(state, sigma[:, None] * rng.standard_normal((count, 3)))
        position[:, index], velocity[:, index] = state[2], state[3]
        acceleration[:, index] = (model.step(state, 0.0)[3] - state[3]) / model.dt
    heading = np.repeat([[float(path.heading)] for path in paths], len(times), axis=1)
    return PathSamples(position, velocity, acceleration, heading)


@dataclass(frozen=True)
class _Recursion:
    """The recursion of P oscillators, whose state is position, velocity, smoothed position, smoothed velocity."""

    friction: np.ndarray
    """[1/s], shape (P, 1)."""
    stiffness: np.ndarray
    """omega^2 [1/s^2], shape (P, 1)."""
    smoothing: np.ndarray
    """Per step, shape (P, 1)."""
    dt: float
    """Step [s]."""

    @classmethod
    def of(cls, paths: Sequence[Langevin], dt: float) -> _Recursion:
        """Return the recursion of ``paths`` for steps of ``dt`` [s]."""
        friction, omega, smoothing, step = np.array([[p.friction, p.omega, p.smoothing, p.dt] for p in paths]).T
        return cls(
            friction[:, None], omega[:, None] ** 2, (1.0 - (1.0 - smoothing) ** (dt / step))[:, None], float(dt)
        )

    def step(self, state: np.ndarray, noise: np.ndarray | float) -> np.ndarray:
        """Return the state a step later, shape (4, P, ...), for unit noise times sigma, shape (P, ...).

        The smoothed position is written as the smoothing of the position: it equals the integral of the smoothed
        velocity, but does not keep an error of rounding for ever.
        """
        x, v, smooth_x, smooth_v = state
        v = v - (self.friction * v + self.stiffness * x) * self.dt + noise * math.sqrt(self.dt)
        x = x + v * self.dt
        smooth_x = smooth_x + self.smoothing * (x - smooth_x)
        smooth_v = smooth_v + self.smoothing * (v - smooth_v)
        return np.stack([x, v, smooth_x, smooth_v])

    def stationary_covariance(self) -> np.ndarray:
        """Return the covariance C of one axis's state for sigma 1, shape (P, 4, 4), where C = A C A' + b b'."""
        count = len(self.friction)
        basis = np.broadcast_to(np.eye(4)[:, None], (4, count, 4))
        transition = np.moveaxis(self.step(basis, 0.0), 0, 1)
        kick = self.step(np.zeros((4, count, 1)), 1.0)[..., 0].T
        pairs = np.einsum("pij,pkl->pikjl", transition, transition).reshape(count, 16, 16)
        kicks = np.einsum("pi,pj->pij", kick, kick).reshape(count, 16, 1)
        covariance = np.linalg.solve(np.eye(16) - pairs, kicks).reshape(count, 4, 4)
        return (covariance + np.swapaxes(covariance, 1, 2)) / 2.0
