"""The Crazyflie's controller for tests, and what it is called with."""

from __future__ import annotations

import ctypes

import numpy as np

from foundation.export.crazyflie import NUM_OBS
from foundation.export.crazyflie_stepper import Controller, c_arrays

HOVER = np.array([0, 0, 1, 0, 0, 0, 1, 0, 0, 0], dtype=float)
STILL = np.zeros(3)
TARGET = np.array([0.1, -0.2, 1.3])
BY_PID = np.full(4, -1.0)


class ProbedController(Controller):
    """The controller, with access to single functions of it."""

    def probe(self, name: str, *arguments):
        function = getattr(self.functions, f"probe_{name}")
        function.restype = ctypes.c_float
        return function(*arguments)

    def pid_resets(self) -> int:
        """Return how often the firmware's own controller was reset."""
        return self.functions.probe_pid_resets()

    def next_heading(self, state: np.ndarray, wanted: float) -> float:
        """Return the heading that is flown to next for a wanted one [rad]."""
        return self.probe("next_heading", *c_arrays(state), ctypes.c_float(wanted))

    def observe(
        self, state: np.ndarray, gyro_deg: np.ndarray, target: np.ndarray, yaw_deg: float, action: np.ndarray
    ) -> np.ndarray:
        """Return the 22 observations for the arguments of :meth:`control` and the previous action."""
        obs = np.empty(NUM_OBS, dtype=np.float32)
        arguments = c_arrays(state, gyro_deg, target)
        self.functions.probe_observe(*arguments, ctypes.c_float(yaw_deg), *c_arrays(action, obs))
        return obs

    def normalized_force(self, action: float) -> float:
        """Return the force over full scale for an action."""
        return self.probe("normalized_force", ctypes.c_float(action), ctypes.c_float(self.full_thrust))

    def hover_action(self) -> float:
        """Return the action that a flight begins with."""
        return self.probe("hover_action")


def index_of(what: dict[int, float], base: np.ndarray) -> np.ndarray:
    out = base.copy()
    for index, value in what.items():
        out[index] = value
    return out


def turned(heading: float) -> np.ndarray:
    """Return the state of a level vehicle of a heading [rad]."""
    return index_of({5: np.sin(0.5 * heading), 6: np.cos(0.5 * heading)}, HOVER)
