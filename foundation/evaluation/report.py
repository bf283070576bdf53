"""The report of an evaluation."""

from __future__ import annotations

import platform
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import foundation
from foundation.evaluation import charts
from foundation.evaluation.chart_style import colour_of
from foundation.evaluation.curves import read_curves
from foundation.evaluation.page import chart, code, folded, page, section, side_by_side, table, text, write_whole
from foundation.tasks.saved_params import as_yaml

if TYPE_CHECKING:
    from foundation.evaluation.evaluation import Evaluation


@dataclass(frozen=True)
class Context:
    """Contents of a report besides the flights."""

    command: str | None = None
    """The command that repeats the evaluation."""
    checkpoints: dict[str, Path] = field(default_factory=dict)
    """The policies' files by name."""


def write_report(evaluation: Evaluation, path: str | Path, context: Context | None = None) -> None:
    """Write an evaluation as one HTML file that loads nothing from elsewhere.

    Args:
        evaluation: What :func:`evaluate` returned.
        path: The file.
        context: Where the policies come from, if the report is to say so.
    """
    write_whole(Path(path), report_html(evaluation, context or Context()))


def report_html(evaluation: Evaluation, context: Context) -> str:
    """Return the report as self-contained HTML."""
    policies = list(evaluation.metrics)
    when = datetime.now().astimezone().strftime("%Y-%m-%d %H:%M")
    each = "" if len(evaluation.seeds) == 1 else "each of the "
    subtitle = (
        f"{evaluation.task}: {evaluation.episodes} episodes of {evaluation.steps} steps with "
        f"{each}{evaluation.seeds_in_words()}, {when}"
    )
    sections = [
        section("Comparison", table(*evaluation.table()), text(_how_to_read(evaluation))),
        _learning(context),
        *(_sections_of_flights(evaluation) if evaluation.flights else [_seeds(evaluation)]),
        _origin(evaluation, context),
    ]
    title = (
        f"Flights of {' and '.join(policies)}" if evaluation.flights else f"Returns of {' and '.join(policies)}"
    )
    return page(title, subtitle, _highlights(evaluation), [part for part in sections if part])


def _how_to_read(evaluation: Evaluation) -> str:
    seeds = len(evaluation.seeds)
    if seeds == 1:
        return "One seed: there is no interval. Five seeds (--num_seeds 5) give one."
    return f"Means and 95 % confidence intervals over {seeds} seeds (Student's t)."


def _highlights(evaluation: Evaluation) -> list[tuple[str, str]]:
    role = list(evaluation.metrics)[-1]
    found, summary = [], evaluation.summary[role]
    share = evaluation.relative_return.get(role)
    if share is not None and share.mean is not None:
        found.append((f"{share.mean:.1%}", f"of the {evaluation.reference}'s return"))
    for name, label, form in (
        ("survival", "survival", "{:.1%}"),
        ("position_rmse_m", "error at the end", "{:.3f} m"),
        ("settle_time_s", "to settle", "{:.2f} s"),
        ("timed_out", "reach the time limit", "{:.1%}"),
    ):
        mean = summary[name].mean if name in summary else None
        if mean is not None:
            found.append((form.format(mean), f"{label} ({role})"))
    return found


def _seeds(evaluation: Evaluation) -> str:
    returns = {policy: [row["mean_return"] for row in rows] for policy, rows in evaluation.metrics.items()}
    header = ["seed", *returns]
    rows = [
        [str(seed), *(f"{values[i]:.5g}" for values in returns.values())]
        for i, seed in enumerate(evaluation.seeds)
    ]
    return section("Mean return by seed", table(header, rows))


def _sections_of_flights(evaluation: Evaluation) -> list[str | None]:
    agreements = [_agreement(evaluation, policy) for policy in evaluation.flights]
    return [_flights(evaluation), *agreements, _deaths(evaluation)]


def _learning(context: Context) -> str | None:
    if not context.checkpoints:
        return None
    role = list(context.checkpoints)[-1]
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


def _flights(evaluation: Evaluation) -> str:
    flights = evaluation.flights
    flown = next(iter(flights.values())).pos_w.shape[1]
    return section(
        "Flights",
        side_by_side(
            chart(
                charts.error_chart(flights, evaluation.env_cfg.metrics.settle_radius),
                "Error over time",
                f"Median over those of {flown} vehicles of the first seed that are still in the air; the bands "
                "hold 50 % and 90 % of them.",
            ),
            *(
                chart(
                    charts.path_chart(flight, colour_of(role, flights)),
                    f"Paths, {role}",
                    f"The first {charts.SHOWN_PATHS} vehicles; dots mark where they start"
                    f"{'.' if flight.target_w is None else ', grey lines are the references that they follow.'}",
                )
                for role, flight in flights.items()
            ),
            chart(charts.axis_chart(flights), "Position by axis", "The same vehicles, relative to the target."),
        ),
    )


def _agreement(evaluation: Evaluation, policy: str) -> str | None:
    flight, first = evaluation.flights[policy], evaluation.reference
    if flight.labels is None:
        return None
    own, label = (values[~np.isnan(flight.actions)] for values in (flight.actions, flight.labels))
    rms = float(np.sqrt(np.mean((own - label) ** 2)))
    spread = float(np.var(label))
    explained = f"; the {policy} explains {1.0 - rms**2 / spread:.1%} of the {first}'s variance" if spread else ""
    words = (
        f"Each dot is a rotor's action in a state that the {policy} visited. Root mean square difference "
        f"{rms:.3f} of a range of 2{explained}."
    )
    return section(
        f"Agreement of {policy} and {first}",
        side_by_side(chart(charts.agreement_chart(flight, policy, first), "Actions in the same states", words)),
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


def _origin(evaluation: Evaluation, context: Context) -> str:
    parts = [] if context.command is None else [text("Repeat it:"), code(context.command)]
    for role, checkpoint in context.checkpoints.items():
        parts.append(text(f"{role.capitalize()}: {checkpoint}"))
        file = checkpoint.parent / "params" / "agent.yaml"
        if file.is_file():
            parts.append(folded(f"{role}'s params/agent.yaml", file.read_text(encoding="utf-8")))
    if evaluation.env_cfg is not None:
        parts.append(folded("the environment as flown", as_yaml(evaluation.env_cfg)))
    parts.append(text(f"{_versions()}."))
    return section("Configuration", *parts)


def _versions() -> str:
    from importlib.metadata import version

    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "rsl-rl-lib", "warp-lang"))
    return (
        f"foundation {foundation.__version__}, {packages}, Python {platform.python_version()}, {platform.system()}"
    )
