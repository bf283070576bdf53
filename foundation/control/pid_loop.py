"""One stage of a cascaded PID controller: three axes, each with an integrator of its own."""

from __future__ import annotations

import math

import torch

Axes = tuple[float, float, float]


def wrapped(angle: torch.Tensor) -> torch.Tensor:
    """Return angles in [-pi, pi) [rad]."""
    return torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi


class PidLoop:
    """PID controllers of three axes in N environments, as ``src/utils/src/pid.c`` of the Crazyflie's firmware.

    The derivative is that of the measurement, so that a jump of the reference is no kick. It is not filtered: the
    firmware's filters of angles and rates are off by default. The integral is clamped, which is all there is
    against windup.
    """

    def __init__(
        self,
        num_envs: int,
        dt: float,
        proportional: Axes,
        integral: Axes,
        integral_limit: Axes,
        derivative: Axes = (0.0, 0.0, 0.0),
        wraps: bool = False,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Set the gains of the three axes and clear the integrators.

        Args:
            num_envs: Number of environments N.
            dt: Time between two calls [s].
            proportional: Output per error.
            integral: Output per integral of the error.
            integral_limit: Largest magnitude of the integral of the error.
            derivative: Output against the measurement's derivative.
            wraps: Whether measurements are angles [rad] that jump by a whole turn.
            device: Torch device.
            dtype: Precision.
        """
        self.dt, self.wraps = dt, wraps
        rows = torch.tensor([proportional, integral, integral_limit, derivative], dtype=dtype, device=device)
        self._proportional, self._integral, self._limit, self._derivative = rows.unbind(0)
        self.integral = torch.zeros(num_envs, 3, dtype=dtype, device=device)
        """Integral of the error over time, shape (N, 3)."""
        self.measured = torch.full_like(self.integral, math.nan)
        """Last measurement, NaN before the first one, shape (N, 3)."""

    def __call__(self, error: torch.Tensor, measured: torch.Tensor | None = None) -> torch.Tensor:
        """Advance by one step and return the output, shape (N, 3).

        Args:
            error: Reference minus measurement, shape (N, 3).
            measured: The measurement, for the derivative, shape (N, 3); None without one.
        """
        limit = self._limit
        self.integral = torch.minimum(torch.maximum(self.integral + self.dt * error, -limit), limit)
        output = self._proportional * error + self._integral * self.integral
        if measured is None:
            return output
        change = measured - self.measured
        if self.wraps:
            change = wrapped(change)
        self.measured = measured.clone()
        # Nothing was measured before the first step: no derivative.
        return output - self._derivative * torch.nan_to_num(change, nan=0.0) / self.dt

    def reset(self, mask: torch.Tensor) -> None:
        """Clear the integrals and measurements of the environments in a mask, bool, shape (N,)."""
        self.integral = self.integral.masked_fill(mask[:, None], 0.0)
        self.measured = self.measured.masked_fill(mask[:, None], math.nan)
