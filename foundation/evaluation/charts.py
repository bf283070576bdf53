"""Charts of the reports, as SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foundation.evaluation import curves as names
from foundation.evaluation.chart_style import (
    BLACK,
    CYCLE,
    GREEN,
    GREY,
    PURPLE,
    VERMILION,
    as_svg,
    colour_of,
    line_of,
    new_chart,
    new_figure,
    plain,
    styled,
)
from foundation.evaluation.curves import Curve, phase_switch
from foundation.evaluation.recording import ROTORS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from foundation.evaluation.recording import Recording

AXES = ("x", "y", "z")
BANDS = ((5, 95, 0.15), (25, 75, 0.3))
"""Quantiles of the bands [%] and their opacity."""
SHOWN_PATHS = 12
"""Vehicles whose paths are drawn."""
SHOWN_ACTIONS = 20_000
"""Most actions drawn per rotor."""


def loss_chart(curves: dict[str, Curve]) -> str | None:
    """Draw the behaviour-cloning loss over the iterations, on a logarithmic scale."""
    return _curve_chart(curves, names.LOSS, "loss", BLACK, log=True)


def reward_chart(curves: dict[str, Curve]) -> str | None:
    """Draw the mean return of the last episodes."""
    return _curve_chart(curves, names.REWARD, "mean return", BLACK)


@styled
def overlay_chart(
    runs: dict[str, dict[str, Curve]], name: str, label: str, log: bool = False, over_time: bool = False
) -> str | None:
    """Draw one metric of several runs over each other.

    Args:
        runs: Metrics by run.
        name: The metric.
        label: Label of the axis.
        log: Whether the axis is logarithmic.
        over_time: Whether to draw over minutes instead of iterations.
    """
    curves = {run: found[name] for run, found in runs.items() if name in found}
    if not curves:
        return None
    figure, axes = new_chart()
    for index, (run, curve) in enumerate(curves.items()):
        x = (curve.wall_time - curve.wall_time[0]) / 60.0 if over_time else curve.steps
        colour, style = CYCLE[index % len(CYCLE)], ("-", "--", ":", "-.")[index // len(CYCLE) % 4]
        axes.plot(x, curve.values, color=colour, linestyle=style, linewidth=1.2, label=plain(run))
    axes.set(xlabel="minutes" if over_time else "iteration", ylabel=label)
    if log and all((curve.values > 0.0).all() for curve in curves.values()):
        axes.set_yscale("log")
    axes.legend(fontsize=9)
    return as_svg(figure)


@styled
def history_chart(curves: dict[str, Curve]) -> str | None:
    """Draw the fill of the history and the share of the teacher's actions."""
    size, share = curves.get(names.BUFFER_SIZE), curves.get(names.TEACHER_FRACTION)
    if size is None or share is None:
        return None
    figure, axes = new_chart()
    axes.plot(size.steps, size.values / 1e6, color=GREEN)
    axes.set(xlabel="iteration", ylabel="stored transitions [million]")
    axes.set_ylim(bottom=0.0)
    axes.yaxis.label.set_color(GREEN)
    right = axes.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    right.plot(share.steps, share.values, color=PURPLE, linestyle="--")
    right.set_ylabel("share of the teacher's actions", color=PURPLE)
    right.set_ylim(-0.03, 1.03)
    _mark_switch(axes, curves)
    return as_svg(figure)


@styled
def error_chart(flights: dict[str, Recording], settle_radius: float) -> str:
    """Draw the distance to the target over time: median and quantiles over the vehicles in the air."""
    figure, axes = new_chart()
    for role, flight in flights.items():
        colour, time = colour_of(role, flights), flight.time
        flown = flight.length.max()
        distance = flight.distance[:flown]
        axes.plot(
            time[:flown],
            np.nanmedian(distance, axis=1),
            color=colour,
            linestyle=line_of(role, flights),
            label=plain(role),
        )
        for low, high, opacity in BANDS:
            lower, upper = np.nanpercentile(distance, (low, high), axis=1)
            axes.fill_between(time[:flown], lower, upper, color=colour, alpha=opacity, linewidth=0)
    axes.axhline(settle_radius, color=GREY, linestyle=":", linewidth=1.2)
    axes.annotate(
        "settle radius",
        (1.0, settle_radius),
        xycoords=("axes fraction", "data"),
        xytext=(0, 3),
        textcoords="offset points",
        ha="right",
        color=GREY,
    )
    axes.set_yscale("log")
    axes.set(xlabel="time [s]", ylabel="distance to target [m]")
    axes.legend()
    return as_svg(figure)


@styled
def path_chart(flight: Recording, colour: str) -> str:
    """Draw paths in three dimensions."""
    figure = new_figure(4.6, 4.2)
    axes = figure.add_subplot(projection="3d")
    draw_flight(axes, flight, colour, SHOWN_PATHS)
    return as_svg(figure)


def draw_flight(axes: Axes, flight: Recording, colour: str | None = None, vehicles: int | None = None) -> None:
    """Draw the paths of the first vehicles with dots at their starts; grey lines are targets that move."""
    paths = flight.pos_w[:, :vehicles]
    reach = max(0.1, float(np.nanmax(np.abs(paths))))
    if flight.target_w is not None:
        targets = flight.target_w[:, :vehicles]
        reach = max(reach, float(np.nanmax(np.abs(targets))))
        for target in targets.transpose(1, 0, 2):
            axes.plot(*target.T, linewidth=2.5, color=GREY, alpha=0.4)
        axes.plot([], [], [], linewidth=2.5, color=GREY, alpha=0.4, label="reference")
    for path in paths.transpose(1, 0, 2):
        (line,) = axes.plot(*path.T, linewidth=1.0, color=colour, alpha=0.8)
        axes.plot(*path[:1].T, marker="o", markersize=4, color=line.get_color())
    if flight.target_w is None:
        axes.plot([0.0], [0.0], [0.0], marker="*", markersize=12, color=BLACK, linestyle="", label="target")
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x [m]", ylabel="y [m]")
    axes.set_zlim(-reach, reach)  # pyright: ignore
    axes.set_zlabel("z [m]")  # pyright: ignore
    axes.legend(loc="upper left")


@styled
def axis_chart(flights: dict[str, Recording]) -> str:
    """Draw the position relative to the target over time, one panel per axis of the world."""
    figure = new_figure(4.6, 4.6)
    panels = figure.subplots(3, 1, sharex=True)
    for index, (panel, name) in enumerate(zip(panels, AXES, strict=True)):
        for role, flight in flights.items():
            lines = panel.plot(
                flight.time,
                flight.error_w[:, :SHOWN_PATHS, index],
                color=colour_of(role, flights),
                linestyle=line_of(role, flights),
                linewidth=0.9,
                alpha=0.7,
            )
            lines[0].set_label(plain(role))
        panel.set_ylabel(f"{name} [m]")
    panels[0].legend(loc="upper right", ncols=2)
    panels[-1].set_xlabel("time [s]")
    return as_svg(figure)


@styled
def agreement_chart(flight: Recording, policy: str, first: str) -> str:
    """Draw a policy's actions over those of the first policy in the same states, one panel per rotor."""
    assert flight.labels is not None
    figure = new_figure(4.6, 4.6)
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    # Panels are placed as the rotors are on the vehicle, from above.
    for panel, index in zip(panels.flat, (3, 0, 2, 1), strict=True):
        own, label = flight.actions[..., index].ravel(), flight.labels[..., index].ravel()
        shown = np.flatnonzero(~np.isnan(own))
        shown = shown[:: max(1, len(shown) // SHOWN_ACTIONS)]
        panel.plot([-1, 1], [-1, 1], color=GREY, linewidth=1.0)
        panel.plot(
            label[shown], own[shown], ".", markersize=2, alpha=0.15, color=VERMILION, rasterized=True, mew=0
        )
        panel.set_title(ROTORS[index], fontsize=10.5)
        panel.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    figure.supxlabel(plain(f"{first}'s action"), fontsize=10.5)
    figure.supylabel(plain(f"{policy}'s action"), fontsize=10.5)
    return as_svg(figure)


@styled
def death_chart(deaths: dict[str, np.ndarray]) -> str | None:
    """Draw where vehicles were lost, from above and from the side.

    Args:
        deaths: Last positions relative to the target, world frame [m], shape (K, 3), by role.
    """
    if not any(len(places) for places in deaths.values()):
        return None
    figure = new_figure(4.6, 2.8)
    panels = figure.subplots(1, 2)
    for panel, (first, second) in zip(panels, ((0, 1), (0, 2)), strict=True):
        for role, places in deaths.items():
            marker, colour = "+xv^"[list(deaths).index(role) % 4], colour_of(role, deaths)
            panel.plot(places[:, first], places[:, second], marker, color=colour, label=plain(role), alpha=0.8)
        panel.plot([0], [0], "*", color=BLACK, markersize=9)
        panel.set(xlabel=f"{AXES[first]} [m]", ylabel=f"{AXES[second]} [m]", aspect="equal")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return as_svg(figure)


@styled
def _curve_chart(curves: dict[str, Curve], name: str, label: str, colour: str, log: bool = False) -> str | None:
    curve = curves.get(name)
    if curve is None:
        return None
    figure, axes = new_chart()
    axes.plot(curve.steps, curve.values, color=colour, linewidth=1.2)
    axes.set(xlabel="iteration", ylabel=label)
    if log and (curve.values > 0.0).all():
        axes.set_yscale("log")
    _mark_switch(axes, curves)
    return as_svg(figure)


def _mark_switch(axes: Axes, curves: dict[str, Curve]) -> None:
    switch = phase_switch(curves)
    if switch is None:
        return
    axes.axvline(switch, color=GREY, linestyle=":", linewidth=1.2)
    axes.annotate(
        "student drives",
        (switch, 0.5),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        color=GREY,
        fontsize=9.5,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0},
    )
