"""A flight as one picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.evaluation.charts import draw_flight
from foundation.evaluation.recording import ROTORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from foundation.evaluation.recording import Recording


def plot_flight(flight: Recording, path: Path, title: str, settle_radius: float) -> None:
    """Write a PNG with paths, distance to the target, tilt and rotor speeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(3, 2, width_ratios=[1.15, 1.0], wspace=0.12)
    draw_flight(figure.add_subplot(grid[:, 0], projection="3d"), flight)
    distance = figure.add_subplot(grid[0, 1])
    distance.plot(flight.time, flight.distance, linewidth=1.0)
    distance.axhline(settle_radius, color="grey", linestyle="--", linewidth=1.0)
    distance.annotate(
        f"settle radius {settle_radius:g} m",
        (1.0, settle_radius),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        color="grey",
        fontsize=8,
    )
    _label(distance, "distance to target [m]", flight.time)
    tilt = figure.add_subplot(grid[1, 1])
    tilt.plot(flight.time, np.degrees(flight.tilt), linewidth=1.0)
    _label(tilt, "tilt [deg]", flight.time)
    rotor = figure.add_subplot(grid[2, 1])
    for index, name in enumerate(ROTORS):
        rotor.plot(flight.time, flight.rotor[:, 0, index], linewidth=1.0, label=name)
    rotor.legend(fontsize=8, ncols=2, title="rotors of the first vehicle", title_fontsize=8)
    _label(rotor, "rotor speed [-]", flight.time)
    rotor.set_xlabel("time [s]")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _label(axes: Axes, name: str, time: np.ndarray) -> None:
    axes.set_ylabel(name)
    axes.set_xlim(time[0], time[-1])
    axes.grid(alpha=0.3)
