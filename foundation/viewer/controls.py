"""The panel of the live view."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TYPE_CHECKING

from foundation.evaluation.policies import Policy
from foundation.sim.randomization import FAMILIES
from foundation.viewer.courses import (
    CONFIGURED,
    COURSES,
    FASTEST,
    FIRST_SPEED,
    SLOWEST,
    WITH_SPEED,
    Course,
)
from foundation.viewer.errors import ViewerError

if TYPE_CHECKING:
    import viser

SPEEDS = {"1/10": 0.1, "1/4": 0.25, "1/2": 0.5, "1": 1.0, "2": 2.0, "4": 4.0}
"""Simulated time over wall time, by the label in the menu."""
WHOLE_FLEET = "whole fleet"


class Controls:
    """Buttons and menus. Their actions run between two frames, in :meth:`run_pending`.

    viser calls back on its own threads, but environment and policies may only be used on the thread that flies.
    """

    def __init__(
        self, gui: viser.GuiApi, policies: list[str], family: str, num_vehicles: int, is_on_paths: bool
    ) -> None:
        """Add all buttons and menus.

        Args:
            gui: The panel.
            policies: Names of the policies in the menu; the first one flies.
            family: The family of the vehicles.
            num_vehicles: Number of vehicles.
            is_on_paths: Whether the environment is configured with paths, which are followed first.
        """
        self._pending: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.status = gui.add_markdown("")
        self.pause = gui.add_button("Pause")
        self.step = gui.add_button("Step", hint="Pause, and fly one control step")
        self.speed = gui.add_dropdown(
            "Speed", tuple(SPEEDS), initial_value="1", hint="Simulated time over wall time"
        )
        self.restart = gui.add_button("New episodes", hint="Start a new episode with every vehicle")
        with gui.add_folder("Policy"):
            self.policy = gui.add_dropdown("Who flies", tuple(policies), hint="Takes over in flight")
            self.path = gui.add_text("Checkpoint", "", hint="A checkpoint or run folder on the server's disk")
            self.load = gui.add_button("Load checkpoint", hint="Add it to the menu and let it fly")
            self.message = gui.add_markdown("", visible=False)
        with gui.add_folder("Vehicles"):
            self.family = gui.add_dropdown(
                "Family", FAMILIES, initial_value=family, hint="none: the nominal vehicle, without disturbance"
            )
            self.draw_vehicles = gui.add_button("Draw other vehicles", hint="The same family, with the next seed")
            names = (WHOLE_FLEET, *(f"vehicle {number}" for number in range(num_vehicles)))
            self.follow = gui.add_dropdown("Camera follows", names, hint="The plots show the vehicle, too")
        with gui.add_folder("Path"):
            self._add_course(gui, is_on_paths)

    def _add_course(self, gui: viser.GuiApi, is_on_paths: bool) -> None:
        self.course = gui.add_dropdown(
            "Path",
            (*([CONFIGURED] if is_on_paths else []), *COURSES),
            hint="What the targets do, from new episodes on; that of hover jumps every 2 s",
        )
        self.course_speed = gui.add_slider(
            "Path speed", SLOWEST, FASTEST, 0.1, FIRST_SPEED, disabled=True,
            hint="Largest speed on the path [m/s]; of langevin the root mean square",
        )  # fmt: skip

    def on(
        self,
        handle: viser.GuiButtonHandle | viser.GuiDropdownHandle | viser.GuiSliderHandle,
        action: Callable[[], None],
    ) -> None:
        """Run an action between two frames each time a page presses a button or chooses a value."""

        # Asynchronous callbacks run in the order of the clicks.
        async def enqueue(event: viser.GuiEvent) -> None:
            # viser also calls back where this program sets a value, as it does after an error.
            if event.client_id is not None:
                self._pending.put(action)

        listen = handle.on_click if hasattr(handle, "on_click") else handle.on_update  # pyright: ignore
        listen(enqueue)

    def run_pending(self) -> bool:
        """Run the actions requested since the last call; return whether there were any."""
        ran = False
        while not self._pending.empty():
            ran = True
            try:
                self._pending.get()()
                self.message.visible = False
            except Exception as error:  # a bad checkpoint or setting must not end the flight
                reason = str(error) if isinstance(error, ViewerError) else f"{type(error).__name__}: {error}"
                # As code, because a path could contain markup.
                self.message.content = "**Not done.** `" + reason.replace("`", "'") + "`"
                self.message.visible = True
        return ran

    def add_policy(self, policy: str) -> None:
        """Add a policy to the menu and select it."""
        if policy not in self.policy.options:
            self.policy.options = (*self.policy.options, policy)
        self.policy.value = policy

    @property
    def chosen_course(self) -> Course:
        """What the vehicles are to follow."""
        return Course(self.course.value, self.course_speed.value)

    def show_course(self, course: Course) -> None:
        """Show what the vehicles follow."""
        self.course.value, self.course_speed.value = course.name, course.speed
        self.course_speed.disabled = course.name not in WITH_SPEED

    @property
    def followed(self) -> int | None:
        """Number of the vehicle that the camera follows, None for the whole fleet."""
        return None if self.follow.value == WHOLE_FLEET else int(self.follow.value.split()[1])


def name_of(policy: Policy, packaged: bool) -> str:
    """Return the name of a policy in the menu."""
    if packaged:
        return f"{policy.role}: packaged"
    return f"{policy.role}: {policy.path.resolve().parent.name}/{policy.path.name}"
