"""Learning-rate schedules: how the step size of the optimiser falls over a run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from foundation.distill.strategies import Registry, Strategy


class LearningRateSchedule(Strategy):
    """The share of the initial learning rate over the course of a run. Extend it to write one of your own.

    With ``takes = ()`` it needs no ``learning_rate_iterations``, and ``progress`` is the number of the iteration.
    """

    takes = ("learning_rate_iterations",)

    def share(self, progress: float) -> float:
        """Return the share at ``progress``, from 0 at the first iteration to 1 after the last."""
        raise NotImplementedError


class Constant(LearningRateSchedule):
    """Always the initial learning rate."""

    takes = ()

    def share(self, progress: float) -> float:
        """Return 1."""
        return 1.0


class Linear(LearningRateSchedule):
    """A straight line to zero."""

    def share(self, progress: float) -> float:
        """Return 1 - progress."""
        return 1.0 - progress


class Cosine(LearningRateSchedule):
    """Half a cosine to zero."""

    def share(self, progress: float) -> float:
        """Return (1 + cos(pi progress)) / 2."""
        return 0.5 * (1.0 + math.cos(math.pi * progress))


class InverseSqrt(LearningRateSchedule):
    """Falls with the square root of the iteration: a half after 30 iterations, and it never ends.

    Step sizes of this order are those of stochastic approximation (Nemirovski, Juditsky, Lan and Shapiro, "Robust
    stochastic approximation approach to stochastic programming", SIAM Journal on Optimization 19(4), 2009).
    """

    takes = ()
    _ITERATIONS = 10
    """Iterations after which it begins to fall noticeably, found by trial on task ``distillation``."""

    def share(self, progress: float) -> float:
        """Return 1 / sqrt(1 + iteration / 10)."""
        return 1.0 / math.sqrt(1.0 + progress / self._ITERATIONS)


LEARNING_RATES = Registry(
    "learning_rate_schedule",
    LearningRateSchedule,
    {"linear": Linear, "cosine": Cosine, "inverse_sqrt": InverseSqrt, "constant": Constant},
)
RSL_RL_LEARNING_RATE = 1e-3
"""Learning rate of rsl_rl's ``Distillation`` by default."""
DAGGER_DEFAULTS = {"learning_rate": 3e-3, "learning_rate_schedule": "inverse_sqrt"}
"""What applies with DAgger where neither is named."""


def with_learning_rate(options: dict[str, Any]) -> dict[str, Any]:
    """Return the algorithm's options with a learning rate.

    Options that name neither rate nor schedule get those that suit mini-batches of an aggregated history: large
    steps at first, which fall with every iteration. Without DAgger, rsl_rl's rate applies.
    """
    if options.get("use_dagger", True) and not DAGGER_DEFAULTS.keys() & options.keys():
        return options | DAGGER_DEFAULTS
    return {"learning_rate": RSL_RL_LEARNING_RATE} | options


@dataclass(frozen=True)
class LearningRate:
    """The learning rate of every iteration of a run."""

    initial: float
    """Learning rate of iteration 0."""
    schedule: str
    """Name or import path of a schedule."""
    iterations: int | None
    """Iterations until the schedule ends; None for a constant rate."""

    def __post_init__(self) -> None:
        """Check that there is a learning rate, and an end for a schedule that has one."""
        if isinstance(self.initial, bool) or not isinstance(self.initial, (int, float)):
            raise ValueError(f"learning_rate must be a number, got {self.initial!r}; in YAML, write 1.0e-3")
        if not self.initial > 0.0:
            raise ValueError(f"learning_rate must be positive, got {self.initial}")
        if LEARNING_RATES.find(self.schedule).takes and self.iterations is None:
            raise ValueError(
                f"learning_rate_schedule={self.schedule} needs learning_rate_iterations, the number of iterations "
                "until the rate is zero"
            )

    def at(self, iteration: int) -> float:
        """Return the learning rate of an iteration."""
        schedule: LearningRateSchedule = LEARNING_RATES.find(self.schedule)()
        if self.iterations is None:
            return self.initial * schedule.share(iteration)
        self.check(iteration)
        return self.initial * schedule.share(iteration / self.iterations)

    def check(self, last: int) -> None:
        """Check that the learning rate is above zero up to iteration ``last``.

        Raises:
            ValueError: If it reaches zero before.
        """
        if self.iterations is not None and last >= self.iterations:
            raise ValueError(
                f"iteration {last} has a learning rate of zero: raise learning_rate_iterations, which is "
                f"{self.iterations}"
            )
