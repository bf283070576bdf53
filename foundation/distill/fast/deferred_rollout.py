"""Collect a rollout in a shorter loop when one policy acts throughout.

The policy that acts runs as an inference copy. The other one's actions are computed afterwards for the whole
rollout at once, and ended episodes are counted then. The storage holds what the plain loop stores, up to rounding,
except that the student's noise is drawn in another order while the teacher acts.
"""

from __future__ import annotations

from typing import Any

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.distill.algorithm.distillation import DaggerDistillation
from foundation.distill.fast.cuda_graph import RolloutGraph, Steps
from foundation.distill.fast.inference import InferenceMlp, inference_copy
from foundation.distill.metrics import copy_metrics
from foundation.distill.phases import STUDENT_PHASE
from foundation.distill.rollout.collector import Collector, RolloutLogger


class DeferredCollector(Collector):
    """Collects in the shorter loop if it can, and step by step otherwise."""

    def __init__(
        self,
        env: VecEnv,
        alg: DaggerDistillation,
        logger: RolloutLogger,
        device: str,
        check_for_nan: bool,
        cuda_graph: bool = False,
    ) -> None:
        """Set up the loop; see :class:`Collector`."""
        super().__init__(env, alg, logger, device, check_for_nan, cuda_graph)
        self.cuda_graph = cuda_graph
        self._recorded: _Rollout | None = None

    @classmethod
    def check_recordable(cls, env: VecEnv, alg: DaggerDistillation, cuda_graph: bool) -> None:
        """Check that rollouts can be recorded as a CUDA graph, if that is wanted."""
        if cuda_graph:
            _check_recordable(env, alg)

    def run_steps(self, obs: TensorDict) -> TensorDict:
        """Run all steps of a rollout from observations (N, ...), and return the last ones."""
        return self._run_deferred(obs) if self.can_defer() else super().run_steps(obs)

    def can_defer(self) -> bool:
        """Return whether one policy acts throughout, and the other one's actions can be computed afterwards."""
        alg = self.alg
        return (
            alg.dataset is not None
            and not alg.needs_every_step
            and alg.mixer.acts_alone(alg.iteration) is not None
            and alg.teacher is alg.teacher_model
            and InferenceMlp.supports(alg.teacher_model)
        )

    def _run_deferred(self, obs: TensorDict) -> TensorDict:
        alg, logger = self.alg, self.logger
        alg.begin_rollout()
        phase = alg.mixer.acts_alone(alg.iteration)
        assert phase is not None
        obs = self._rollout_of(phase).run(obs)
        alg.phases.fill_(phase)
        alg.mixer.set_acting(phase)
        alg.mixer.episodes_ended(alg.storage.dones[-1, :, 0])
        logger.defer_rollout(alg.storage.rewards[..., 0], alg.storage.dones[..., 0])
        extras: dict[str, Any] = {"log": {}}
        alg.log_metrics(extras)
        logger.add_metrics(extras)
        return obs

    def _rollout_of(self, phase: int) -> _Rollout:
        """Return the rollout in which the policy of this phase acts, with copies of both policies' weights."""
        if self._recorded is not None and self._recorded.phase == phase:
            self._recorded.copy_weights()
            return self._recorded
        rollout = _Rollout(self, phase)
        if self.cuda_graph:
            self._recorded = rollout
        return rollout


class _Rollout:
    """A rollout in which one policy acts throughout."""

    def __init__(self, collector: DeferredCollector, phase: int) -> None:
        alg = collector.alg
        self.phase = phase
        self._env, self._alg, self._logger = collector.env, alg, collector.logger
        self._device = collector.device
        self._student_acts = phase == STUDENT_PHASE
        self._teacher = InferenceMlp(alg.teacher_model)
        self._student = inference_copy(alg.student_model)
        # A recurrent student's hidden state advances with every step, also while the teacher acts.
        self._runs_student = self._student_acts or self._student is None or alg.student_model.is_recurrent
        steps = RolloutGraph(self._run_steps, alg.storage) if collector.cuda_graph else self._run_steps
        self._steps: Steps = steps

    def copy_weights(self) -> None:
        """Copy the current weights into the recorded policies; their addresses must not change."""
        self._teacher.copy_weights(self._alg.teacher_model)
        assert self._student is not None
        self._student.copy_weights(self._alg.student_model)

    def run(self, obs: TensorDict) -> TensorDict:
        """Fill the storage from observations (N, ...), and return the last ones."""
        storage = self._alg.storage
        try:
            obs, extras_of_steps = self._steps(obs)
        except BaseException:
            # The environment has advanced; the statistics that are saved now must match its episodes.
            step = storage.step
            self._logger.process_rollout(storage.rewards[:step, :, 0], storage.dones[:step, :, 0])
            raise
        for extras in extras_of_steps:
            self._logger.add_metrics(extras)
        if self._student_acts:
            labels = storage.privileged_actions
            self._teacher.run_rollout(storage.observations, labels)
            self._alg.label_range.clip_(labels)
        elif not self._runs_student:
            assert self._student is not None
            self._student.run_rollout(storage.observations, storage.actions)
            storage.actions.copy_(self._student.with_noise(storage.actions))
        distribution = self._alg.student_model.distribution
        if self._student is not None and distribution is not None:
            # The runner logs the standard deviation of the model's newest distribution.
            distribution.update(storage.actions[-1])
        return obs

    def _run_steps(self, obs: TensorDict) -> tuple[TensorDict, list[dict[str, Any]]]:
        alg, env = self._alg, self._env
        extras_of_steps = []
        for _ in range(alg.storage.num_transitions_per_env):
            seen = alg.recorder.record_observations(obs)
            actions = self._student_actions(seen) if self._runs_student else None
            if not self._student_acts:
                actions = self._teacher_actions(seen)
            assert actions is not None
            # It may write into the actions, as into everything that it has returned.
            obs, rewards, dones, extras = env.step(actions.to(env.device))
            alg.recorder.finish_step(rewards, dones)
            if self._runs_student:
                (self._student or alg.student).reset(dones.to(self._device).reshape(-1))
            extras_of_steps.append(copy_metrics(extras))
        return obs, extras_of_steps

    def _student_actions(self, obs: TensorDict) -> torch.Tensor:
        """Store a copy of the student's actions, and return them."""
        alg = self._alg
        assert alg.dataset is not None
        alg.dataset.before_step()
        student = self._student
        actions = alg.student(obs, stochastic_output=True) if student is None else student.sample(obs)
        alg.recorder.record_student_actions(actions)
        return actions

    def _teacher_actions(self, obs: TensorDict) -> torch.Tensor:
        """Store a copy of the teacher's actions, and return them."""
        return self._alg.recorder.record_teacher_actions(self._teacher(obs)).clone()


def _check_recordable(env: VecEnv, alg: DaggerDistillation) -> None:
    """Check that rollouts can be recorded as a CUDA graph.

    Raises:
        ValueError: If not; the message says why.
    """
    models = (alg.student_model, alg.teacher_model)
    obstacles = {
        f"the device is {alg.device}": torch.device(alg.device).type == "cpu",
        "use_dagger is off": alg.dataset is None,
        "the student or the teacher is no plain MLPModel (set class_name=MLPModel)": not all(
            map(InferenceMlp.supports, models)
        ),
        "torch_compile_mode is set": alg.teacher is not alg.teacher_model,
        f"teacher_schedule is {alg.schedule.kind}, not two_stage": not alg.schedule.is_two_stage,
        "disagreement_threshold is set": alg.options.disagreement_threshold is not None,
        "loss_type, latent_matching, episode_filter or several teachers need every step": (
            alg.dataset is not None and alg.needs_every_step
        ),
        f"{type(env).__name__}.capturable is missing or false, as where a dashboard watches the steps": (
            not getattr(env, "capturable", False)
        ),
    }
    reasons = [reason for reason, holds in obstacles.items() if holds]
    if reasons:
        raise ValueError(f"cuda_graph=True cannot take effect, set it to False: {'; '.join(reasons)}")
