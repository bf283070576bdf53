"""Layouts of the task's arrays; see :mod:`foundation.sim.layout`."""

from __future__ import annotations

from typing import Any

from foundation.sim.layout import first_indices

STUDENT = {"position": 3, "rotation": 9, "velocity": 3, "angular_velocity": 3, "previous_action": 4}
"""Columns of the student's observation: position error [m], rotation matrix row-major, linear velocity, world
[m/s], angular velocity, body [rad/s], previous action."""
TEACHER = STUDENT | {"rotor": 4, "force": 3, "descriptors": 8}
"""The same without noise, rotor speeds, disturbance force over weight, world, and descriptors of the vehicle."""
STUDENT_DIM = sum(STUDENT.values())
TEACHER_DIM = sum(TEACHER.values())
Observed: Any = first_indices(TEACHER)
"""First column of each quantity in both observations."""

EPISODE = {"previous_action": 4, "return": 1, "window_error_sq": 1, "last_outside": 1, "command_change": 1}
"""Rows of the running episodes: ``last_outside`` is the last step outside the settle radius, ``command_change``
the sum over steps of the mean change of the four actions."""
Episode: Any = first_indices(EPISODE)

FINISHED = {"return": 1, "survived": 1, "settled": 1, "position_rmse": 1, "settle_time": 1, "length": 1} | {
    "command_rate": 1
}
"""Columns of the last finished episodes."""
Finished: Any = first_indices(FINISHED)

REFERENCE = {"position": 3, "velocity": 3, "acceleration": 3, "half_heading": 2, "heading_rate": 1}
"""Columns of a sample of a path, world frame [m, m/s, m/s^2]; sine and cosine of half of the heading, and its rate
[rad/s]. Kernels load them four at a time."""
REFERENCE_DIM = sum(REFERENCE.values())

RNG = {"key": 1, "counter": 1}
"""Rows of the random generators; see :mod:`foundation.sim.kernels.random_numbers`."""
Rng: Any = first_indices(RNG)


class Reset:
    """Which environments a kernel resets."""

    NONE, FINISHED, ALL = range(3)
