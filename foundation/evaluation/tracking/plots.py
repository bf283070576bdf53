"""The five plots of a flight along a path."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.evaluation.chart_style import BLACK, CYCLE, GREY, new_figure, styled
from foundation.evaluation.recording import ROTORS
from foundation.evaluation.tracking.flight import TrackedFlight

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHOWN = 3
"""Vehicles whose paths are drawn."""
DPI = 300
_AXES = ("x", "y", "z")


def write_plots(flight: TrackedFlight, folder: Path) -> list[Path]:
    """Write the plots as PNG and return their paths."""
    paths = []
    for name, draw in PLOTS.items():
        path = folder / f"{name}.png"
        draw(flight).savefig(path, dpi=DPI)
        paths.append(path)
    return paths


@styled
def trajectory(flight: TrackedFlight) -> Figure:
    """Draw paths in space."""
    figure = new_figure(6.0, 5.4)
    axes = figure.add_subplot(projection="3d")
    for i, colour in _shown(flight):
        axes.plot(*flight.desired_pos[:, i].T, color=GREY, linewidth=1.0)
        axes.plot(*flight.actual_pos[:, i].T, color=colour, linewidth=1.2, label=f"vehicle {i}")
    axes.plot([], [], color=GREY, label="reference")
    axes.locator_params(nbins=5)
    axes.set(xlabel="x [m]", ylabel="y [m]", zlabel="z [m]")
    _equal_scales(axes, flight)
    figure.legend(loc="outside upper center", ncols=SHOWN + 1)
    return figure


@styled
def projections(flight: TrackedFlight) -> Figure:
    """Draw paths from above, from the side and from the front."""
    figure = new_figure(10.0, 3.6)
    for axes, (a, b) in zip(figure.subplots(1, 3), ((0, 1), (0, 2), (1, 2)), strict=True):
        for i, colour in _shown(flight):
            axes.plot(*flight.desired_pos[:, i][:, [a, b]].T, color=GREY, linewidth=1.0)
            axes.plot(*flight.actual_pos[:, i][:, [a, b]].T, color=colour, linewidth=1.2)
        axes.set(xlabel=f"{_AXES[a]} [m]", ylabel=f"{_AXES[b]} [m]")
        axes.set_aspect("equal", adjustable="datalim")
    return figure


@styled
def errors(flight: TrackedFlight) -> Figure:
    """Draw the position error over time and its histogram."""
    figure = new_figure(10.0, 3.6)
    over_time, histogram = figure.subplots(1, 2, width_ratios=[2.0, 1.0])
    distance = np.linalg.norm(flight.position_error, axis=-1)
    alive = ~np.isnan(distance).all(axis=1)
    time = flight.timestamps[alive]
    low, middle, high = np.nanpercentile(distance[alive], [5.0, 50.0, 95.0], axis=1)
    over_time.fill_between(time, low, high, color=CYCLE[0], alpha=0.2, linewidth=0.0, label="90 % of the vehicles")
    over_time.plot(time, middle, color=CYCLE[0], label="median")
    over_time.set(xlabel="time [s]", ylabel="position error [m]", ylim=(0.0, None))
    over_time.legend()
    histogram.hist(distance[~np.isnan(distance)], bins=60, color=CYCLE[0], density=True)
    histogram.set(xlabel="position error [m]", ylabel="density [1/m]")
    return figure


@styled
def velocities(flight: TrackedFlight) -> Figure:
    """Draw the velocity of the first vehicle and of its reference."""
    figure = new_figure(9.0, 6.0)
    rows = figure.subplots(3, 1, sharex=True)
    for k, axes in enumerate(rows):
        axes.plot(flight.timestamps, flight.desired_vel[:, 0, k], color=GREY, linestyle="--", label="reference")
        axes.plot(flight.timestamps, flight.actual_vel[:, 0, k], color=CYCLE[0], label="vehicle 0")
        axes.set_ylabel(f"{_AXES[k]} [m/s]")
    rows[-1].set_xlabel("time [s]")
    figure.legend(*rows[-1].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


@styled
def actions(flight: TrackedFlight) -> Figure:
    """Draw the actions of the first vehicle's rotors."""
    figure = new_figure(9.0, 3.6)
    axes = figure.add_subplot()
    for k, name in enumerate(ROTORS):
        axes.plot(flight.timestamps, flight.actions[:, 0, k], linewidth=1.0, color=CYCLE[k], label=name)
    axes.axhline(-1.0, color=BLACK, linewidth=0.6)
    axes.axhline(1.0, color=BLACK, linewidth=0.6)
    axes.set(xlabel="time [s]", ylabel="action of vehicle 0 [-]")
    figure.legend(loc="outside upper center", ncols=4)
    return figure


PLOTS: dict[str, Callable[[TrackedFlight], Figure]] = {
    "trajectory_3d": trajectory,
    "trajectory_projections": projections,
    "tracking_error": errors,
    "tracking_velocity": velocities,
    "tracking_actions": actions,
}
"""Functions that draw them, by the names of their files."""


def _shown(flight: TrackedFlight) -> list[tuple[int, str]]:
    return [(i, CYCLE[i]) for i in range(min(SHOWN, flight.actual_pos.shape[1]))]


def _equal_scales(axes: Axes, flight: TrackedFlight) -> None:
    drawn = np.concatenate([flight.desired_pos[:, :SHOWN], flight.actual_pos[:, :SHOWN]])
    low, high = np.nanmin(drawn, axis=(0, 1)), np.nanmax(drawn, axis=(0, 1))
    half = max(0.5 * float((high - low).max()), 0.05)
    for name, centre in zip(_AXES, 0.5 * (low + high), strict=True):
        getattr(axes, f"set_{name}lim")(centre - half, centre + half)
