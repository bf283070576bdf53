"""The report of an evaluation."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import foundation
from foundation.evaluation import charts
from foundation.evaluation.curves import read_curves
from foundation.evaluation.page import chart, code, folded, page, section, side_by_side, table, text
from foundation.tasks.saved_params import as_yaml

if TYPE_CHECKING:
    from foundation.evaluation.evaluation import Evaluation
    from foundation.evaluation.recording import Recording


@dataclass(frozen=True)
class Context:
    """Contents of a report besides the flights."""

    command: str
    """The command that repeats the evaluation."""
    checkpoints: dict[str, Path]
    """The policies' files by role."""
    env_cfg: Any
    """The environment's configuration, as flown."""


def report_html(evaluation: Evaluation, context: Context) -> str:
    """Return the report as self-contained HTML."""
    flights = evaluation.flights
    roles = " and ".join(flights)
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    seeds = evaluation.seeds
    flown = f"seed {seeds[0]}" if len(seeds) == 1 else f"each of the seeds {seeds[0]} to {seeds[-1]}"
    subtitle = (
        f"{evaluation.task}: {evaluation.episodes} episodes of {evaluation.steps} steps with {flown}, {when}"
    )
    sections = [
        section("Comparison", table(*evaluation.table()), text(_how_to_read(len(seeds)))),
        _learning(context),
        _flights(evaluation, context),
        _agreement(flights.get("student")),
        _deaths(evaluation),
        _origin(context),
    ]
    return page(f"Flights of {roles}", subtitle, _highlights(evaluation), [part for part in sections if part])


def _how_to_read(seeds: int) -> str:
    if seeds == 1:
        return "One seed: there is no interval. Give --num_seeds 5 for intervals."
    return f"Means and 95 % confidence intervals over {seeds} seeds (Student's t)."


def _highlights(evaluation: Evaluation) -> list[tuple[str, str]]:
    found = []
    if evaluation.share is not None:
        found.append((f"{evaluation.share:.1%}", "of the teacher's return"))
    role = "student" if "student" in evaluation.flights else "teacher"
    summary = evaluation.summary[role]
    for name, label, form in (
        ("survival", "survival", "{:.1%}"),
        ("position_rmse_m", "error at the end", "{:.3f} m"),
        ("settle_time_s", "to settle", "{:.2f} s"),
    ):
        mean = summary[name].mean
        if mean is not None:
            found.append((form.format(mean), f"{label} ({role})"))
    return found


def _learning(context: Context) -> str | None:
    role = "student" if "student" in context.checkpoints else "teacher"
    curves = read_curves(context.checkpoints[role].parent)
    drawn = side_by_side(
        chart(charts.loss_chart(curves), "Loss", "Behaviour cloning, mean of an iteration."),
        chart(charts.reward_chart(curves), "Return", "Mean of the last episodes that ended while training."),
        chart(
            charts.history_chart(curves),
            "History and who drives",
            "Transitions stored, and the share of steps that the teacher's actions drove.",
        ),
    )
    return section(f"Learning of the {role}", drawn) if "<figure>" in drawn else None


def _flights(evaluation: Evaluation, context: Context) -> str:
    flights = evaluation.flights
    flown = next(iter(flights.values())).pos_w.shape[1]
    return section(
        "Flights",
        side_by_side(
            chart(
                charts.error_chart(flights, context.env_cfg.metrics.settle_radius),
                "Error over time",
                f"Median over those of {flown} vehicles of the first seed that are still in the air; the bands "
                "hold 50 % and 90 % of them.",
            ),
            *(
                chart(
                    charts.path_chart(flight, role),
                    f"Paths, {role}",
                    f"The first {charts.SHOWN_PATHS} vehicles; dots mark where they start.",
                )
                for role, flight in flights.items()
            ),
            chart(charts.axis_chart(flights), "Position by axis", "The same vehicles, relative to the target."),
        ),
    )


def _agreement(flight: Recording | None) -> str | None:
    if flight is None or flight.labels is None:
        return None
    own, label = (values[~np.isnan(flight.actions)] for values in (flight.actions, flight.labels))
    rms = float(np.sqrt(np.mean((own - label) ** 2)))
    spread = float(np.var(label))
    explained = f"; the student explains {1.0 - rms**2 / spread:.1%} of the teacher's variance" if spread else ""
    words = (
        "Each dot is a rotor's action in a state that the student visited. Root mean square difference "
        f"{rms:.3f} of a range of 2{explained}."
    )
    return section(
        "Agreement of student and teacher",
        side_by_side(chart(charts.agreement_chart(flight), "Actions in the same states", words)),
    )


def _deaths(evaluation: Evaluation) -> str:
    episodes = evaluation.episodes * len(evaluation.seeds)
    counts = {
        role: round(episodes * (1.0 - (evaluation.summary[role]["survival"].mean or 0.0)))
        for role in evaluation.flights
    }
    said = "; ".join(f"{role} {count} of {episodes} episodes" for role, count in counts.items())
    drawn = chart(
        charts.death_chart(evaluation.deaths),
        "Last positions",
        "From above and from the side, relative to the target (star); all seeds.",
    )
    return section("Where vehicles are lost", text(f"Lost: {said}."), side_by_side(drawn) if drawn else "")


def _origin(context: Context) -> str:
    parts = [text("Repeat it:"), code(context.command)]
    for role, checkpoint in context.checkpoints.items():
        parts.append(text(f"{role.capitalize()}: {checkpoint}"))
        file = checkpoint.parent / "params" / "agent.yaml"
        if file.is_file():
            parts.append(folded(f"{role}'s params/agent.yaml", file.read_text(encoding="utf-8")))
    parts.append(folded("the environment as flown", as_yaml(context.env_cfg)))
    parts.append(text(f"{_versions()}."))
    return section("Configuration", *parts)


def _versions() -> str:
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "rsl-rl-lib", "warp-lang"))
    return (
        f"foundation {foundation.__version__}, {packages}, Python {platform.python_version()}, {platform.system()}"
    )
