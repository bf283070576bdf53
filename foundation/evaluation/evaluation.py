"""Fly policies on several seeds and collect the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foundation.evaluation.flights import FlightMetrics, fly
from foundation.evaluation.intervals import Interval, interval
from foundation.evaluation.recording import Recorder, Recording

if TYPE_CHECKING:
    from foundation.evaluation.policies import Policy
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv


class Column(NamedTuple):
    """Title and format of a metric in a table."""

    title: str
    form: str = "{:.2f}"
    factor: float = 1.0
    unit: str = ""


COLUMNS = {
    "survival": Column("survival", factor=100.0, unit=" %"),
    "mean_return": Column("mean return"),
    "position_rmse_m": Column("position RMSE [m]", "{:.4f}"),
    "settle_time_s": Column("settle time [s]", "{:.3f}"),
    "settled": Column("settled", factor=100.0, unit=" %"),
}
"""The metrics by name."""
MOST_RECORDED = 1024
"""Vehicles of each seed whose flights are recorded for the report."""


@dataclass
class Evaluation:
    """Flights of one or two policies on the same seeds."""

    task: str
    episodes: int
    """Episodes of each seed."""
    steps: int
    """Steps of an episode."""
    seeds: list[int]
    metrics: dict[str, list[FlightMetrics]] = field(default_factory=dict)
    """By role, one of each seed."""
    flights: dict[str, Recording] = field(default_factory=dict)
    """By role, of the first seed."""
    deaths: dict[str, np.ndarray] = field(default_factory=dict)
    """By role, last positions of the recorded vehicles that were lost [m], shape (K, 3)."""

    @property
    def summary(self) -> dict[str, dict[str, Interval]]:
        """Mean and interval over the seeds, by role and metric."""
        return {
            role: {name: interval([metrics.to_dict()[name] for metrics in rows]) for name in COLUMNS}
            for role, rows in self.metrics.items()
        }

    @property
    def share(self) -> float | None:
        """The student's mean return over the teacher's; None without both, or if the teacher's is not positive."""
        if len(self.metrics) < 2:
            return None
        student, teacher = (self.summary[role]["mean_return"].mean for role in ("student", "teacher"))
        return None if student is None or teacher is None or teacher <= 0.0 else student / teacher

    def fly(
        self,
        policies: dict[str, Policy],
        make_env: Callable[[int], PointCtrlEnv],
        progress: Callable[[str], Callable[[int, int], None]],
        keep_flights: bool,
    ) -> None:
        """Fly every policy on every seed.

        Args:
            policies: The policies by role.
            make_env: Returns an environment for a seed; equal seeds give equal vehicles, forces and first states.
            progress: Called with a label, returns the callback that is called after each step.
            keep_flights: Whether to record flights, for the report.
        """
        for role, policy in policies.items():
            self.metrics[role] = []
            places: list[np.ndarray] = []
            for seed in self.seeds:
                env = make_env(seed)
                policy.model.reset()
                is_first = seed == self.seeds[0]
                recorder = Recorder(env, MOST_RECORDED, _label(role, policies) if is_first else None)
                label = f"{role}, seed {seed}" if len(self.seeds) > 1 else role
                self.metrics[role].append(fly(env, policy, progress(label), recorder if keep_flights else None))
                if keep_flights:
                    flight = recorder.recording()
                    places.append(_last_positions(flight, self.steps))
                    self.flights.setdefault(role, flight)
            self.deaths[role] = np.concatenate(places) if places else np.empty((0, 3))

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON; means are over the seeds, None where no episode defines a value."""
        summary = self.summary
        return {
            "task": self.task,
            "episodes": self.episodes,
            "steps": self.steps,
            "seed": self.seeds[0],
            "policies": {role: {n: value.mean for n, value in row.items()} for role, row in summary.items()},
            "seeds": self.seeds,
            "confidence_95": {role: {n: value.half for n, value in row.items()} for role, row in summary.items()},
            "per_seed": {role: [metrics.to_dict() for metrics in rows] for role, rows in self.metrics.items()},
        }

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Return the header and a row per policy."""
        header = ["policy", *(column.title for column in COLUMNS.values())]
        return header, [
            [role, *(_cell(row[name], column) for name, column in COLUMNS.items())]
            for role, row in self.summary.items()
        ]


def _label(role: str, policies: dict[str, Policy]) -> Policy | None:
    """Return the policy that labels a student's flight: the teacher, with its state reset."""
    teacher = policies.get("teacher") if role == "student" else None
    if teacher is not None:
        teacher.model.reset()
    return teacher


def _last_positions(flight: Recording, steps: int) -> np.ndarray:
    lost = np.flatnonzero(flight.length < steps)
    return flight.pos_w[flight.length[lost] - 1, lost]


def _cell(value: Interval, column: Column) -> str:
    if value.mean is None:
        return "-"
    text = column.form.format(column.factor * value.mean)
    if value.half is not None:
        text += f" ± {column.form.format(column.factor * value.half)}"
    return text + column.unit
