"""Disturbances that flights along paths meet: late sensors, gusts, a battery that sags, a weak motor.

Gusts are the Dryden model of MIL-F-8785C at low altitude: first-order noise along the mean wind and second-order
across, with length scales for 5 m above the ground and a mean wind at 6 m of ``wind`` [m/s]. Air that moves pushes
a vehicle by its mass times 0.5 1/s times the gust, about what the drag of a Crazyflie gives (0.0152 N s/m over
32 g).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from foundation.evaluation.recording import reset_policy
from foundation.tasks.point_ctrl.layout import Observed

DRAG_PER_MASS = 0.5
"""Force of a gust over mass and gust velocity [1/s]."""
HEIGHT_FT, FEET = 5.0 / 0.3048, 0.3048


@dataclass(frozen=True)
class Disturbed:
    """One disturbance."""

    overrides: list[str] = field(default_factory=list)
    """Settings of the environment."""
    wind: float = 0.0
    """Mean wind at 6 m that the gusts belong to [m/s]."""
    sag: float = 0.0
    """Share of the thrust that the battery has lost at the end of a flight."""
    weak: float = 1.0
    """Share of its thrust that the front-right motor gives."""

    def applied(self, policy: Any, env: Any) -> tuple[Any, Any]:
        """Return policy and environment with the disturbance between them."""
        if self.wind == self.sag == 0.0 and self.weak == 1.0:
            return policy, env
        between = Between(self, policy, env)
        return between, between


class Between:
    """Stands between a policy and its environment, as either of them."""

    def __init__(self, disturbance: Disturbed, policy: Any, env: Any) -> None:
        self._disturbance, self._policy, self._env = disturbance, policy, env
        self._step, self._gusts = 0, dryden(disturbance.wind, env.max_episode_length, env.num_envs, env.sim.dt)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)

    def __call__(self, obs: Any) -> torch.Tensor:
        return self._policy(obs)

    def reset(self, dones: torch.Tensor) -> None:
        reset_policy(self._policy, dones)

    def step(self, actions: torch.Tensor) -> Any:
        """Step with the disturbed commands; the policy goes on seeing its own."""
        env, said = self._env, self._disturbance
        mass = torch.as_tensor(env.sim.params.mass, dtype=torch.float32)[env.sim.vehicle.long()]
        before = self._gusts[self._step - 1] if self._step else torch.zeros_like(self._gusts[0])
        env.sim.force_w.add_(DRAG_PER_MASS * mass[:, None] * (self._gusts[self._step] - before))
        # Thrust is about the square of the speed.
        left = 1.0 - said.sag * self._step / len(self._gusts)
        share = torch.tensor([said.weak * left, left, left, left]).sqrt()
        obs, *rest = env.step((actions + 1.0) * share - 1.0)
        first = Observed.PREVIOUS_ACTION
        for group in ("student", "teacher"):
            obs[group][:, first : first + 4] = actions
        self._step += 1
        return obs, *rest


def dryden(wind: float, steps: int, count: int, dt: float) -> torch.Tensor:
    """Return gusts [m/s], shape (steps, count, 3), from the stationary distribution.

    Of both transfer functions the forms of MIL-F-8785C, in the state space: with a length L and an airspeed V the
    first order has the time constant L / V, the second order twice the pole at it and a zero at sqrt(3) L / V.
    """
    rng = np.random.default_rng(0)
    if wind == 0.0:
        return torch.zeros(steps, count, 3)
    length_w = HEIGHT_FT * FEET
    shape = 0.177 + 0.000823 * HEIGHT_FT
    length_u, sigma_w = length_w / shape**1.2, 0.1 * wind
    sigma_u = sigma_w / shape**0.4
    first = _first_order(length_u / wind, steps, (count, 1), dt, rng)
    across = _second_order(length_u / wind, steps, (count, 1), dt, rng)
    vertical = _second_order(length_w / wind, steps, (count, 1), dt, rng)
    gusts = np.concatenate([sigma_u * first, sigma_u * across, sigma_w * vertical], axis=2)
    return torch.as_tensor(gusts, dtype=torch.float32)


def _first_order(
    tau: float, steps: int, shape: tuple[int, int], dt: float, rng: np.random.Generator
) -> np.ndarray:
    decay = np.exp(-dt / tau)
    value, out = rng.standard_normal(shape), np.empty((steps, *shape))
    for k in range(steps):
        out[k] = value
        value = decay * value + np.sqrt(1.0 - decay**2) * rng.standard_normal(shape)
    return out


def _second_order(
    tau: float, steps: int, shape: tuple[int, int], dt: float, rng: np.random.Generator
) -> np.ndarray:
    """Return noise of unit variance through (1 + sqrt(3) tau s) / (1 + tau s)^2, after its transient."""
    decay = np.exp(-dt / tau)
    inner = outer = np.zeros(shape)
    settle, out = int(10.0 * tau / dt), np.empty((steps, *shape))
    for k in range(-settle, steps):
        inner = decay * inner + np.sqrt(1.0 - decay**2) * rng.standard_normal(shape)
        outer = decay * outer + (1.0 - decay) * inner
        if k >= 0:
            # (1 + sqrt(3) tau s) / (1 + tau s) = sqrt(3) + (1 - sqrt(3)) / (1 + tau s); its variance is 1.
            out[k] = (np.sqrt(3.0) * inner + (1.0 - np.sqrt(3.0)) * outer) / np.sqrt(2.0)
    return out


DISTURBANCES = {
    "none": Disturbed(),
    "sensors 10 ms late": Disturbed(["env.noise.delay=0.01", "env.noise.delayed_share=1"]),
    "sensors 20 ms late": Disturbed(["env.noise.delay=0.02", "env.noise.delayed_share=1"]),
    "sensors 30 ms late": Disturbed(["env.noise.delay=0.03", "env.noise.delayed_share=1"]),
    "gusts of a 5 m/s wind": Disturbed(wind=5.0),
    "gusts of a 10 m/s wind": Disturbed(wind=10.0),
    "battery that sags by 15 %": Disturbed(sag=0.15),
    "one motor at 80 %": Disturbed(weak=0.8),
}
"""By what is said of them."""
