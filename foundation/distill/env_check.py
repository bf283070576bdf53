"""Checks of an environment before anybody trains in it: does it do what rsl_rl expects of a ``VecEnv``?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rsl_rl.env import VecEnv

from foundation.distill.env_findings import EnvCheckError as EnvCheckError
from foundation.distill.env_findings import Findings, ObservationCheck, described
from foundation.distill.env_state import longest_episode
from foundation.distill.log import logger

MOST_REPLAYED = 200
"""Steps that are compared after ``load_state_dict`` if episodes are longer."""
MOST_STEPS = 2000
"""Steps that are run if episodes are longer."""


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
    found = Findings(env)
    check = _EnvCheck(env, found, torch.Generator().manual_seed(seed))
    check.attributes()
    found.stop_if_broken()
    obs = check.first_observations()
    found.stop_if_broken()
    check.groups({} if obs_groups is None else obs_groups, list(map(str, obs.keys())))
    check.episodes(steps or min(MOST_STEPS, 3 * longest_episode(env) // 2 + 1))
    found.stop_if_broken()
    check.replay()
    found.stop_if_broken()
    for hint in found.hints:
        logger.warning(f"[Check] {hint}")
    return found.hints


class _EnvCheck:
    """Runs the checks; what they find goes to :class:`Findings`."""

    def __init__(self, env: VecEnv, found: Findings, generator: torch.Generator) -> None:
        self.env, self.found = env, found
        self._observations = ObservationCheck(found)
        self._generator = generator

    def attributes(self) -> None:
        """Check what rsl_rl reads of the environment besides its methods."""
        for name in ("num_envs", "num_actions"):
            value = getattr(self.env, name, None)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                self.found.error(f"{name} must be an int of at least 1, got {value!r}")
        for name, why in (
            ("max_episode_length", "the longest episode in steps, an int or a tensor (N,)"),
            ("device", "the torch device of its tensors"),
            ("cfg", "its configuration, which is logged; {} if there is none"),
        ):
            if not hasattr(self.env, name):
                self.found.error(f"{name} is missing: {why}")
        if not self.found.errors:
            self._check_device()
            self._check_longest()
        if not self.found.errors:
            self._check_lengths()

    def _check_device(self) -> None:
        try:
            torch.empty(0, device=self.env.device)
        except Exception as error:  # torch raises several kinds
            reason = " ".join(str(error).split())
            self.found.error(f"device must be a torch device of this machine, got {self.env.device!r} ({reason})")

    def _check_longest(self) -> None:
        longest: Any = self.env.max_episode_length
        try:
            works = longest is not None and bool((torch.as_tensor(longest) >= 1).all())
        except (TypeError, ValueError, RuntimeError):
            works = False
        if not works:
            self.found.error(f"max_episode_length must be at least 1 step, got {longest!r}")

    def _check_lengths(self) -> None:
        lengths, expected = getattr(self.env, "episode_length_buf", None), (self.env.num_envs,)
        if not isinstance(lengths, torch.Tensor) or lengths.dtype.is_floating_point or lengths.shape != expected:
            self.found.error(
                f"episode_length_buf must be a tensor of ints of shape {expected}, got {described(lengths)}"
            )
            return
        try:
            self.env.episode_length_buf = lengths.clone()
        except (AttributeError, ValueError) as error:
            way = "init_at_random_ep_len"
            rest = "" if way in str(error) else f": call learn without {way}"
            self.found.hint(f"episode_length_buf cannot be set ({error}){rest}")

    def first_observations(self) -> Any:
        """Check and return what ``get_observations`` returns."""
        obs = self.found.call("get_observations", "get_observations")
        self._observations.check(obs, "get_observations")
        return obs

    def groups(self, obs_groups: Mapping[str, Sequence[str]], known: list[str]) -> None:
        """Check that named groups exist, and whether anything is privileged."""
        if not isinstance(obs_groups, Mapping):
            self.found.error(
                f'obs_groups must be lists by policy, such as {{"student": [...]}}, got {obs_groups!r}'
            )
            return
        for policy, names in obs_groups.items():
            if isinstance(names, str) or not isinstance(names, Sequence):
                way = f"; write [{names!r}]" if isinstance(names, str) else ""
                self.found.error(f"obs_groups: {policy} must be a list of groups, got {names!r}{way}")
                return
            for name in names:
                if name not in known:
                    self.found.error(f"obs_groups: {policy} reads {name!r}, but there are {', '.join(known)}")
        student, teacher = (list(obs_groups.get(policy, ())) for policy in ("student", "teacher"))
        if student and set(student) == set(teacher):
            self.found.hint(
                f"student and teacher read the same groups, {', '.join(student)}: nothing is privileged"
            )

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
            if self.found.errors:
                return
        self._judge_ends(ends, steps, time_outs, at_limit)

    def _step(self, step: int) -> tuple[torch.Tensor, dict] | None:
        """Run a step and check what it returns; None if that cannot be used."""
        env, source = self.env, f"step {step}"
        actions = self.actions()
        advice = f"; it was given actions of shape {tuple(actions.shape)}: is num_actions={env.num_actions} right?"
        result = self.found.call(source, "step", actions, advice=advice)
        if not isinstance(result, tuple) or len(result) != 4:
            got = f"{len(result)} values" if isinstance(result, tuple) else f"a {type(result).__name__}"
            self.found.error(f"step must return (observations, rewards, dones, extras), got {got}")
            return None
        obs, rewards, dones, extras = result
        self._observations.check(obs, source)
        for name, values in (("rewards", rewards), ("dones", dones)):
            self._check_row(f"{source}: {name}", values)
        if not isinstance(extras, dict):
            self.found.error(f"{source}: extras must be a dict, got {type(extras).__name__}")
        if self.found.errors:
            return None
        self.found.is_finite(f"{source}: rewards", rewards)
        ended = dones.reshape(-1).cpu() > 0
        if "time_outs" in extras:
            self._check_row(f"{source}: extras['time_outs']", extras["time_outs"], ())
            if not self.found.errors and (extras["time_outs"].reshape(-1).cpu().bool() & ~ended).any():
                self.found.error(f"{source}: a time-out without done; dones must hold terminations and time-outs")
        return None if self.found.errors else (ended, extras)

    def _check_row(self, where: str, values: Any, also: tuple[int, ...] = (1,)) -> None:
        count = self.env.num_envs
        if not isinstance(values, torch.Tensor) or values.shape not in ((count,), (count, *also)):
            self.found.error(f"{where} must be a tensor of shape ({count},), got {described(values)}")
            return
        if values.ndim > 1:
            what = where.partition(": ")[2]
            self.found.hint(f"{what} have shape {tuple(values.shape)}: rsl_rl's own runner needs ({count},)")
        self.found.on_device(where, values)

    def _check_counting(self, before: torch.Tensor, ended: torch.Tensor, step: int) -> None:
        now = self.env.episode_length_buf.cpu()
        expected = torch.where(ended, 0, before.cpu() + 1)
        if not torch.equal(now.long(), expected.long()):
            env = int((now != expected).nonzero()[0])
            why = "its episode ended: reset it in the same step" if ended[env] else "it counts the episode's steps"
            self.found.error(
                f"step {step}: episode_length_buf of environment {env} is {now[env].item()}, but must be "
                f"{expected[env].item()}, because {why}"
            )

    def _judge_ends(self, ends: torch.Tensor, steps: int, time_outs: int, at_limit: int) -> None:
        total, longest = int(ends.sum()), longest_episode(self.env)
        if total == 0 and steps > longest:
            self.found.error(f"no episode ended in {steps} steps, though max_episode_length is {longest}")
        if total == self.env.num_envs * steps and longest > 1:
            self.found.error("every step ends an episode: are dones and not-dones swapped?")
        if at_limit and not time_outs:
            self.found.hint(
                f"{at_limit} episodes ended at max_episode_length, and extras has no true 'time_outs': PPO takes "
                "them for failures, and an episode filter or an evaluation cannot tell the two apart"
            )
        if total == 0 and steps <= longest:
            self.found.hint(f"no episode ended in {steps} steps, so nothing is known of resets; give more steps")

    def replay(self) -> None:
        """Check that a saved state holds everything that the next steps read."""
        env: Any = self.env
        state = None
        if hasattr(env, "state_dict") and hasattr(env, "load_state_dict"):
            state = self.found.call("state_dict", "state_dict")
        if state is None:
            self.found.hint("there is no state_dict and load_state_dict: a continued run begins with new episodes")
            return
        actions = [self.actions() for _ in range(min(MOST_REPLAYED, longest_episode(env) + 1))]
        first = self._steps(actions)
        self.found.call("load_state_dict of what state_dict returned", "load_state_dict", state)
        for step, (one, other) in enumerate(zip(first, self._steps(actions), strict=True)):
            for name, values in one.items():
                if name not in other or not torch.equal(values, other[name]):
                    self.found.error(
                        f"{name} differs in step {step} after load_state_dict: state_dict must hold copies of "
                        "everything that a step reads, random generators included"
                    )
                    return

    def _steps(self, actions: Sequence[torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        results = []
        for action in actions:
            obs, rewards, dones, _ = self.found.call("step", "step", action.clone())
            results.append({f"observation group {name!r}": values.clone() for name, values in obs.items()})
            results[-1] |= {"rewards": rewards.clone(), "dones": dones.clone()}
        return results

    def actions(self) -> torch.Tensor:
        """Return random actions (N, A), uniform in [-1, 1]."""
        shape = self.env.num_envs, self.env.num_actions
        return (2.0 * torch.rand(*shape, generator=self._generator) - 1.0).to(self.env.device)
