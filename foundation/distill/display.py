"""What a run shows of its iterations, and what it says even when it is to be quiet."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress

_SHORTEST_PAUSE = 0.1
"""Seconds between two drawings of the progress line."""
_announcing: TextIO | None = None


@dataclass(frozen=True)
class Iteration:
    """An iteration that has ended."""

    it: int
    """Its number."""
    total: int
    """Number of the first iteration that will not be run."""
    block: str
    """All that rsl_rl and the runner print of it."""
    status: str
    """Lines of the runner's own about who drives; empty where there are none."""
    loss: float | None
    """Behaviour-cloning loss, where there is one."""
    reward: float | None
    """Mean return of the last episodes, None before the first."""


class Display(Protocol):
    """Shows iterations."""

    def show(self, iteration: Iteration) -> None:
        """Show one."""
        ...

    def close(self) -> None:
        """Show no more."""
        ...


class Blocks:
    """Prints a block of lines for every iteration, as rsl_rl does."""

    def show(self, iteration: Iteration) -> None:
        """Print it."""
        print(iteration.block, end="", flush=True)

    def close(self) -> None:
        """Do nothing."""


class ProgressLine:
    """Keeps one line with a bar and the time left at the bottom of a terminal; other lines scroll above it."""

    def __init__(self) -> None:
        """Show nothing before the first iteration."""
        self._progress: Progress | None = None
        self._drawn = -1.0

    def show(self, iteration: Iteration) -> None:
        """Draw the line, unless it was drawn a moment ago."""
        if self._progress is None:
            self._begin(iteration)
        assert self._progress is not None
        is_last = iteration.it + 1 == iteration.total
        now = time.monotonic()
        phase = iteration.status.partition("\n")[0].removeprefix("Training Phase: ").partition(" (")[0]
        figures = [phase] if phase else []
        figures += [] if iteration.loss is None else [f"loss {iteration.loss:.2g}"]
        figures += [] if iteration.reward is None else [f"return {iteration.reward:.2f}"]
        self._progress.update(self._task, completed=iteration.it + 1, figures="  ".join(figures))
        if is_last or now - self._drawn >= _SHORTEST_PAUSE:
            self._drawn = now
            self._progress.refresh()

    def close(self) -> None:
        """Leave the line as it is."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None

    def _begin(self, iteration: Iteration) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("iteration"),
            MofNCompleteColumn(),
            BarColumn(bar_width=10),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            auto_refresh=False,
        )
        self._progress.start()
        self._task = self._progress.add_task("", total=iteration.total, completed=iteration.it, figures="")


def announce(message: str) -> None:
    """Print a warning or a result, which is shown also when everything else is not."""
    print(message, file=_announcing or sys.stdout, flush=True)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show nothing that is printed within, but what is announced."""
    global _announcing
    with open(os.devnull, "w") as nowhere:
        _announcing, before = sys.stdout, _announcing
        try:
            with contextlib.redirect_stdout(nowhere):
                yield
        finally:
            _announcing = before
