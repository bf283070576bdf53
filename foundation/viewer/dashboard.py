"""A read-only page of a training run: its fleet in flight, curves, phase and iteration."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from foundation.distill.log import RESULT, logger
from foundation.distill.runners.progress import Display
from foundation.distill.runners.report import IterationReport
from foundation.viewer import palette
from foundation.viewer.clips import Clip, ClipCamera
from foundation.viewer.fleet import fleet_of, take_snapshot
from foundation.viewer.history import History
from foundation.viewer.plots import LEGEND, add_plot, thinned
from foundation.viewer.scene import FleetScene
from foundation.viewer.server import address, is_private, serving

if TYPE_CHECKING:
    import viser

    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv

FPS = 15.0
CLIP_SECONDS = 3.0
"""Length of a clip, in simulated time [s]."""
SHOWN_VEHICLES = 100
FLUSH_SECONDS = 0.2
"""Time for the last messages to reach the browsers before the server stops [s]."""
CURVE_SECONDS = 0.5
"""Shortest wall time between two updates of the curves [s]."""


@contextlib.contextmanager
def watched(
    display: Display, env: PointCtrlEnv, where: tuple[str, int], title: str, trained: str
) -> Iterator[Display]:
    """Serve the page, and return a display that shows iterations on the terminal and on the page.

    Args:
        display: Shows the iterations on the terminal.
        env: The environment that is trained in.
        where: Host and port.
        title: Name of the run.
        trained: Role of the policy that is trained, ``teacher`` or ``student``.
    """
    with serving(*where, title) as server:
        dashboard = Dashboard(server, env, title, trained)
        logger.log(RESULT, f"[Run] watch it: open {address(where[0], server.get_port())} in a browser")
        if not is_private(where[0]):
            logger.warning("[Run] everyone who reaches this machine can watch")
        with dashboard:
            yield _Both(display, dashboard)


class _Both:
    """Passes iterations to the terminal and to the dashboard."""

    def __init__(self, terminal: Display, dashboard: Dashboard) -> None:
        """Take both displays."""
        self._terminal, self._dashboard = terminal, dashboard

    def show(self, report: IterationReport) -> None:
        """Show an iteration."""
        self._terminal.show(report)
        self._dashboard.show(report)

    def close(self) -> None:
        """Close the terminal's display; the dashboard ends with its context."""
        self._terminal.close()


class Dashboard:
    """Updates the page on its own thread, as a context manager."""

    def __init__(self, server: viser.ViserServer, env: PointCtrlEnv, title: str, trained: str) -> None:
        """Build the page.

        Args:
            server: The server.
            env: The environment.
            title: Name of the run.
            trained: Role of the policy that is trained.
        """
        self._server = server
        self._title = title
        self._count = min(SHOWN_VEHICLES, env.num_envs)
        self._dt, self._num_envs = env.sim.dt, env.num_envs
        self._fleet = fleet_of(env, self._count)
        self._camera = ClipCamera(env, self._count, max(2, round(CLIP_SECONDS / self._dt)))
        self._camera.request()
        self._text = server.gui.add_markdown("")
        self._bar = server.gui.add_progress_bar(0.0)
        server.gui.add_markdown(LEGEND)
        self._loss: viser.GuiUplotHandle | None = None
        self._reward: viser.GuiUplotHandle | None = None
        self._trained = self._role = trained
        self._scene = FleetScene(server, self._fleet, take_snapshot(env, self._count), self._role)
        self._scene.aim(None)
        self._newest: IterationReport | None = None
        self._losses: tuple[list[float], list[float]] = ([], [])
        self._rewards: tuple[list[float], list[float]] = ([], [])
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._draw, name="dashboard", daemon=True)

    def __enter__(self) -> Dashboard:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the thread and show the last figures."""
        self._camera.close()
        self._stop.set()
        self._thread.join()
        self._draw_figures()
        self._text.content += "\n\n**The run has ended.**"
        self._server.flush()
        time.sleep(FLUSH_SECONDS)

    def show(self, report: IterationReport) -> None:
        """Record an iteration's figures; called by the training thread."""
        with self._lock:
            self._newest = report
            for curve, value in ((self._losses, report.loss), (self._rewards, report.reward)):
                if value is not None:
                    curve[0].append(float(report.iteration))
                    curve[1].append(value)

    def _draw(self) -> None:
        try:
            self._draw_until_stopped()
        except Exception as error:  # a failing page must not stop the run
            self._camera.close()
            reason = f"{type(error).__name__}: {error}"
            logger.warning(f"[Run] the dashboard failed, training goes on without it: {reason}")
            self._text.content = "**The dashboard failed; the run goes on.**"

    def _draw_until_stopped(self) -> None:
        clip, shown, started, last_update = (
            Clip([], np.zeros((0, self._count), dtype=bool)),
            0,
            0.0,
            -CURVE_SECONDS,
        )
        history = History(self._count, self._dt, CLIP_SECONDS)
        while not self._stop.is_set():
            now = time.monotonic()
            # The next clip is recorded while this one is shown.
            self._camera.request()
            newer = self._camera.take() if shown == len(clip.moments) else None
            if newer is not None:
                clip, shown, started = newer, 0, now
                history = History(self._count, self._dt, CLIP_SECONDS)
            due = min(int((now - started) / self._dt) + 1, len(clip.moments))
            if shown < due:
                for step in range(shown, due):
                    history.append(clip.moments[step], clip.ended[step])
                shown = due
                references = None if newer is None else newer.references(self._fleet.targets)
                self._scene.draw(clip.moments[shown - 1], history.trails(self._fleet.targets), references)
            if now - last_update >= CURVE_SECONDS:
                last_update = now
                self._draw_figures()
            self._stop.wait(1.0 / FPS)

    def _draw_figures(self) -> None:
        with self._lock:
            newest = self._newest
            losses, rewards = (([*x], [*y]) for x, y in (self._losses, self._rewards))
        gui = self._server.gui
        self._text.content = self._figures(newest)
        if newest is None:
            return
        self._bar.value = 100.0 * (newest.iteration + 1) / max(newest.total, 1)
        role = acting_role(newest, self._trained)
        if role != self._role:
            self._role = role
            self._scene.recolour(role)
        if losses[0]:
            self._loss = self._loss or add_plot(gui, "loss", "iteration", {"loss": palette.DARK}, log=True)
            self._loss.data = thinned(*losses)
        if rewards[0]:
            self._reward = self._reward or add_plot(gui, "mean return", "iteration", {"return": palette.DARK})
            self._reward.data = thinned(*rewards)

    def _figures(self, newest: IterationReport | None) -> str:
        shown = f"{self._count} of {self._num_envs}" if self._count < self._num_envs else f"all {self._count}"
        fleet = f"{shown} vehicles, {CLIP_SECONDS:g} s of their flight at a time, in real time"
        if newest is None:
            return f"**{self._title}**\n\nbefore the first iteration\n\n{fleet}"
        loss = "" if newest.loss is None else f"loss {newest.loss:.3g}, "
        reward = "no episode ended yet" if newest.reward is None else f"mean return {newest.reward:.2f}"
        return (
            f"**iteration {newest.iteration + 1} of {newest.total}**\n\n{newest.phase_description or 'PPO'}\n\n"
            f"{loss}{reward}\n\n{fleet}"
        )


def acting_role(report: IterationReport, trained: str) -> str:
    """Return the role of the policy that acts more often, in a run that trains a policy of role ``trained``."""
    probability = report.teacher_probability
    return trained if probability is None or probability < 0.5 else "teacher"
