"""Collecting one rollout: rsl_rl's loop where every step needs everything, a shorter one where it does not."""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.distill.acting import FrozenMlp, freeze
from foundation.distill.dagger import DaggerDistillation
from foundation.distill.finite import all_finite, state_of, step_error
from foundation.distill.observations import tensors_of
from foundation.distill.run_logger import HookedLogger
from foundation.distill.schedule import STUDENT_PHASE


class Collector:
    """Fills the algorithm's storage with one rollout.

    A policy that does not drive is asked once for the whole rollout when that is over, instead of in every step,
    and ended episodes are looked for then. What is stored is what rsl_rl's loop stores, up to rounding.
    """

    def __init__(
        self, env: VecEnv, alg: DaggerDistillation, logger: HookedLogger, device: str, check_for_nan: bool
    ) -> None:
        """Keep what takes part in a rollout.

        Args:
            env: The environment.
            alg: The algorithm, whose storage is filled.
            logger: Told of rewards, ended episodes and the environment's metrics.
            device: Device of the algorithm.
            check_for_nan: Whether NaN and infinity from the environment are looked for in every step, where the
                algorithm does not look for them in the whole rollout.
        """
        self._env, self._alg, self._logger = env, alg, logger
        self._device = device
        self._check_steps = check_for_nan and alg.aggregation is None

    def collect(self, obs: TensorDict) -> TensorDict:
        """Run the environment for one rollout from observations (N, ...), and return the last ones.

        Raises:
            NonFiniteError: If a step returned NaN or infinity.
        """
        with torch.inference_mode():
            self._alg.guard.env_state = state_of(self._env)
            return self._collect_deferred(obs) if self._can_defer() else self._collect_step_by_step(obs)

    def _can_defer(self) -> bool:
        """Return whether one policy drives throughout, and the other can be asked afterwards."""
        alg = self._alg
        return (
            alg.aggregation is not None
            and not alg.aggregation.needs_every_step
            and alg.driver.drives_alone(alg.iteration) is not None
            and alg.teacher is alg._raw_teacher
            and FrozenMlp.supports(alg._raw_teacher)
        )

    def _collect_step_by_step(self, obs: TensorDict) -> TensorDict:
        alg, env, logger = self._alg, self._env, self._logger
        for _ in range(alg.storage.num_transitions_per_env):
            actions = alg.act(obs)
            obs, rewards, dones, extras = env.step(actions.to(env.device))
            if self._check_steps:
                self._check_step(obs, rewards)
            obs, rewards, dones = obs.to(self._device), rewards.to(self._device), dones.to(self._device)
            alg.process_env_step(obs, rewards, dones, extras)
            logger.process_env_step(rewards, dones, extras)
        return obs

    def _collect_deferred(self, obs: TensorDict) -> TensorDict:
        alg, env, storage = self._alg, self._env, self._alg.storage
        alg.begin_rollout()
        phase = alg.driver.drives_alone(alg.iteration)
        assert phase is not None
        assert alg.aggregation is not None
        student_drives = phase == STUDENT_PHASE
        teacher = FrozenMlp(alg._raw_teacher)  # pyright: ignore
        student = freeze(alg._raw_student)
        asked_in_steps = student_drives or student is None or alg._raw_student.is_recurrent
        try:
            for step in range(storage.num_transitions_per_env):
                for name, values in storage.observations.items():
                    values[step].copy_(obs[name])
                if asked_in_steps:
                    alg.aggregation.layout.before_step(step)
                    storage.actions[step].copy_(self._student_actions(student, obs))
                if student_drives:
                    actions = storage.actions[step]
                else:
                    actions = storage.privileged_actions[step].copy_(teacher(obs))
                obs, rewards, dones, extras = env.step(actions.to(env.device))
                obs = obs.to(self._device)
                storage.rewards[step].copy_(rewards.view(-1, 1))
                storage.dones[step].copy_(dones.view(-1, 1))
                storage.step += 1
                if asked_in_steps:
                    (student or alg.student).reset(dones.to(self._device).view(-1))
                self._logger.keep_metrics(extras)
        except BaseException:
            # The environment has gone on, and what is saved now has to fit it.
            self._logger.process_rollout(*self._outcomes(storage.step))
            raise
        if student_drives:
            teacher.over(storage.observations, storage.privileged_actions)
        elif not asked_in_steps:
            assert student is not None
            student.over(storage.observations, storage.actions)
            storage.actions.copy_(student.with_noise(storage.actions))
        self._finish(phase, student)
        return obs

    def _check_step(self, obs: TensorDict, rewards: torch.Tensor) -> None:
        fields = {f"observations/{name}": values for name, values in tensors_of(obs).items()} | {
            "rewards": rewards
        }
        if not all_finite(fields):
            raise step_error(fields, self._alg.storage.step)

    def _student_actions(self, student: FrozenMlp | None, obs: TensorDict) -> torch.Tensor:
        if student is not None:
            return student.sample(obs)
        return self._alg.student(obs, stochastic_output=True)

    def _finish(self, phase: int, student: FrozenMlp | None) -> None:
        alg, storage = self._alg, self._alg.storage
        dones = storage.dones[..., 0]
        distribution = alg._raw_student.distribution
        if student is not None and distribution is not None:
            # The runner logs the spread of the model's newest actions.
            distribution.update(storage.actions[-1])
        alg.end_rollout(phase, dones[-1])
        self._logger.keep_rollout(*self._outcomes(storage.num_transitions_per_env))
        extras: dict[str, Any] = {"log": {}}
        alg.log_metrics(extras)
        self._logger.keep_metrics(extras)

    def _outcomes(self, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rewards and dones (T, N) of the rollout's first steps."""
        storage = self._alg.storage
        return storage.rewards[:steps, :, 0], storage.dones[:steps, :, 0]
