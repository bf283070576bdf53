"""What a flight along a path leaves behind: statistics, arrays, and a section of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foundation.evaluation.chart_style import as_svg
from foundation.evaluation.page import chart, code, page, section, side_by_side, table, text, write_whole
from foundation.evaluation.tracking import plots
from foundation.evaluation.tracking.flight import TrackedFlight
from foundation.evaluation.tracking.statistics import UNITS

STATISTICS, ERRORS, TRAJECTORY = "tracking_statistics", "tracking_errors.npz", "trajectory_data.npz"
REPORT = "report.html"
_BEGIN, _END = "<!-- tracking -->", "<!-- end of tracking -->"


def write_arrays(flight: TrackedFlight, folder: Path) -> list[Path]:
    """Write errors and trajectories, shapes (T, N, …), as compressed NumPy archives."""
    errors = {"position_errors": flight.position_error, "velocity_errors": flight.velocity_error}
    data = {
        "desired_pos": flight.desired_pos,
        "actual_pos": flight.actual_pos,
        "desired_vel": flight.desired_vel,
        "actual_vel": flight.actual_vel,
        "position_error": flight.position_error,
        "velocity_error": flight.velocity_error,
        "actions": flight.actions,
        "timestamps": flight.timestamps,
    }
    for name, arrays in ((ERRORS, errors), (TRAJECTORY, data)):
        np.savez_compressed(folder / name, **arrays)  # pyright: ignore[reportArgumentType]
    return [folder / ERRORS, folder / TRAJECTORY]


def write_statistics(results: Mapping[str, Any], context: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write the statistics of all policies as JSON and as text.

    Args:
        results: What :func:`~foundation.evaluation.tracking.statistics.statistics` returned, by policy; the first
            is the one that was asked for.
        context: What was flown, such as path and command; goes into the JSON as it is.
        folder: Where to write ``tracking_statistics.json`` and ``.txt``.
    """
    first = next(iter(results))
    contents = {"policy": first, **context, **results[first], "policies": dict(results)}
    as_json, as_text = folder / f"{STATISTICS}.json", folder / f"{STATISTICS}.txt"
    write_whole(as_json, json.dumps(contents, indent=2) + "\n")
    write_whole(as_text, text_of(results, context))
    return [as_json, as_text]


def text_of(results: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """Return the statistics as text: a table over all vehicles, and one per vehicle of the first policy."""
    first = next(iter(results))
    per_vehicle = results[first]["per_vehicle"]
    lines = [str(context["command"]), str(context["flown"]), "", *columns(*overall(results)), ""]
    lines.append(f"{first}, each vehicle:")
    names = ["rmse_m", "rmse_xy_m", "heading_rmse_deg", "max_m", "p95_m", "survival"]
    rows = [
        [str(i), f"{one['mass_kg']:.3f} kg", *(shown(name, one[name]) for name in names)]
        for i, one in enumerate(per_vehicle)
    ]
    lines += columns(["vehicle", "mass", *(UNITS[name][0] for name in names)], rows)
    return "\n".join(lines) + "\n"


def overall(results: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of the table over all vehicles: a row per figure, a column per policy."""
    rows = [
        [words, *(shown(name, result["overall"][name]) for result in results.values())]
        for name, (words, _) in UNITS.items()
    ]
    return ["", *results], rows


def shown(name: str, value: float | None) -> str:
    """Return a figure with its unit."""
    unit = UNITS[name][1]
    if value is None:
        return "-"
    if name == "survival":
        return f"{100.0 * value:.1f} %"
    if unit == "m":
        return f"{100.0 * value:.2f} cm"
    return f"{value:.4f}" if not unit else f"{value:.2f} {unit}"


def columns(header: list[str], rows: list[list[str]]) -> list[str]:
    """Return lines of a table whose columns are aligned."""
    table_rows = [header, *rows]
    widths = [max(len(row[k]) for row in table_rows) for k in range(len(header))]
    return [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table_rows
    ]


def write_section(
    results: Mapping[str, Any], flight: TrackedFlight, context: Mapping[str, Any], folder: Path
) -> Path:
    """Add the flight to the folder's ``report.html``, or write one; an earlier flight along a path gives way."""
    path, new = folder / REPORT, f"{_BEGIN}{_section(results, flight, context)}{_END}"
    kept = path.read_text(encoding="utf-8") if path.is_file() else ""
    if _BEGIN in kept and _END in kept:
        before, _, rest = kept.partition(_BEGIN)
        words = before + new + rest.partition(_END)[2]
    elif kept:
        before, _, rest = kept.rpartition("</body>")
        words = f"{before}{new}\n</body>{rest}"
    else:
        words = page(f"{next(iter(results))} along a path", str(context["flown"]), [], [new])
    write_whole(path, words)
    return path


def _section(results: Mapping[str, Any], flight: TrackedFlight, context: Mapping[str, Any]) -> str:
    drawn = side_by_side(
        chart(
            as_svg(plots.errors(flight)),
            "Error over time",
            "Median over the vehicles that are in the air, the band holds 90 % of them; and all errors.",
        ),
        chart(
            as_svg(plots.projections(flight)),
            "Paths",
            f"From above, the side and the front: the first {plots.SHOWN} vehicles, references grey.",
        ),
    )
    return section(
        "Tracking", text(str(context["flown"])), table(*overall(results)), drawn, code(str(context["command"]))
    )
