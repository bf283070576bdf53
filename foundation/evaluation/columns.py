"""Columns of the tables of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from foundation.evaluation.intervals import Interval


class Column(NamedTuple):
    """Title and format of a metric in a table."""

    title: str
    form: str | None = "{:.2f}"
    """None fits numbers of unknown size."""
    factor: float = 1.0
    unit: str = ""


FLIGHT_COLUMNS = {
    "survival": Column("survival", factor=100.0, unit=" %"),
    "mean_return": Column("mean return"),
    "position_rmse_m": Column("position RMSE [m]", "{:.4f}"),
    "settle_time_s": Column("settle time [s]", "{:.3f}"),
    "settled": Column("settled", factor=100.0, unit=" %"),
    "command_rate": Column("command rate", "{:.4f}"),
}
"""The metrics of quadrotors by name."""
EPISODE_COLUMNS = {
    "mean_return": Column("mean return", None),
    "episode_length": Column("episode length [steps]", "{:.1f}"),
    "timed_out": Column("timed out", factor=100.0, unit=" %"),
}
"""The metrics of any environment by name."""
SHARE = Column("", factor=100.0, unit=" %")
"""A policy's return over that of the first one."""


def cell(value: Interval, column: Column) -> str:
    """Return a mean with its interval; a dash where there is none."""
    if value.mean is None:
        return "-"
    form = column.form or ("{:.2f}" if abs(value.mean) >= 1.0 else "{:.3g}")
    text = form.format(column.factor * value.mean)
    if value.half is not None:
        text += f" ± {form.format(column.factor * value.half)}"
    return text + column.unit


def aligned(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table as text with aligned columns."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)
