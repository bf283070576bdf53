"""Curves beside the scene, drawn by the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foundation.evaluation.recording import ROTORS
from foundation.viewer import palette

if TYPE_CHECKING:
    import viser

    from foundation.viewer.history import History

MOST_POINTS = 400
"""Largest number of points of a curve."""
HEIGHT = 170
LEGEND = "Yellow rotors are the front ones; bars show the thrust of each rotor, octahedra the targets, "
"pale green lines the paths of those that move."


class VehiclePlots:
    """Distance, tilt and rotor speeds of one vehicle over the last seconds."""

    def __init__(self, gui: viser.GuiApi) -> None:
        """Add empty plots."""
        self._distance = add_plot(gui, "distance to target [m]", "time [s]", {"distance": palette.DARK})
        self._tilt = add_plot(gui, "tilt [deg]", "time [s]", {"tilt": palette.DARK})
        curves: dict[str, tuple[int, int, int]] = dict(zip(ROTORS, palette.ROTORS, strict=True))
        self._rotor = add_plot(gui, "rotor speed, share of full", "time [s]", curves)

    def draw(self, history: History, vehicle: int) -> None:
        """Show the curves of a vehicle."""
        curves = history.curves(vehicle)
        every = -(-len(curves["time"]) // MOST_POINTS)
        time = curves["time"][::every]
        self._distance.data = _columns(time, curves["distance"][::every])
        self._tilt.data = _columns(time, curves["tilt"][::every])
        self._rotor.data = _columns(time, *curves["rotor"][::every].T)


def add_plot(
    gui: viser.GuiApi, title: str, x: str, curves: dict[str, tuple[int, int, int]], log: bool = False
) -> viser.GuiUplotHandle:
    """Add a plot without points.

    Args:
        gui: The panel.
        title: Quantity of the vertical axis, with its unit.
        x: Quantity of the horizontal axis, with its unit.
        curves: Colour by name.
        log: Whether the vertical axis is logarithmic.
    """
    from viser import uplot

    series = [uplot.Series(label=x)]
    series += [
        uplot.Series(label=name, stroke=palette.css(colour), width=2, points=uplot.Series_Points(show=False))
        for name, colour in curves.items()
    ]
    scales = {"x": uplot.Scale(time=False), "y": uplot.Scale(distr=3) if log else uplot.Scale(auto=True)}
    return gui.add_uplot(
        _columns(np.zeros(1), *(np.ones(1) for _ in curves)),
        tuple(series),
        title=f"{title} over {x}",
        scales=scales,
        legend=uplot.Legend(show=len(curves) > 1),
        height=HEIGHT + (30 if len(curves) > 1 else 0),
    )


def thinned(x: list[float], y: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return at most ``MOST_POINTS`` points of a curve, including the newest."""
    every = -(-len(x) // MOST_POINTS)
    kept = slice((len(x) - 1) % every, None, every)
    return _columns(np.array(x)[kept], np.array(y)[kept])  # pyright: ignore


def _columns(*columns: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(column.astype(np.float64) for column in columns)
