"""The paths that the live view offers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foundation.evaluation.tracking.setup import make_paths, reference_table
from foundation.sim.paths import check_path
from foundation.viewer.errors import ViewerError

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
    from foundation.tasks.point_ctrl.references import ReferenceTable

ORIGIN, CONFIGURED = "origin", "as configured"
WITH_SPEED = ("circle", "figure_eight", "lissajous", "langevin")
"""Paths that have a speed."""
COURSES = (ORIGIN, "hover", *WITH_SPEED)
"""What vehicles can follow besides the paths that their environment is configured with."""
JUMPS_M = 0.3
"""Half-width of the cube in which the target of ``hover`` jumps [m]: without jumps it would be the origin."""
SLOWEST, FASTEST, FIRST_SPEED = 0.1, 6.0, 1.0
"""Range of the speed, and where it begins [m/s]."""


@dataclass(frozen=True)
class Course:
    """What all vehicles follow."""

    name: str
    """One of :data:`COURSES`, or :data:`CONFIGURED`."""
    speed: float = FIRST_SPEED
    """Largest speed on the path, of ``langevin`` the root mean square [m/s]; the others have none."""

    def __str__(self) -> str:
        """Return it in words, as after "follow"."""
        if self.name == CONFIGURED:
            return "the configured paths"
        return f"{self.name} at {self.speed:g} m/s" if self.name in WITH_SPEED else self.name

    def table(self, env: PointCtrlEnv, configured: ReferenceTable | None, seed: int) -> ReferenceTable | None:
        """Return paths for an environment's episodes, None for the origin.

        Paths that repeat begin at phases spread evenly.

        Args:
            env: The environment.
            configured: The paths that it was made with.
            seed: Seed of what is random about a path.

        Raises:
            ViewerError: If a vehicle of the environment cannot fly it.
        """
        if self.name in (ORIGIN, CONFIGURED):
            return configured if self.name == CONFIGURED else None
        parameters: dict[str, Any] = {"speed": self.speed} if self.name in WITH_SPEED else {"steps": JUMPS_M}
        try:
            paths = make_paths(self.name, parameters, env.num_envs)
            times = np.arange(int(env.max_episode_length) + 1) * env.cfg.sim.dt
            check_path(paths[0].sample(times, np.random.default_rng(seed)), env.sim.params, self.name)
            return reference_table(paths, env, seed)
        except ValueError as error:
            raise ViewerError(str(error)) from error
