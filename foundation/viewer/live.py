"""The live view: a flight in a browser, with controls and plots."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foundation.evaluation.policies import Policy
from foundation.viewer.controls import SPEEDS, Controls, name_of
from foundation.viewer.errors import ViewerError
from foundation.viewer.flight import Flight
from foundation.viewer.plots import LEGEND, VehiclePlots
from foundation.viewer.scene import FleetScene

if TYPE_CHECKING:
    import viser

    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv

FPS = 30.0
"""Update rate of the vehicles [Hz]."""
SLOW_FPS = 6.0
"""Update rate of plots, trails and figures [Hz]."""


@dataclass(frozen=True)
class Sources:
    """How the live view gets other vehicles and policies."""

    make_env: Callable[[str, int], PointCtrlEnv]
    """Returns an environment for a family and a seed."""
    load: Callable[[str], Policy]
    """Returns the policy of a checkpoint; raises ViewerError."""
    family: str
    """The first family."""
    seed: int
    """The first seed."""


class LiveView:
    """Flies, handles the controls and draws until it is stopped."""

    def __init__(
        self, server: viser.ViserServer, flight: Flight, policies: dict[str, Policy], sources: Sources
    ) -> None:
        """Build the page.

        Args:
            server: The server.
            flight: The flight, flown by the first policy.
            policies: Policies in the menu by name; the first one flies.
            sources: How to get others.
        """
        self._server = server
        self._flight = flight
        self._policies = policies
        self._sources = sources
        self._family, self._seed = sources.family, sources.seed
        self._role = next(iter(policies.values())).role
        self._configured = flight.env.paths
        is_on_paths = self._configured is not None
        self._controls = Controls(server.gui, list(policies), sources.family, flight.env.num_envs, is_on_paths)
        self._course = self._controls.chosen_course
        with server.gui.add_folder("Plots"):
            self._plots = VehiclePlots(server.gui)
        server.gui.add_markdown(LEGEND)
        self._build_scene()
        self._connect()
        self._last_slow_update = -np.inf

    def run(self, stop: threading.Event) -> None:
        """Fly until ``stop`` is set or the flight has ended."""
        while not stop.is_set() and not self._flight.ended:
            begin = time.monotonic()
            self.frame()
            stop.wait(max(0.0, 1.0 / FPS - (time.monotonic() - begin)))

    def frame(self) -> None:
        """Run the requested actions, fly the steps that are due, and draw."""
        ran = self._controls.run_pending()
        self._flight.advance()
        now = time.monotonic()
        slow_update = ran or now - self._last_slow_update >= 1.0 / SLOW_FPS
        trails = references = None
        if slow_update:
            self._last_slow_update = now
            trails = self._flight.history.trails(self._flight.fleet.targets)
            references = self._flight.references()
            self._controls.status.content = self._status()
            self._plots.draw(self._flight.history, self._controls.followed or 0)
        with self._server.atomic():
            self._scene.draw(self._flight.moment, trails, references)
            self._scene.centre_on(self._controls.followed, self._flight.moment)

    def _connect(self) -> None:
        controls = self._controls
        controls.on(controls.pause, lambda: self._pause(not self._flight.paused))
        controls.on(controls.step, self._step)
        controls.on(controls.speed, self._change_speed)
        controls.on(controls.restart, self._flight.restart)
        controls.on(controls.policy, lambda: self._fly_with(controls.policy.value))
        controls.on(controls.load, self._load)
        controls.on(controls.family, self._change_family)
        controls.on(controls.draw_vehicles, lambda: self._change_vehicles(self._seed + 1))
        controls.on(controls.follow, lambda: self._scene.aim(controls.followed))
        controls.on(controls.course, self._change_course)
        controls.on(controls.course_speed, self._change_course)

    def _build_scene(self) -> None:
        flight = self._flight
        self._scene = FleetScene(self._server, flight.fleet, flight.moment, self._role)
        self._scene.aim(self._controls.followed)

    def _pause(self, paused: bool) -> None:
        self._flight.paused = paused
        self._controls.pause.label = "Resume" if paused else "Pause"

    def _step(self) -> None:
        self._pause(True)
        self._flight.step()

    def _change_speed(self) -> None:
        self._flight.speed = SPEEDS[self._controls.speed.value]

    def _fly_with(self, name: str) -> None:
        policy = self._policies[name]
        if policy is not self._flight.policy:
            self._flight.switch(policy)
            self._role = policy.role
            self._scene.recolour(policy.role)

    def _load(self) -> None:
        policy = self._sources.load(self._controls.path.value.strip())
        name = name_of(policy, packaged=False)
        # Replaced each time: the file may have changed.
        self._policies[name] = policy
        self._controls.add_policy(name)
        self._fly_with(name)

    def _change_family(self) -> None:
        if self._controls.family.value != self._family:
            self._change_vehicles(self._seed)

    def _change_vehicles(self, seed: int) -> None:
        family = self._controls.family.value
        try:
            env = self._sources.make_env(family, seed)
            configured = env.paths
            paths = self._course.table(env, configured, seed)
        except ViewerError:
            self._controls.family.value = self._family
            raise
        if paths is not configured:
            env.follow(paths)
        self._flight.set_env(env)
        self._family, self._seed, self._configured = family, seed, configured
        self._build_scene()

    def _change_course(self) -> None:
        course = self._controls.chosen_course
        # A slider that is dragged asks for many.
        if course == self._course:
            return
        try:
            paths = course.table(self._flight.env, self._configured, self._seed)
        except ViewerError:
            self._controls.show_course(self._course)
            raise
        self._flight.follow(paths)
        self._course = course
        self._controls.show_course(course)
        self._build_scene()

    def _followed(self) -> str:
        return "" if self._flight.env.paths is None else f", which follow {self._course}"

    def _status(self) -> str:
        flight, vehicle = self._flight, self._controls.followed or 0
        row = int(flight.moment.vehicle[vehicle])
        distance = float(flight.moment.distance[vehicle])
        mass = flight.fleet.mass(row)
        weight = f"{1000.0 * mass:.1f} g" if mass < 1.0 else f"{mass:.2f} kg"
        return (
            f"**t = {flight.time:.2f} s**, step {flight.steps}{', paused' if flight.paused else ''}\n\n"
            f"{self._role} flies {flight.env.num_envs} vehicles of family {self._family}{self._followed()}\n\n"
            f"mean distance {flight.mean_distance:.3f} m, {flight.episodes} episodes ended, "
            f"{flight.failures} failed\n\n"
            f"vehicle {vehicle}: {weight}, thrust to weight {flight.fleet.thrust_to_weight(row):.2f}, "
            f"{distance:.3f} m from its target; drawn at {flight.fleet.size:.1f} times its size"
        )


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """Set an event at the first Ctrl-C or SIGTERM; a second one raises KeyboardInterrupt."""
    stop = threading.Event()
    before: dict[int, object] = {}

    def handle(signum: int, _: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    if threading.current_thread() is threading.main_thread():
        before = {signum: signal.signal(signum, handle) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)  # pyright: ignore
