"""Displays of a run: a block of lines per iteration, or one progress line."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Protocol

from foundation.distill.runners.report import IterationReport

if TYPE_CHECKING:
    from rich.progress import Progress

_SHORTEST_PAUSE = 0.1
"""Seconds between two updates of the progress line."""


class Display(Protocol):
    """Shows iterations."""

    def show(self, report: IterationReport) -> None:
        """Show one iteration."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


class Blocks:
    """Prints a block of lines for every iteration, as rsl_rl does."""

    def show(self, report: IterationReport) -> None:
        """Print the block, in a file or a pipe without rsl_rl's codes for bold text."""
        text = report.console if sys.stdout.isatty() else _ESCAPES.sub("", report.console)
        print(text, end="", flush=True)

    def close(self) -> None:
        """Do nothing."""


class ProgressLine:
    """Keeps one line with a bar and the time left at the bottom of a terminal; other lines scroll above it."""

    def __init__(self) -> None:
        """Show nothing before the first iteration."""
        self._progress: Progress | None = None
        self._updated = -1.0

    def show(self, report: IterationReport) -> None:
        """Update the line, unless it was updated a moment ago."""
        if self._progress is None:
            self._progress = self._start(report)
        is_last = report.iteration + 1 == report.total
        now = time.monotonic()
        figures = [report.phase_name] if report.phase_name else []
        figures += [] if report.loss is None else [f"loss {report.loss:.2g}"]
        figures += [] if report.reward is None else [f"return {report.reward:.2f}"]
        self._progress.update(self._task, completed=report.iteration + 1, figures="  ".join(figures))
        if is_last or now - self._updated >= _SHORTEST_PAUSE:
            self._updated = now
            self._progress.refresh()

    def close(self) -> None:
        """Leave the line as it is."""
        if self._progress is not None:
            self._progress.stop()
        self._progress = None

    def _start(self, report: IterationReport) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        progress = Progress(
            TextColumn("iteration"),
            MofNCompleteColumn(),
            BarColumn(bar_width=10),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            auto_refresh=False,
        )
        progress.start()
        self._task = progress.add_task("", total=report.total, completed=report.iteration, figures="")
        return progress
