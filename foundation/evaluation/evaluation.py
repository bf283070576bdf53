"""The result of an evaluation: metrics, intervals, table and report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from foundation.evaluation.columns import SHARE, Column, aligned, cell
from foundation.evaluation.intervals import Interval, interval, ratio_interval
from foundation.evaluation.recording import Recording


@dataclass
class Evaluation:
    """Episodes of policies on the same seeds; printed, it is a table."""

    task: str
    seeds: list[int]
    episodes: int = 0
    """Episodes of each seed: one of each environment."""
    steps: int = 0
    """Most steps of an episode."""
    columns: dict[str, Column] = field(default_factory=dict)
    """The metrics in the table, by name."""
    metrics: dict[str, list[dict[str, float | None]]] = field(default_factory=dict)
    """By policy, one of each seed; None where no episode defines a value."""
    flights: dict[str, Recording] = field(default_factory=dict)
    """By policy, of the first seed; quadrotors only."""
    deaths: dict[str, np.ndarray] = field(default_factory=dict)
    """By policy, last positions of the recorded vehicles that were lost, relative to the target, world frame [m],
    shape (K, 3); quadrotors only."""
    env_cfg: Any = None
    """Configuration of the environments; quadrotors only."""

    @property
    def reference(self) -> str:
        """The first policy, with which the others are compared."""
        return next(iter(self.metrics))

    @property
    def summary(self) -> dict[str, dict[str, Interval]]:
        """Mean and interval over the seeds, by policy and metric."""
        return {
            policy: {name: interval([row[name] for row in rows]) for name in self.columns}
            for policy, rows in self.metrics.items()
        }

    @property
    def relative_return(self) -> dict[str, Interval]:
        """Mean return over that of the first policy, by every other policy; undefined unless that is positive."""
        returns = {policy: [row["mean_return"] for row in rows] for policy, rows in self.metrics.items()}
        first = returns.pop(self.reference)
        return {policy: ratio_interval(own, first) for policy, own in returns.items()}

    @property
    def share(self) -> float | None:
        """The student's mean return over the teacher's; None without both, or if the teacher's is not positive."""
        if self.reference != "teacher" or "student" not in self.metrics:
            return None
        return self.relative_return["student"].mean

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON; means are over the seeds, None where no episode defines a value."""
        summary = self.summary
        return {
            "task": self.task,
            "episodes": self.episodes,
            "steps": self.steps,
            "seed": self.seeds[0],
            "policies": {policy: {n: value.mean for n, value in row.items()} for policy, row in summary.items()},
            "seeds": self.seeds,
            "confidence_95": {
                policy: {n: value.half for n, value in row.items()} for policy, row in summary.items()
            },
            "relative_return": {policy: asdict(value) for policy, value in self.relative_return.items()},
            "per_seed": self.metrics,
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and a row per policy."""
        header = ["policy", *(column.title for column in self.columns.values())]
        rows = [
            [policy, *(cell(row[name], column) for name, column in self.columns.items())]
            for policy, row in self.summary.items()
        ]
        if len(rows) > 1:
            header.append(f"of {self.reference}'s return")
            for row in rows:
                row.append(cell(self.relative_return.get(row[0], Interval(None, None)), SHARE))
        return header, rows

    def __str__(self) -> str:
        """Return the table as text, with what was run above it."""
        return f"{self.episodes} episodes of {self.steps} steps, {self.seeds_in_words()}\n{aligned(*self.table())}"

    def seeds_in_words(self) -> str:
        """Return which seeds were run, such as ``seeds 0 to 4``."""
        first, last = self.seeds[0], self.seeds[-1]
        if len(self.seeds) == 1:
            return f"seed {first}"
        if self.seeds == list(range(first, last + 1)):
            return f"seeds {first} to {last}"
        return f"seeds {', '.join(map(str, self.seeds))}"
