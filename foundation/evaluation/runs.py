"""Runs on disk: settings, metrics and key figures, and the page that compares them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.distill.runners.dagger import DaggerRunner
from foundation.evaluation import charts
from foundation.evaluation.curves import LOSS, REWARD, TEACHER_FRACTION, Curve, read_curves
from foundation.evaluation.page import chart, page, section, side_by_side, table, text
from foundation.tasks.run_vehicle import kept_vehicle
from foundation.tasks.saved_params import PARAMS, load_params, settings

HEADER = ("run", "trains", "iterations", "minutes", "return", "best return", "loss", "MB")


@dataclass(frozen=True)
class Run:
    """A run's folder, saved settings and logged metrics."""

    path: Path
    settings: dict[str, Any]
    """Settings by name, such as ``agent.algorithm.learning_rate``."""
    curves: dict[str, Curve]
    """Metrics by name; empty without TensorBoard files."""

    @property
    def name(self) -> str:
        """Experiment and folder."""
        return f"{self.path.parent.name}/{self.path.name}"

    @property
    def trains(self) -> str:
        """The trained policy: teacher, student or fine-tuned student."""
        if any(name.startswith("agent.student.") for name in self.settings):
            return "student"
        return "fine-tuned student" if self.settings.get("agent.init_from") else "teacher"

    @property
    def best_return(self) -> float | None:
        """Largest mean return of the trained policy: iterations that the teacher drives do not count."""
        reward, share = self.curves.get(REWARD), self.curves.get(TEACHER_FRACTION)
        if reward is None:
            return None
        own = np.isfinite(reward.values)
        if share is not None:
            own &= np.isin(reward.steps, share.steps[share.values <= DaggerRunner.MOSTLY_STUDENT])
        return float(reward.values[own].max()) if own.any() else None

    def row(self) -> list[str]:
        """Return the key figures in the order of ``HEADER``; a dash where there is none."""
        reward, loss, best = self.curves.get(REWARD), self.curves.get(LOSS), self.best_return
        longest = max(self.curves.values(), key=lambda curve: len(curve.steps), default=None)
        size = sum(_size(file) for file in self.path.rglob("*"))
        return [
            self.name,
            self.trains,
            "-" if longest is None else str(int(longest.steps[-1]) + 1),
            "-" if longest is None else f"{(longest.wall_time[-1] - longest.wall_time[0]) / 60.0:.1f}",
            "-" if reward is None else f"{reward.values[-1]:.2f}",
            "-" if best is None else f"{best:.2f}",
            "-" if loss is None else f"{loss.values[-1]:.2g}",
            f"{size / 1e6:.0f}",
        ]


def find_runs(root: Path) -> list[Path]:
    """Return the folders with saved settings under ``root``, or ``root`` itself, oldest first."""
    found = {path.parent.parent for path in root.glob(f"**/{PARAMS}/agent.yaml") if path.is_file()}
    return sorted(found, key=lambda path: (path.name, str(path)))


def read_run(path: Path) -> Run:
    """Return a run.

    Raises:
        ConfigError: If its saved settings cannot be read.
    """
    found = {}
    for group in ("env", "agent"):
        found |= dict(settings(load_params(path, group) or {}, group))
    # Every run has a copy of its own: what counts is whether the vehicles are the same.
    if (vehicle := kept_vehicle(path / PARAMS)) is not None:
        found["env.robot.spawn.usd_path"] = vehicle
    return Run(path, found, read_curves(path))


def differences(runs: Sequence[Run]) -> list[list[str]]:
    """Return a row for each setting that differs between runs: its name, then its value in each run."""
    names = sorted({name for run in runs for name in run.settings})
    rows = [[name, *(str(run.settings.get(name, "-")) for run in runs)] for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """Return the shortest distinct names of runs: folder, experiment and folder, or path."""
    for names in ([run.path.name for run in runs], [run.name for run in runs]):
        if len(set(names)) == len(names):
            return names
    return [str(run.path) for run in runs]


def comparison(runs: Sequence[Run]) -> str:
    """Return a page that compares runs."""
    distinct = distinct_names(runs)
    curves = dict(zip(distinct, (run.curves for run in runs), strict=True))
    differing = differences(runs)
    drawn = side_by_side(
        chart(charts.overlay_chart(curves, REWARD, "mean return"), "Return", "Mean of the last episodes."),
        chart(
            charts.overlay_chart(curves, REWARD, "mean return", over_time=True),
            "Return over time",
            "The same over minutes of training.",
        ),
        chart(charts.overlay_chart(curves, LOSS, "loss", log=True), "Loss", "Behaviour cloning."),
    )
    settings = table(["setting", *distinct], differing) if differing else text("All settings are the same.")
    return page(
        f"{len(runs)} runs",
        ", ".join(run.name for run in runs),
        [],
        [
            section("Key figures", table(HEADER, [run.row() for run in runs])),
            section("Settings that differ", settings),
            section("Curves", drawn if "<figure>" in drawn else text("No run has TensorBoard files.")),
        ],
    )


def _size(file: Path) -> int:
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:  # an active run prunes its checkpoints
        return 0
