"""A flight in real time that can be paused, stepped and switched to other policies or vehicles."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from foundation.evaluation.recording import PolicyFn, reset_policy
from foundation.viewer.fleet import Snapshot, fleet_of, segments, take_snapshot
from foundation.viewer.history import History

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
    from foundation.tasks.point_ctrl.references import ReferenceTable

LONGEST_JUMP = 0.25
"""Longest wall time to catch up with in one call [s]; a machine that is too slow flies slower instead."""
KEPT_SECONDS = 10.0
"""Simulated time kept for trails and plots [s]."""

REFERENCE_SECONDS = (2.0, 2.0, 0.05)
"""Times by which a target's drawn path reaches back and ahead, and that between two of its points [s]."""


class Flight:
    """Steps an environment with a policy in step with the wall clock.

    Independent of any viewer: a viewer calls :meth:`advance` once per frame.
    """

    def __init__(
        self,
        env: PointCtrlEnv,
        policy: PolicyFn,
        limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start from the current episodes.

        Args:
            env: The environment.
            policy: The policy that flies.
            limit: Steps after which the flight ends; None for no limit.
            clock: Returns the wall time [s].
        """
        self._clock = clock
        self._limit = limit
        self._last = clock()
        self._pending_steps = 0.0
        self.paused = False
        self.speed = 1.0
        """Simulated time over wall time."""
        self.steps = 0
        """Control steps flown."""
        self.policy = policy
        self.set_env(env)

    def set_env(self, env: PointCtrlEnv) -> None:
        """Continue in another environment, from its current episodes."""
        self.env = env
        self.fleet = fleet_of(env, env.num_envs)
        self._obs = env.get_observations()
        self._restart_counters()

    def follow(self, paths: ReferenceTable | None) -> None:
        """Continue along other paths, with new episodes; None is the origin."""
        self.env.follow(paths)
        self.set_env(self.env)

    def references(self) -> np.ndarray | None:
        """Return the paths of the targets around their present places as segments, world frame [m], (S, 2, 3).

        None if they do not move.
        """
        before, after, every = (max(1, round(seconds / self.dt)) for seconds in REFERENCE_SECONDS)
        points = self.env.references_around(before, after, every)
        return None if points is None else segments(points.cpu().numpy() + self.fleet.targets)

    def switch(self, policy: PolicyFn) -> None:
        """Let another policy fly from the next step on, with its recurrent state reset."""
        reset_policy(policy, torch.ones(self.env.num_envs, dtype=torch.bool, device=self.env.device))
        self.policy = policy

    def restart(self) -> None:
        """Reset every vehicle to a new episode."""
        self._obs, _ = self.env.reset()
        self._restart_counters()

    @property
    def dt(self) -> float:
        """Control step [s]."""
        return self.env.sim.dt

    @property
    def time(self) -> float:
        """Simulated time since the last restart or change of environment [s]."""
        return (self.steps - self._first_step) * self.dt

    @property
    def ended(self) -> bool:
        """Whether the limit of steps is reached."""
        return self._limit is not None and self.steps >= self._limit

    def advance(self) -> int:
        """Fly the steps due since the last call, and return their number."""
        now = self._clock()
        elapsed, self._last = now - self._last, now
        if self.paused:
            self._pending_steps = 0.0
            return 0
        rate = self.speed / self.dt
        self._pending_steps = min(self._pending_steps + elapsed * rate, max(1.0, LONGEST_JUMP * rate))
        # Frame times sum up to slightly less than a whole step.
        due = math.floor(self._pending_steps + 1e-6)
        self._pending_steps -= due
        for number in range(due):
            if self.ended:
                return number
            self.step()
        return due

    def step(self) -> None:
        """Fly exactly one control step, paused or not."""
        with torch.inference_mode():
            actions = self.policy(self._obs)
            self._obs, _, dones, extras = self.env.step(actions)
            reset_policy(self.policy, dones)
        self.steps += 1
        ended = dones.cpu().numpy() > 0
        self.episodes += int(ended.sum())
        self.failures += int((ended & ~extras["time_outs"].cpu().numpy()).sum())
        self.moment = take_snapshot(self.env, self.env.num_envs)
        self.history.append(self.moment, ended)

    def _restart_counters(self) -> None:
        reset_policy(self.policy, torch.ones(self.env.num_envs, dtype=torch.bool, device=self.env.device))
        self._first_step = self.steps
        self.episodes = 0
        """Episodes that ended since the last restart."""
        self.failures = 0
        """Episodes of those that left the bounds."""
        self.history = History(self.env.num_envs, self.dt, KEPT_SECONDS)
        self.moment: Snapshot = take_snapshot(self.env, self.env.num_envs)
        self.history.append(self.moment)

    @property
    def mean_distance(self) -> float:
        """Mean distance to the target over the fleet [m]."""
        return float(self.moment.distance.mean())
