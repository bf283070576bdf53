"""A flight that goes on in real time until it is told otherwise."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from foundation.evaluation.recording import PolicyFn, forget
from foundation.viewer.fleet import Fleet, Snapshot, look
from foundation.viewer.history import History

if TYPE_CHECKING:
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv

LONGEST_JUMP = 0.25
"""Most wall time that is made up for at once [s]; a machine that is too slow flies slower instead."""
KEPT_SECONDS = 10.0
"""How much of the past is kept for trails and plots, in simulated time [s]."""


class Flight:
    """Steps an environment with a policy as simulated time passes.

    It knows no viewer: whoever shows it calls :meth:`advance` once per frame.
    """

    def __init__(
        self,
        env: PointCtrlEnv,
        policy: PolicyFn,
        limit: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with the episodes that are under way.

        Args:
            env: The environment.
            policy: Who flies.
            limit: Steps after which the flight has ended; None for one without end.
            clock: Gives the wall time [s].
        """
        self._clock = clock
        self._limit = limit
        self._last = clock()
        self._owed = 0.0
        self.paused = False
        self.speed = 1.0
        """Simulated time over wall time."""
        self.steps = 0
        """Control steps flown."""
        self.policy = policy
        self.fly_in(env)

    def fly_in(self, env: PointCtrlEnv) -> None:
        """Go on in another environment, with the episodes that it has begun."""
        self.env = env
        self.fleet = Fleet(env.sim.params, env.nominal, env.num_envs)
        self._obs = env.get_observations()
        self._begin_anew()

    def switch(self, policy: PolicyFn) -> None:
        """Let another policy fly from the next step on; it remembers nothing of an earlier turn."""
        forget(policy, torch.ones(self.env.num_envs, dtype=torch.bool, device=self.env.device))
        self.policy = policy

    def restart(self) -> None:
        """Begin a new episode with every vehicle."""
        self._obs, _ = self.env.reset()
        self._begin_anew()

    @property
    def dt(self) -> float:
        """Control step [s]."""
        return self.env.sim.dt

    @property
    def time(self) -> float:
        """Simulated time since the last new beginning [s]."""
        return (self.steps - self._begun) * self.dt

    @property
    def ended(self) -> bool:
        """Whether all steps of a limited flight have been flown."""
        return self._limit is not None and self.steps >= self._limit

    def advance(self) -> int:
        """Fly the steps that have become due since the last call, and return their number."""
        now = self._clock()
        elapsed, self._last = now - self._last, now
        if self.paused:
            self._owed = 0.0
            return 0
        rate = self.speed / self.dt
        self._owed = min(self._owed + elapsed * rate, max(1.0, LONGEST_JUMP * rate))
        # Sums of frame times fall short of a whole step by rounding.
        due = math.floor(self._owed + 1e-6)
        self._owed -= due
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
            forget(self.policy, dones)
        self.steps += 1
        ended = dones.cpu().numpy() > 0
        self.episodes += int(ended.sum())
        self.failures += int((ended & ~extras["time_outs"].cpu().numpy()).sum())
        self.seen = look(self.env.sim, self.env.num_envs)
        self.history.append(self.seen, ended)

    def _begin_anew(self) -> None:
        forget(self.policy, torch.ones(self.env.num_envs, dtype=torch.bool, device=self.env.device))
        self._begun = self.steps
        self.episodes = 0
        """Episodes that have ended since the last new beginning."""
        self.failures = 0
        """Those of them that left the bounds."""
        self.history = History(self.env.num_envs, self.dt, KEPT_SECONDS)
        self.seen: Snapshot = look(self.env.sim, self.env.num_envs)
        self.history.append(self.seen)

    @property
    def mean_distance(self) -> float:
        """Mean distance to the target over the fleet [m]."""
        return float(np.linalg.norm(self.seen.pos_w, axis=-1).mean())
