"""Checks of an environment before anybody trains in it: does it do what rsl_rl expects of a ``VecEnv``?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.distill.env_state import longest_episode
from foundation.distill.log import logger
from foundation.distill.observations import stored_dtype

MOST_REPLAYED = 200
"""Steps that are compared after ``load_state_dict`` if episodes are longer."""
MOST_STEPS = 2000
"""Steps that are run if episodes are longer."""


class EnvCheckError(ValueError):
    """What an environment does wrong, one line each."""


def check_env(
    env: VecEnv,
    obs_groups: Mapping[str, Sequence[str]] | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> list[str]:
    """Run random actions, and check everything that training reads of an environment.

    Args:
        env: The environment; its episodes go on where the check leaves them.
        obs_groups: Observation groups of each policy, as in a runner's configuration; their names are checked, and
            whether the teacher knows more than the student.
        steps: Steps to run; None means one and a half of the longest episode, at most 2000.
        seed: Seed of the actions, uniform in [-1, 1].

    Returns:
        Hints: what works, but is seldom meant. They are logged as well.

    Raises:
        EnvCheckError: If training would fail or learn from wrong data; one line per defect, each with the way out.
    """
    check = _EnvCheck(env, torch.Generator().manual_seed(seed))
    check.attributes()
    check.stop_if_broken()
    check.observations(env.get_observations(), "get_observations")
    check.stop_if_broken()
    check.groups({} if obs_groups is None else obs_groups)
    check.episodes(steps or min(MOST_STEPS, 3 * longest_episode(env) // 2 + 1))
    check.stop_if_broken()
    check.replay()
    check.stop_if_broken()
    for hint in check.hints:
        logger.warning(f"[Check] {hint}")
    return check.hints


class _EnvCheck:
    """Collects errors and hints, each once."""

    def __init__(self, env: VecEnv, generator: torch.Generator) -> None:
        self.env, self.hints = env, []
        self._errors: list[str] = []
        self._generator = generator

    def error(self, text: str) -> None:
        self._errors.append(text)

    def hint(self, text: str) -> None:
        if text not in self.hints:
            self.hints.append(text)

    def stop_if_broken(self) -> None:
        if self._errors:
            count = "1 defect" if len(self._errors) == 1 else f"{len(self._errors)} defects"
            name = type(self.env).__name__
            raise EnvCheckError("\n".join([f"{name} has {count}:", *(f"- {text}" for text in self._errors)]))

    def attributes(self) -> None:
        """Check what rsl_rl reads of the environment besides its methods."""
        for name in ("num_envs", "num_actions"):
            value = getattr(self.env, name, None)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                self.error(f"{name} must be an int of at least 1, got {value!r}")
        for name, why in (
            ("max_episode_length", "the longest episode in steps, an int or a tensor (N,)"),
            ("device", "the torch device of its tensors"),
            ("cfg", "its configuration, which is logged; {} if there is none"),
        ):
            if not hasattr(self.env, name):
                self.error(f"{name} is missing: {why}")
        longest = getattr(self.env, "max_episode_length", 1)
        if longest is None or bool((torch.as_tensor(longest) < 1).any()):
            self.error(f"max_episode_length must be at least 1 step, got {longest}")
        if not self._errors:
            self._check_lengths()

    def _check_lengths(self) -> None:
        lengths, expected = getattr(self.env, "episode_length_buf", None), (self.env.num_envs,)
        if not isinstance(lengths, torch.Tensor) or lengths.dtype.is_floating_point or lengths.shape != expected:
            self.error(
                f"episode_length_buf must be a tensor of ints of shape {expected}, got {_described(lengths)}"
            )
            return
        try:
            self.env.episode_length_buf = lengths.clone()
        except (AttributeError, ValueError) as error:
            self.hint(f"episode_length_buf cannot be set ({error}): call learn without init_at_random_ep_len")

    def observations(self, obs: Any, source: str) -> None:
        """Check the type, shape, dtype, device and values of every group."""
        if not isinstance(obs, TensorDict):
            self.error(f"{source} must return a TensorDict of observation groups, got {type(obs).__name__}")
            return
        if tuple(obs.batch_size) != (self.env.num_envs,):
            self.error(f"{source}: batch_size must be [{self.env.num_envs}], got {list(obs.batch_size)}")
            return
        for name, values in obs.items():
            self._check_group(f"{source}: observation group {name!r}", values)

    def _check_group(self, where: str, values: Any) -> None:
        if not isinstance(values, torch.Tensor):
            self.error(f"{where} must be a tensor, got {type(values).__name__}")
            return
        if values.ndim < 2:
            self.error(f"{where} must have shape ({self.env.num_envs}, D), got {tuple(values.shape)}")
        elif values.shape[-1] == 0:
            self.hint(f"{where} has no columns")
        if values.is_complex():
            self.error(f"{where} is complex; give real and imaginary parts as two groups")
        if not self._on_device(where, values) or values.is_complex():
            return
        if values.dtype != stored_dtype(values):
            self.hint(
                f"{where} has dtype {values.dtype}, and is converted to {stored_dtype(values)} in every step"
            )
        self._check_finite(where, values)

    def _on_device(self, where: str, values: torch.Tensor) -> bool:
        expected = torch.device(self.env.device)
        if values.device.type == expected.type and expected.index in (None, values.device.index):
            return True
        self.error(f"{where} is on {values.device}, but the environment's device is {expected}")
        return False

    def _check_finite(self, where: str, values: torch.Tensor) -> None:
        bad = ~torch.isfinite(values.reshape(len(values), -1)).all(1)
        if bad.any():
            env = int(bad.nonzero()[0])
            self.error(f"{where} has NaN or infinity in environment {env}")

    def groups(self, obs_groups: Mapping[str, Sequence[str]]) -> None:
        """Check that named groups exist, and whether anything is privileged."""
        obs = self.env.get_observations()
        for policy, names in obs_groups.items():
            for name in names:
                if name not in obs:
                    known = ", ".join(map(str, obs.keys()))
                    self.error(f"obs_groups: {policy} reads {name!r}, but there are {known}")
        student, teacher = (list(obs_groups.get(policy, ())) for policy in ("student", "teacher"))
        if student and set(student) == set(teacher):
            self.hint(f"student and teacher read the same groups, {', '.join(student)}: nothing is privileged")

    def episodes(self, steps: int) -> None:
        """Run episodes, and check every step."""
        ends = torch.zeros(self.env.num_envs, dtype=torch.long)
        time_outs, at_limit = 0, 0
        limit = torch.as_tensor(self.env.max_episode_length).cpu()
        for step in range(steps):
            before = self.env.episode_length_buf.clone()
            result = self._step(step)
            if result is None:
                return
            dones, extras = result
            self._check_counting(before, dones, step)
            ends += dones
            time_outs += int(extras["time_outs"].sum()) if "time_outs" in extras else 0
            at_limit += int((dones & (before.cpu() + 1 >= limit)).sum())
            if self._errors:
                return
        self._judge_ends(ends, steps, time_outs, at_limit)

    def _step(self, step: int) -> tuple[torch.Tensor, dict] | None:
        """Run a step and check what it returns; None if that cannot be used."""
        env, source = self.env, f"step {step}"
        result = env.step(self.actions())
        if not isinstance(result, tuple) or len(result) != 4:
            got = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
            self.error(f"step must return (observations, rewards, dones, extras), got {got}")
            return None
        obs, rewards, dones, extras = result
        self.observations(obs, source)
        for name, values in (("rewards", rewards), ("dones", dones)):
            self._check_row(f"{source}: {name}", values)
        if not isinstance(extras, dict):
            self.error(f"{source}: extras must be a dict, got {type(extras).__name__}")
        if self._errors:
            return None
        self._check_finite(f"{source}: rewards", rewards)
        ended = dones.reshape(-1).cpu() > 0
        if "time_outs" in extras:
            self._check_row(f"{source}: extras['time_outs']", extras["time_outs"], ())
            if not self._errors and (extras["time_outs"].reshape(-1).cpu().bool() & ~ended).any():
                self.error(f"{source}: a time-out without done; dones must hold terminations and time-outs")
        return None if self._errors else (ended, extras)

    def _check_row(self, where: str, values: Any, also: tuple[int, ...] = (1,)) -> None:
        count = self.env.num_envs
        if not isinstance(values, torch.Tensor) or values.shape not in ((count,), (count, *also)):
            self.error(f"{where} must be a tensor of shape ({count},), got {_described(values)}")
            return
        if values.ndim > 1:
            what = where.partition(": ")[2]
            self.hint(f"{what} have shape {tuple(values.shape)}: rsl_rl's own runner needs ({count},)")
        self._on_device(where, values)

    def _check_counting(self, before: torch.Tensor, ended: torch.Tensor, step: int) -> None:
        now = self.env.episode_length_buf.cpu()
        expected = torch.where(ended, 0, before.cpu() + 1)
        if not torch.equal(now.long(), expected.long()):
            env = int((now != expected).nonzero()[0])
            why = "its episode ended: reset it in the same step" if ended[env] else "it counts the episode's steps"
            self.error(
                f"step {step}: episode_length_buf of environment {env} is {now[env].item()}, but must be "
                f"{expected[env].item()}, because {why}"
            )

    def _judge_ends(self, ends: torch.Tensor, steps: int, time_outs: int, at_limit: int) -> None:
        total, longest = int(ends.sum()), longest_episode(self.env)
        if total == 0 and steps > longest:
            self.error(f"no episode ended in {steps} steps, though max_episode_length is {longest}")
        if total == self.env.num_envs * steps and longest > 1:
            self.error("every step ends an episode: are dones and not-dones swapped?")
        if at_limit and not time_outs:
            self.hint(
                f"{at_limit} episodes ended at max_episode_length, and extras has no true 'time_outs': PPO takes "
                "them for failures, and an episode filter or an evaluation cannot tell the two apart"
            )
        if total == 0 and steps <= longest:
            self.hint(f"no episode ended in {steps} steps, so nothing is known of resets; give more steps")

    def replay(self) -> None:
        """Check that a saved state holds everything that the next steps read."""
        env: Any = self.env
        state = env.state_dict() if hasattr(env, "state_dict") and hasattr(env, "load_state_dict") else None
        if state is None:
            self.hint("there is no state_dict and load_state_dict: a continued run begins with new episodes")
            return
        actions = [self.actions() for _ in range(min(MOST_REPLAYED, longest_episode(env) + 1))]
        first = self._steps(actions)
        env.load_state_dict(state)
        for step, (one, other) in enumerate(zip(first, self._steps(actions), strict=True)):
            for name, values in one.items():
                if not torch.equal(values, other[name]):
                    self.error(
                        f"{name} differs in step {step} after load_state_dict: state_dict must hold copies of "
                        "everything that a step reads, random generators included"
                    )
                    return

    def _steps(self, actions: Sequence[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        results = []
        for action in actions:
            obs, rewards, dones, _ = self.env.step(action.clone())
            results.append({f"observation group {name!r}": values.clone() for name, values in obs.items()})
            results[-1] |= {"rewards": rewards.clone(), "dones": dones.clone()}
        return results

    def actions(self) -> torch.Tensor:
        """Return random actions (N, A), uniform in [-1, 1]."""
        shape = self.env.num_envs, self.env.num_actions
        return (2.0 * torch.rand(*shape, generator=self._generator) - 1.0).to(self.env.device)


def _described(values: Any) -> str:
    if not isinstance(values, torch.Tensor):
        return type(values).__name__
    return f"shape {tuple(values.shape)} of {values.dtype}"
