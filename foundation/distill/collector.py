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
from foundation.distill.rollout_graph import RolloutGraph, Steps, check_recordable
from foundation.distill.run_logger import HookedLogger
from foundation.distill.schedule import STUDENT_PHASE


class Collector:
    """Fills the algorithm's storage with one rollout.

    A policy that does not drive is asked once for the whole rollout when that is over, instead of in every step,
    and ended episodes are looked for then. What is stored is what rsl_rl's loop stores, up to rounding.
    """

    def __init__(
        self,
        env: VecEnv,
        alg: DaggerDistillation,
        logger: HookedLogger,
        device: str,
        check_for_nan: bool,
        cuda_graph: bool = False,
    ) -> None:
        """Keep what takes part in a rollout.

        Args:
            env: The environment.
            alg: The algorithm, whose storage is filled.
            logger: Told of rewards, ended episodes and the environment's metrics.
            device: Device of the algorithm.
            check_for_nan: Whether NaN and infinity from the environment are looked for in every step, where the
                algorithm does not look for them in the whole rollout.
            cuda_graph: Whether steps are recorded as a CUDA graph.

        Raises:
            ValueError: If they cannot be recorded.
        """
        self._env, self._alg, self._logger = env, alg, logger
        self._device = device
        self._check_steps = check_for_nan and alg.aggregation is None
        self._cuda_graph = cuda_graph
        self._recorded: _Rollout | None = None
        if cuda_graph:
            check_recordable(env, alg)

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
        alg = self._alg
        alg.begin_rollout()
        phase = alg.driver.drives_alone(alg.iteration)
        assert phase is not None
        obs = self._rollout_of(phase).run(obs)
        alg.end_rollout(phase, alg.storage.dones[-1, :, 0])
        self._logger.keep_rollout(alg.storage.rewards[..., 0], alg.storage.dones[..., 0])
        extras: dict[str, Any] = {"log": {}}
        alg.log_metrics(extras)
        self._logger.keep_metrics(extras)
        return obs

    def _rollout_of(self, phase: int) -> _Rollout:
        """Return the rollout that the policy of this phase drives alone, with both policies as they are now."""
        if self._recorded is not None and self._recorded.phase == phase:
            self._recorded.take_over_weights()
            return self._recorded
        rollout = _Rollout(self, phase)
        if self._cuda_graph:
            self._recorded = rollout
        return rollout

    def _check_step(self, obs: TensorDict, rewards: torch.Tensor) -> None:
        fields = {f"observations/{name}": values for name, values in tensors_of(obs).items()} | {
            "rewards": rewards
        }
        if not all_finite(fields):
            raise step_error(fields, self._alg.storage.step)


class _Rollout:
    """A rollout that one policy drives alone."""

    def __init__(self, collector: Collector, phase: int) -> None:
        alg = collector._alg
        self.phase = phase
        self._env, self._alg, self._logger = collector._env, alg, collector._logger
        self._device = collector._device
        self._student_drives = phase == STUDENT_PHASE
        self._teacher = FrozenMlp(alg._raw_teacher)  # pyright: ignore
        self._student = freeze(alg._raw_student)
        self._asks_student = self._student_drives or self._student is None or alg._raw_student.is_recurrent
        recorded = collector._cuda_graph
        self._steps: Steps = RolloutGraph(self._run_steps, alg.storage) if recorded else self._run_steps

    def take_over_weights(self) -> None:
        """Let both policies be as they are now, where they were before."""
        self._teacher.take_over(self._alg._raw_teacher)  # pyright: ignore
        assert self._student is not None
        self._student.take_over(self._alg._raw_student)

    def run(self, obs: TensorDict) -> TensorDict:
        """Fill the storage from observations (N, ...), and return the last ones."""
        storage = self._alg.storage
        try:
            obs, told = self._steps(obs)
        except BaseException:
            # The environment has gone on, and what is saved now has to fit it.
            step = storage.step
            self._logger.process_rollout(storage.rewards[:step, :, 0], storage.dones[:step, :, 0])
            raise
        for extras in told:
            self._logger.keep_metrics(extras)
        if self._student_drives:
            self._teacher.over(storage.observations, storage.privileged_actions)
        elif not self._asks_student:
            assert self._student is not None
            self._student.over(storage.observations, storage.actions)
            storage.actions.copy_(self._student.with_noise(storage.actions))
        distribution = self._alg._raw_student.distribution
        if self._student is not None and distribution is not None:
            # The runner logs the spread of the model's newest actions.
            distribution.update(storage.actions[-1])
        return obs

    def _run_steps(self, obs: TensorDict) -> tuple[TensorDict, list[dict[str, Any]]]:
        alg, env, storage = self._alg, self._env, self._alg.storage
        assert alg.aggregation is not None
        told = []
        for step in range(storage.num_transitions_per_env):
            for name, values in storage.observations.items():
                values[step].copy_(obs[name])
            if self._asks_student:
                alg.aggregation.layout.before_step(step)
                storage.actions[step].copy_(self._student_actions(obs))
            if self._student_drives:
                actions = storage.actions[step]
            else:
                actions = storage.privileged_actions[step].copy_(self._teacher(obs))
            obs, rewards, dones, extras = env.step(actions.to(env.device))
            obs = obs.to(self._device)
            storage.rewards[step].copy_(rewards.view(-1, 1))
            storage.dones[step].copy_(dones.view(-1, 1))
            storage.step += 1
            if self._asks_student:
                (self._student or alg.student).reset(dones.to(self._device).view(-1))
            told.append(extras)
        return obs, told

    def _student_actions(self, obs: TensorDict) -> torch.Tensor:
        if self._student is not None:
            return self._student.sample(obs)
        return self._alg.student(obs, stochastic_output=True)
