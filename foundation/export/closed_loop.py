"""Compare an exported policy with the original one: on the same observations, then in a flight of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from foundation.distill.observations import groups_of
from foundation.export.errors import ExportError
from foundation.export.generators import repeated_generators
from foundation.export.inputs import arrays_of, as_read, require_readable

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv
    from rsl_rl.models import MLPModel
    from tensordict import TensorDict

STEPS = 1000
TOLERANCE = 1e-4
"""Largest difference of an action on the same observations, relative to the actions' scale. Rounding in another
order costs a hundredth of it."""
PARTED = 1e-3
"""Difference, relative to the actions' scale, from which two flights count as parted."""
LEAST_SHARE = 0.01
"""Least scale of an action over the largest scale: below it, a sum of large terms that cancel is all rounding."""


class Stepper(Protocol):
    """An exported policy that flies N vehicles."""

    def __call__(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """Return the actions (N, A) for observations (N, O) and, where the policy sees, images (N, C, H, W)."""
        ...

    def reset(self, dones: np.ndarray) -> None:
        """Reset the recurrent state of the vehicles in a mask of shape (N,)."""
        ...


@dataclass(frozen=True)
class Agreement:
    """Result of a comparison that the export has passed."""

    steps: int
    vehicles: int
    same: float
    """Largest difference of an action on the same observations, relative to the actions' scale."""
    tolerance: float
    """Largest accepted value of ``same``."""
    terminated: int
    """Episodes of the policy that ended before their time was out; 0 in an environment without ``time_outs``."""
    own: float | None
    """Largest relative difference in a flight of its own; None if the environment does not repeat a flight."""
    parted: int | None
    """First step at which the two flights differ by more than ``PARTED``, if they do."""

    def __str__(self) -> str:
        """Return the line that the export prints."""
        return (
            f"{self.steps} steps of {self.vehicles} vehicles: on the same observations actions differ by at most "
            f"{self.same:.1e} of their scale (tolerance {self.tolerance:g}); {self._own_flight()}{self._ends()}"
        )

    def _own_flight(self) -> str:
        if self.own is None:
            return (
                "no flight of its own was compared, because make_env returned environments that begin differently"
            )
        if self.parted is None:
            return f"in a flight of its own by {self.own:.1e}"
        return (
            f"in a flight of its own it parts from the policy at step {self.parted} (by up to {self.own:.1e}), as "
            "rounding grows in flights that are chaotic or not stable, and as random environments part"
        )

    def _ends(self) -> str:
        return (
            f"; {self.terminated} episodes of the policy failed before their time was out"
            if self.terminated
            else ""
        )


def require_tolerance(tolerance: float) -> None:
    """Raise if a tolerance is not a share of the actions' scale.

    Raises:
        ExportError: If it is not above 0 and below 1.
    """
    if not 0.0 < tolerance < 1.0:
        raise ExportError(
            f"a tolerance of {tolerance} cannot tell a wrong export from a right one; give a share of the "
            f"actions' scale above 0 and below 1, such as {TOLERANCE:g}"
        )


def require_agreement(
    model: MLPModel,
    make_stepper: Callable[[int], Stepper],
    make_env: Callable[[], VecEnv],
    tolerance: float | None = None,
    steps: int = STEPS,
    to_rotors: Callable[[np.ndarray], np.ndarray] = lambda actions: actions,
) -> Agreement:
    """Compare both policies on the observations of one flight, which decides; then let the export fly alone.

    Both flights begin with the same states of torch's, NumPy's and Python's global generators, so that an
    environment that draws from them repeats itself; they are restored at the end.

    Args:
        model: The policy.
        make_stepper: Returns the exported policy for a number of vehicles.
        make_env: Returns equal environments.
        tolerance: Largest difference of an action on the same observations, relative to the actions' scale; None
            stands for ``TOLERANCE``.
        steps: Number of steps.
        to_rotors: Maps the policy's actions to those that the exported policy returns, such as clipped ones.

    Raises:
        ExportError: If an action differs by more than the tolerance, or is not finite.
    """
    tolerance = TOLERANCE if tolerance is None else tolerance
    require_tolerance(tolerance)
    with repeated_generators() as repeat:
        env = make_env()
        stepper = make_stepper(env.num_envs)
        flight = _fly_with_policy(model, stepper, env, steps)
        expected = to_rotors(np.stack(flight.expected))
        scale = _scale(expected)
        same = _differences(np.stack(flight.actions), expected, scale)
        _require_same(same, scale, tolerance)
        repeat()
        stepper.reset(np.ones(env.num_envs, dtype=bool))
        own = _fly_alone(model, stepper, make_env(), flight.first, steps)
    result = Agreement(steps, env.num_envs, float(same.max()), tolerance, flight.terminated, None, None)
    if own is None:
        return result
    apart = _differences(own, expected, scale)
    parted = (apart > PARTED).nonzero()[0]
    first = int(parted[0]) if len(parted) else None
    return replace(result, own=float(apart.max()), parted=first)


@dataclass
class _Flight:
    """Flight of the policy, with the exported one's actions for the same observations."""

    first: TensorDict
    """First observations."""
    expected: list[np.ndarray] = field(default_factory=list)
    """The policy's actions of each step, shape (N, A)."""
    actions: list[np.ndarray] = field(default_factory=list)
    """The exported policy's actions of each step, shape (N, A)."""
    terminated: int = 0
    """Episodes that ended before their time was out."""


def _fly_with_policy(model: MLPModel, stepper: Stepper, env: VecEnv, steps: int) -> _Flight:
    """Fly the policy and ask the exported one for its actions on the way."""
    model.reset()
    with torch.inference_mode():
        obs = as_read(model, env.get_observations())
        require_readable(model, obs)
        flight = _Flight(obs.clone())
        for step in range(steps):
            inputs = arrays_of(model, obs)
            expected = model(obs)
            if not expected.isfinite().all():
                raise ExportError(f"an action of the policy itself is not finite at step {step}; it cannot fly")
            flight.actions.append(stepper(*inputs).copy())
            flight.expected.append(expected.numpy().copy())
            following, _, dones, extras = env.step(expected)
            obs, ended = as_read(model, following), dones.reshape(-1) > 0
            flight.terminated += int((ended & ~extras.get("time_outs", ended).reshape(-1).bool()).sum())
            model.reset(ended)
            stepper.reset(ended.numpy())
    model.reset()
    return flight


def _fly_alone(model: MLPModel, stepper: Stepper, env: VecEnv, first: TensorDict, steps: int) -> np.ndarray | None:
    """Return the exported policy's actions (T, N, A) in a flight of its own; None if it begins differently."""
    actions = []
    with torch.inference_mode():
        obs = as_read(model, env.get_observations())
        if not all(torch.equal(obs[group], first[group]) for group in groups_of(model)):
            return None
        for _ in range(steps):
            actions.append(stepper(*arrays_of(model, obs)).copy())
            following, _, dones, _ = env.step(torch.as_tensor(actions[-1]))
            obs = as_read(model, following)
            stepper.reset((dones.reshape(-1) > 0).numpy())
    return np.stack(actions)


def _scale(expected: np.ndarray) -> np.ndarray:
    """Return the root mean square of every action over a flight (T, N, A), shape (A,)."""
    scale = np.sqrt(np.square(expected, dtype=np.float64).mean(axis=(0, 1)))
    return np.maximum(scale, max(LEAST_SHARE * scale.max(), float(np.finfo(np.float32).tiny)))


def _differences(actions: np.ndarray, expected: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Return the largest difference of an action at every step, relative to its scale or its size, shape (T,)."""
    off = np.abs(actions.astype(np.float64) - expected) / np.maximum(np.abs(expected), scale)
    # An action that is not finite differs from every other one.
    return np.where(np.isfinite(off), off, np.inf).max(axis=(1, 2))


def _require_same(same: np.ndarray, scale: np.ndarray, tolerance: float) -> None:
    """Raise if an action on the same observations differs by more than the tolerance."""
    wrong = same > tolerance
    if wrong.any():
        step = int(wrong.argmax())
        raise ExportError(
            "the exported policy does not do what the policy does: on the same observations an action differs at "
            f"step {step} by {same[step]:.2g} of the actions' scale ({scale.max():.2g}), more than {tolerance:g}; "
            "if all of this is rounding, give a larger tolerance"
        )
