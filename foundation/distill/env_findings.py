"""What a check of an environment has found, and the checks of observations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.distill.observations import stored_dtype


class EnvCheckError(ValueError):
    """What an environment does wrong, one line each."""


class Findings:
    """Collects errors and hints, each once."""

    def __init__(self, env: VecEnv) -> None:
        """Begin with none."""
        self.env = env
        self.hints: list[str] = []
        """What works, but is seldom meant."""
        self.errors: list[str] = []
        """What does not work."""

    def error(self, text: str) -> None:
        """Add an error."""
        if text not in self.errors:
            self.errors.append(text)

    def hint(self, text: str) -> None:
        """Add a hint."""
        if text not in self.hints:
            self.hints.append(text)

    def stop_if_broken(self, cause: Exception | None = None) -> None:
        """Raise all errors as one.

        Raises:
            EnvCheckError: If there is any.
        """
        if self.errors:
            count = "1 defect" if len(self.errors) == 1 else f"{len(self.errors)} defects"
            name = type(self.env).__name__
            text = "\n".join([f"{name} has {count}:", *(f"- {text}" for text in self.errors)])
            raise EnvCheckError(text) from cause

    def call(self, source: str, method: str, *args: Any, advice: str = "") -> Any:
        """Call a method of the environment, and return what it returns.

        Raises:
            EnvCheckError: If there is no such method, or it raises an error.
        """
        function: Callable[..., Any] | None = getattr(self.env, method, None)
        if not callable(function):
            self.error(f"{method} must be a method, got {described(function)}")
            self.stop_if_broken()
        try:
            return function(*args)  # pyright: ignore
        except Exception as error:  # an environment of one's own can raise anything
            self.error(f"{source} raised {type(error).__name__}: {' '.join(str(error).split())}{advice}")
            self.stop_if_broken(error)

    def on_device(self, where: str, values: torch.Tensor) -> bool:
        """Check that a tensor is on the environment's device."""
        expected = torch.device(self.env.device)
        if values.device.type == expected.type and expected.index in (None, values.device.index):
            return True
        self.error(f"{where} is on {values.device}, but the environment's device is {expected}")
        return False

    def is_finite(self, where: str, values: torch.Tensor) -> None:
        """Check that a tensor (N, …) holds neither NaN nor infinity."""
        bad = ~torch.isfinite(values.reshape(len(values), -1)).all(1)
        if bad.any():
            env = int(bad.nonzero()[0])
            self.error(f"{where} has NaN or infinity in environment {env}")


class ObservationCheck:
    """Checks observations by themselves, and those of every step against the first ones."""

    def __init__(self, findings: Findings) -> None:
        """Report to ``findings``."""
        self._findings, self._env = findings, findings.env
        self._first: dict[str, str] | None = None

    def check(self, obs: Any, source: str) -> None:
        """Check the type, shape, dtype, device and values of every group.

        Args:
            obs: What the environment returned.
            source: Where, for messages.
        """
        if not isinstance(obs, TensorDict):
            self._findings.error(
                f"{source} must return a TensorDict of observation groups, got {type(obs).__name__}"
            )
            return
        if tuple(obs.batch_size) != (self._env.num_envs,):
            self._findings.error(
                f"{source}: batch_size must be [{self._env.num_envs}], got {list(obs.batch_size)}"
            )
            return
        for name, values in obs.items():
            self._check_group(source, f"observation group {name!r}", values)
        self._compare(obs, source)

    def _compare(self, obs: TensorDict, source: str) -> None:
        """Check that groups, shapes and dtypes are those of the first observations, which storage is made for."""
        found = {str(name): described(values) for name, values in obs.items()}
        if self._first is None:
            self._first = found
            return
        for name in [*self._first, *(name for name in found if name not in self._first)]:
            before, now = self._first.get(name, "no such group"), found.get(name, "no such group")
            if before != now:
                self._findings.error(
                    f"{source}: observation group {name!r} differs: {now}, but get_observations first returned "
                    f"{before}; return the same groups, shapes and dtypes in every step"
                )

    def _check_group(self, source: str, group: str, values: Any) -> None:
        where = f"{source}: {group}"
        if not isinstance(values, torch.Tensor):
            self._findings.error(f"{where} must be a tensor, got {type(values).__name__}")
            return
        if values.ndim < 2:
            self._findings.error(f"{where} must have shape ({self._env.num_envs}, D), got {tuple(values.shape)}")
        elif values.shape[-1] == 0:
            self._findings.hint(f"{group} has no columns")
        if values.is_complex():
            self._findings.error(f"{where} is complex; give real and imaginary parts as two groups")
        if not self._findings.on_device(where, values) or values.is_complex():
            return
        if values.dtype != stored_dtype(values):
            self._findings.hint(
                f"{group} has dtype {values.dtype}, and is converted to {stored_dtype(values)} in every step"
            )
        self._findings.is_finite(where, values)


def described(values: Any) -> str:
    """Return the shape and dtype of a tensor, or the type of something else."""
    if not isinstance(values, torch.Tensor):
        return type(values).__name__
    return f"shape {tuple(values.shape)} of {values.dtype}"
