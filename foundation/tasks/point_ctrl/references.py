"""The table of paths that environments follow, shared with the kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from foundation.control.rotations import product
from foundation.sim.paths import Path, PathSamples, sample_many
from foundation.tasks.point_ctrl.layout import REFERENCE, REFERENCE_DIM


@dataclass(frozen=True)
class CurrentReference:
    """What each of N environments follows in this step, world frame."""

    position: torch.Tensor
    """Position [m], shape (N, 3)."""
    velocity: torch.Tensor
    """Velocity [m/s], shape (N, 3)."""
    acceleration: torch.Tensor
    """Acceleration [m/s^2], shape (N, 3)."""
    half_heading: torch.Tensor
    """Sine and cosine of half of the heading, shape (N, 2)."""
    heading_rate: torch.Tensor
    """Rate of the heading [rad/s], shape (N, 1)."""

    @classmethod
    def of(cls, samples: torch.Tensor) -> CurrentReference:
        """Return the parts of samples with columns as in the layout, shape (N, 12)."""
        return cls(*samples.split(list(REFERENCE.values()), dim=1))

    def turned_back(self, vectors_w: torch.Tensor) -> torch.Tensor:
        """Return vectors, (N, 3), in axes that are turned by the heading."""
        half_sin, half_cos = self.half_heading.unbind(1)
        sin, cos = 2.0 * half_sin * half_cos, half_cos.square() - half_sin.square()
        x, y, z = vectors_w.unbind(1)
        return torch.stack([cos * x + sin * y, cos * y - sin * x, z], dim=1)

    def relative_attitude(self, quat_wb: torch.Tensor) -> torch.Tensor:
        """Return attitudes (x, y, z, w), (N, 4), relative to the heading."""
        half_sin, half_cos = self.half_heading.unbind(1)
        zero = torch.zeros_like(half_sin)
        return product(torch.stack([zero, zero, -half_sin, half_cos], dim=1), quat_wb)


class ReferenceTable:
    """P paths of T samples, one per control step."""

    def __init__(self, paths: PathSamples, dt: float, device: torch.device | str = "cpu") -> None:
        """Take over the samples.

        Args:
            paths: Samples with a leading dimension P, one for each control step.
            dt: Control step [s].
            device: Torch device.

        Raises:
            ValueError: If a number is not finite.
        """
        half = 0.5 * paths.heading[..., None]
        rate = np.gradient(np.unwrap(paths.heading, axis=1), dt, axis=1)[..., None]
        columns = [paths.position, paths.velocity, paths.acceleration, np.sin(half), np.cos(half), rate]
        samples = np.concatenate(columns, axis=-1)
        if not np.isfinite(samples).all():
            raise ValueError("a path has samples that are not finite")
        self.paths, self.steps = paths.heading.shape
        self.samples = torch.as_tensor(samples, dtype=torch.float32, device=device).view(-1, REFERENCE_DIM)
        """Rows of all paths one after the other, columns as in the layout, shape (P * T, 12)."""

    @classmethod
    def of(
        cls, paths: Sequence[Path], steps: int, dt: float, rng: np.random.Generator, device: torch.device | str
    ) -> ReferenceTable:
        """Sample paths for episodes of ``steps`` control steps of ``dt`` [s], and their first states."""
        return cls(sample_many(paths, np.arange(steps + 1) * dt, rng), dt, device)

    @property
    def digest(self) -> torch.Tensor:
        """What tells tables apart: numbers of paths and steps, and the sums of columns, float64, shape (14,)."""
        sums = self.samples.double().sum(0).cpu()
        return torch.cat([torch.tensor([self.paths, self.steps], dtype=torch.float64), sums])

    def is_that_of(self, digest: torch.Tensor | None) -> bool:
        """Return whether a digest is this table's."""
        return digest is not None and torch.equal(digest.cpu(), self.digest)

    @property
    def positions(self) -> torch.Tensor:
        """Positions of all samples, world frame [m], shape (P * T, 3)."""
        return self.samples[:, :3]

    def around(self, rows: torch.Tensor, before: int, after: int, every: int) -> torch.Tensor:
        """Return positions of the paths from some steps before rows to some after them.

        They are those of the paths' steps that are multiples of ``every``, so from one step to the next they stay
        the same; beyond the ends of a path they are its first and last ones.

        Args:
            rows: Rows of the table, integer, shape (N,).
            before: Steps before them.
            after: Steps after them.
            every: Steps from one position to the next.

        Returns:
            Positions, world frame [m], shape (K, N, 3).
        """
        step = rows.long() % self.steps
        begin = rows.long() - step
        offsets = every * torch.arange(-(before // every), after // every + 1, device=rows.device)
        steps = step - step % every + offsets[:, None]
        return self.positions[begin + steps.clamp(0, self.steps - 1)]

    def ahead(self, rows: torch.Tensor, steps: int) -> CurrentReference:
        """Return the samples some steps after rows, integer, shape (N,), or a path's last ones."""
        last = (rows.long() // self.steps + 1) * self.steps - 1
        return CurrentReference.of(self.samples[torch.minimum(rows.long() + steps, last)])
