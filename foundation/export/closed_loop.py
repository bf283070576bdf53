"""Compare an exported policy with the original one in closed loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from foundation.export.errors import ExportError

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv
    from rsl_rl.models import MLPModel

STEPS = 1000
TOLERANCE = 1e-3
"""Largest difference of an action, whose range is [-1, 1], at any step. Rounding in another order costs a
thousandth of it; each policy flies its own loop, so that differences are fed back as on a vehicle."""
SAME_TOLERANCE = 1e-4
"""The same for both policies on the same observations."""


class Stepper(Protocol):
    """An exported policy that flies N vehicles."""

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Return the actions (N, A) for observations (N, O)."""
        ...

    def reset(self, dones: np.ndarray) -> None:
        """Reset the recurrent state of the vehicles in a mask of shape (N,)."""
        ...


@dataclass(frozen=True)
class Agreement:
    """Result of a comparison in closed loop."""

    steps: int
    vehicles: int
    action: float
    """Largest difference of an action."""

    def __str__(self) -> str:
        """Return the line that the export prints."""
        return (
            f"{self.steps} steps of {self.vehicles} vehicles in a loop of its own: actions differ by at most "
            f"{self.action:.1e} (tolerance {TOLERANCE:g})"
        )


def require_agreement(
    model: MLPModel,
    make_stepper: Callable[[int], Stepper],
    make_env: Callable[[], VecEnv],
    steps: int = STEPS,
    to_rotors: Callable[[np.ndarray], np.ndarray] = lambda actions: actions,
) -> Agreement:
    """Fly both, each in its own environment from the same seed, and compare their actions step by step.

    Args:
        model: The policy.
        make_stepper: Returns the exported policy for a number of vehicles.
        make_env: Returns equal environments.
        steps: Number of steps.
        to_rotors: Maps the policy's actions to those that the exported policy returns, such as clipped ones.

    Raises:
        ExportError: If an action differs by more than ``TOLERANCE``.
    """
    env = make_env()
    stepper = make_stepper(env.num_envs)
    alone = _differences(model, stepper, env, make_env(), steps, to_rotors, apart=True)
    if alone[-1] <= TOLERANCE:
        return Agreement(steps, env.num_envs, max(alone))
    step = len(alone) - 1
    stepper.reset(np.ones(env.num_envs, dtype=bool))
    same = _differences(model, stepper, make_env(), make_env(), steps, to_rotors, apart=False)
    if same[-1] <= SAME_TOLERANCE:
        raise ExportError(
            "the policy is not stable: from the same observations the export computes its actions to within "
            f"{max(same):.1e}, but in a loop of its own this rounding grows to {alone[step]:g} by step {step}, "
            f"more than {TOLERANCE:g}; train it longer"
        )
    raise ExportError(
        f"the exported policy does not do what the policy does: at step {step} an action differs by "
        f"{alone[step]:g}, more than {TOLERANCE:g}"
    )


def _differences(
    model: MLPModel,
    stepper: Stepper,
    env: VecEnv,
    own_env: VecEnv,
    steps: int,
    to_rotors: Callable[[np.ndarray], np.ndarray],
    apart: bool,
) -> list[float]:
    """Return the largest difference of an action at each step, up to the first that exceeds the tolerance.

    Args:
        model: The policy, which flies ``env``.
        stepper: The exported policy.
        env: The policy's environment.
        own_env: The exported policy's environment.
        steps: Number of steps.
        to_rotors: Maps the policy's actions to those that the exported policy returns.
        apart: Whether ``own_env`` is stepped by the exported policy, or by the policy as well.
    """
    tolerance = TOLERANCE if apart else SAME_TOLERANCE
    model.reset()
    found = []
    with torch.inference_mode():
        obs, own_obs = env.get_observations(), own_env.get_observations()
        for _ in range(steps):
            expected = model(obs)
            actions = stepper(torch.cat([own_obs[group] for group in model.obs_groups], dim=-1).numpy())
            found.append(float(np.abs(to_rotors(expected.numpy()) - actions).max()))
            if not found[-1] <= tolerance:  # also for NaN
                break
            obs, _, dones, _ = env.step(expected)
            own_obs, _, own_dones, _ = own_env.step(torch.as_tensor(actions) if apart else expected)
            model.reset(dones)
            stepper.reset(own_dones.numpy() > 0)
    return found
