"""How the step size of the optimiser falls over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class LearningRate:
    """A step size as a function of the iteration i, of n: constant, linear, or half a cosine, to zero at n."""

    initial: float
    """Step size of iteration 0."""
    schedule: str
    """``constant``: 1; ``linear``: 1 - i / n; ``cosine``: (1 + cos(pi i / n)) / 2, times the initial one."""
    iterations: int | None
    """n; None where it is constant."""

    def __post_init__(self) -> None:
        """Check that there is a step size that can fall."""
        if not self.initial > 0.0:
            raise ValueError(f"learning_rate must be positive, got {self.initial}")
        if self.schedule != "constant" and self.iterations is None:
            raise ValueError(
                f"learning_rate_schedule={self.schedule} needs learning_rate_iterations, the number of iterations "
                "until the rate is zero"
            )

    def at(self, iteration: int) -> float:
        """Return the step size of an iteration."""
        if self.iterations is None:
            return self.initial
        self.check(iteration)
        share = iteration / self.iterations
        falls = 1.0 - share if self.schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * share))
        return self.initial * falls

    def check(self, last: int) -> None:
        """Check that the step size is above zero up to iteration ``last``.

        Raises:
            ValueError: If it reaches zero before.
        """
        if self.iterations is not None and last >= self.iterations:
            raise ValueError(
                f"iteration {last} has a learning rate of zero: raise learning_rate_iterations, which is "
                f"{self.iterations}"
            )
