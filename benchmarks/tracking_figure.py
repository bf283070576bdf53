"""The picture of error over speed, from the kept results of ``tracking.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from foundation.evaluation.chart_style import CYCLE, GREY, new_figure, styled

SHOWN = {
    "PID": (GREY, ":"),
    "RAPTOR": (CYCLE[1], "--"),
    "hover GRU 16": (CYCLE[5], "-"),
    "tracking": (CYCLE[0], "-"),
    "expert": (CYCLE[2], "-."),
}
"""Policies with colour and line."""
LOST = 0.95
"""Share of survivors below which a line ends."""


@styled
def draw(results: dict[str, Any], path: Path) -> None:
    """Write the RMSE over speed, the mean over the vehicles, one plot per reference."""
    references = list(next(iter(next(iter(results.values())).values())))
    figure = new_figure(10.0, 3.2)
    for axes, reference in zip(figure.subplots(1, len(references), sharey=True), references, strict=True):
        for name, (colour, line) in SHOWN.items():
            if name in results:
                speeds, errors = means(results[name], reference)
                axes.plot(speeds, errors, line, color=colour, marker=".", label=name)
        axes.set(title=reference.replace("_", " "), xlabel="speed [m/s]", yscale="log")
        if axes is figure.axes[0]:
            axes.set_ylabel("RMSE [m]")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(SHOWN))
    figure.savefig(path, dpi=150)


def means(vehicles: dict[str, Any], reference: str) -> tuple[list[float], list[float]]:
    """Return speeds [m/s] and mean errors [m], up to the last speed that all vehicles fly and survive."""
    speeds, errors = [], []
    for speed in vehicles[next(iter(vehicles))][reference]:
        found = [cells[reference].get(speed) for cells in vehicles.values()]
        if any(figures is None or figures["survival"] < LOST for figures in found):
            break
        speeds.append(float(speed))
        errors.append(float(np.mean([figures["rmse_m"] for figures in found if figures is not None])))
    return speeds, errors
