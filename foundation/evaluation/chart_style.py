"""Style of the reports' charts: colours, lines, fonts, and their form as SVG."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's palette, made for colour-blind readers.
BLUE, VERMILION, GREEN, PURPLE, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#1a1a1a"
ORANGE, SKY = "#E69F00", "#56B4E9"
GREY = "#6b6b6b"
CYCLE = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
STYLES = ("--", "-", "-.", ":")
"""Line styles of policies: the first one, with which others are compared, is dashed."""
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "foundation",
    "font.family": "sans-serif",
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.edgecolor": GREY,
    "axes.labelcolor": BLACK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}
_Draw = TypeVar("_Draw", bound=Callable)


def styled(draw: _Draw) -> _Draw:
    """Let a function draw in the reports' style."""

    @functools.wraps(draw)
    def drawn(*args: object, **kwargs: object) -> object:
        from matplotlib import rc_context

        with rc_context(_STYLE):  # pyright: ignore
            return draw(*args, **kwargs)

    return drawn  # pyright: ignore


def colour_of(policy: str, policies: Iterable[str]) -> str:
    """Return the colour of a policy among all that are drawn."""
    return CYCLE[list(policies).index(policy) % len(CYCLE)]


def line_of(policy: str, policies: Iterable[str]) -> str:
    """Return the line style of a policy among all that are drawn."""
    order = list(policies)
    return "-" if len(order) == 1 else STYLES[order.index(policy) % len(STYLES)]


def plain(words: str) -> str:
    """Return text that matplotlib prints literally: no formula, and no leading underscore, which hides a label."""
    return "\u200b" + words.replace("$", r"\$")


def new_chart() -> tuple[Figure, Axes]:
    """Return a figure with one plot."""
    figure = new_figure(4.6, 3.0)
    return figure, figure.add_subplot()


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size [inch]."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG."""
    out = io.StringIO()
    # No date, so that equal data give equal files.
    figure.savefig(out, format="svg", dpi=150, transparent=True, metadata={"Date": None})
    return out.getvalue()
