"""The runner of teachers (PPO), and of students that are fine-tuned with PPO."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from rsl_rl.env import VecEnv
from rsl_rl.modules import GaussianDistribution, HeteroscedasticGaussianDistribution
from tensordict import TensorDict

from foundation.distill.algorithm.nan_report import loss_error, step_error
from foundation.distill.checkpoint import (
    STUDENT,
    CheckpointError,
    check_models,
    checkpoint_kind,
    convert_checkpoint,
    load_checkpoint,
)
from foundation.distill.checkpoint.manifest import Shard
from foundation.distill.checkpoint.run_state import PpoRunState
from foundation.distill.checkpoint.weights import load_weights, require_optimizer
from foundation.distill.history.row_format import Parts
from foundation.distill.observations import convert_storage, converted, prepare_inputs
from foundation.distill.runner_keys import check_runner_cfg
from foundation.distill.runners.base import BaseRunner
from foundation.distill.runners.report import IterationReport
from foundation.distill.tensors import gradient_norm, moved


class PpoRunner(BaseRunner):
    """rsl_rl's ``OnPolicyRunner`` for teachers, and for distilled students to be fine-tuned.

    The configuration may hold, besides rsl_rl's, ``anneal_from``, ``init_from``, ``init_noise_std`` and
    ``critic_warmup_iterations`` of :class:`~foundation.distill.RslRlOnPolicyRunnerCfg`.
    """

    def __init__(self, env: VecEnv, train_cfg: dict, log_dir: str | None = None, device: str = "cpu") -> None:
        """Construct as rsl_rl does, then let the actor start from the student of ``init_from``.

        Raises:
            CheckpointError: If that checkpoint cannot be used.
            ValueError: If a key of the configuration is misspelt, the actor's distribution cannot have
                ``init_noise_std``, or an observation group that is read cannot become float32.
        """
        check_runner_cfg(train_cfg, ("actor", "critic"))
        super().__init__(env, train_cfg, log_dir, device)
        self._read = {group for groups in self.cfg["obs_groups"].values() for group in groups}
        convert_storage(self.alg.storage, self._read, "PPO")
        for model in (self.alg.actor, self.alg.critic):
            prepare_inputs(model, env.get_observations())
        self._checks_steps = self.cfg.get("check_for_nan", True)
        # rsl_rl would check groups that nobody reads, too.
        self.cfg: dict = {**self.cfg, "check_for_nan": False}
        self._convert_and_keep()
        self.alg.optimizer.register_step_pre_hook(self._refuse_non_finite_gradients)
        if self.cfg.get("init_from") is not None:
            self._load_student(self.cfg["init_from"])
            if self.cfg.get("init_noise_std") is not None:
                self._set_noise(self.cfg["init_noise_std"])

    def learn(self, num_learning_iterations: int, init_at_random_ep_len: bool = False) -> None:
        """Run the learning loop; the first ``critic_warmup_iterations`` leave the actor as it is."""
        # A finished run has left the learning rate of its end.
        self._anneal(self.current_learning_iteration, self.current_learning_iteration + num_learning_iterations)
        with contextlib.ExitStack() as self._warmup:
            if self.current_learning_iteration < self._warmup_iterations:
                self._warmup.enter_context(self._frozen_actor())
            super().learn(num_learning_iterations, init_at_random_ep_len)

    def _convert_and_keep(self) -> None:
        """Let PPO read copies in the types of its storage: the environment may overwrite its tensors in a step."""
        alg, stored = self.alg, self.alg.storage.observations[0]
        act, process, compute_returns = alg.act, alg.process_env_step, alg.compute_returns

        def process_env_step(obs: TensorDict, rewards: torch.Tensor, dones: torch.Tensor, extras: dict) -> None:
            obs, rewards, dones = converted(obs, stored), rewards.float().reshape(-1), dones.reshape(-1)
            if self._checks_steps:
                fields = {f"observations/{name}": obs[name] for name in sorted(self._read)} | {"rewards": rewards}
                if any(bool(values.isnan().any()) for values in fields.values()):
                    raise step_error(fields, alg.storage.step)
            process(obs, rewards, dones, extras)

        # The environment may overwrite the actions, too.
        alg.act = lambda obs: act(converted(obs, stored)).clone()
        alg.process_env_step = process_env_step
        alg.compute_returns = lambda obs: compute_returns(converted(obs, stored))
        self.logger.copies_metrics = True

    def _check_models(self, state: dict[str, Any], path: str, load_cfg: dict | None, strict: bool) -> None:
        require_optimizer(state, load_cfg, ("actor", "critic"), f"checkpoint {path}")
        models = {"actor": self.alg.actor, "critic": self.alg.critic}
        check_models(models, state, load_cfg, strict, f"checkpoint {path}: its")

    def _refuse_non_finite_gradients(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        if not math.isfinite(gradient_norm(parameters).item()):
            weights = {"actor_state_dict": self.alg.actor.state_dict(), "optimizer": optimizer.state_dict()}
            raise loss_error(self.last_completed_iteration + 1, None, weights)

    @property
    def _warmup_iterations(self) -> int:
        return self.cfg.get("critic_warmup_iterations", 0)

    def _load_student(self, path: str) -> None:
        state = convert_checkpoint(load_checkpoint(path, self.device), f"init_from {path}")
        if checkpoint_kind(state, path) != STUDENT:
            raise CheckpointError(f"init_from {path} holds a teacher, expected a student; load it to continue it")
        actor, weights = self.alg.get_policy(), state["student_state_dict"]
        here, there = self._num_inputs(actor.state_dict()), self._num_inputs(weights)
        if here[0] == there[0] and here[1] != there[1]:
            raise CheckpointError(
                f"init_from {path} holds a student of {there[1]} inputs, but the environment's observation groups "
                f"{', '.join(actor.obs_groups)} have {here[1]}; configure environment and groups as in its run"
            )
        load_weights(actor, weights, f"init_from {path}")

    @staticmethod
    def _num_inputs(weights: dict[str, torch.Tensor]) -> tuple[str, int]:
        """Return the name of a model's first layer, and its number of inputs."""
        for first in ("encoder.0.weight", "rnn.rnn.weight_ih_l0", "mlp.0.weight"):
            if first in weights:
                return first, weights[first].shape[1]
        return "", 0

    def _set_noise(self, std: float) -> None:
        distribution = self.alg.get_policy().distribution
        if not isinstance(distribution, GaussianDistribution) or isinstance(
            distribution, HeteroscedasticGaussianDistribution
        ):
            raise ValueError(
                f"init_noise_std={std} needs an actor with a GaussianDistribution, whose noise does not depend on "
                f"the observation; this one has a {type(distribution).__name__}"
            )
        low, high = distribution.std_range
        if not low <= std <= high:
            raise ValueError(f"init_noise_std must lie in the distribution's std_range [{low}, {high}], got {std}")
        with torch.no_grad():
            if distribution.std_type == "log":
                distribution.log_std_param.fill_(math.log(std))
            else:
                distribution.std_param.fill_(std)

    @contextlib.contextmanager
    def _frozen_actor(self) -> Iterator[None]:
        """Freeze the actor's weights, noise and normaliser, and the learning rate."""
        actor = self.alg.get_policy()
        trained = [parameter for parameter in actor.parameters() if parameter.requires_grad]
        normalizes, schedule = actor.obs_normalization, self.alg.schedule
        for parameter in trained:
            parameter.requires_grad_(False)
        # Switches off learning of the normaliser; the actor still normalises.
        actor.obs_normalization = False
        # The adaptive schedule would raise the learning rate of a policy that does not change.
        self.alg.schedule = "fixed"
        try:
            yield
        finally:
            for parameter in trained:
                parameter.requires_grad_(True)
            actor.obs_normalization, self.alg.schedule = normalizes, schedule

    def _report(self, it: int, total_it: int) -> IterationReport:
        return IterationReport(it, total_it, warmup_iterations=self._warmup_iterations)

    def run_state(self) -> PpoRunState:
        """Return everything besides the weights that the next iteration reads."""
        hidden = [moved(model.get_hidden_state(), "cpu") for model in (self.alg.actor, self.alg.critic)]
        return PpoRunState(**self._common_state(), hidden=hidden, learning_rate=self.alg.learning_rate)

    def _load_dealt_state(self, shards: list[tuple[dict[str, Any], Shard]], run_dir: Path) -> None:
        self._load_own_state(shards[0][0], False, ())

    def _load_own_state(self, state: dict[str, Any], env_restored: bool, parts: Parts) -> None:
        # rsl_rl 5.4 does not restore the learning rate of the adaptive schedule.
        self.alg.learning_rate = state["learning_rate"]
        if env_restored:
            for model, hidden in zip((self.alg.actor, self.alg.critic), state["hidden"], strict=True):
                model.reset(hidden_state=moved(hidden, self.device))

    def _after_iteration(self, it: int) -> None:
        super()._after_iteration(it)
        if it + 1 >= self._warmup_iterations:
            self._warmup.close()
        self._anneal(it + 1, self.first_iteration + self._num_iterations)

    def _anneal(self, completed: int, total: int) -> None:
        anneal_from = self.cfg.get("anneal_from", 1.0)
        if anneal_from >= 1.0:
            return
        share = min(1.0, (1.0 - completed / total) / (1.0 - anneal_from))
        self.alg.learning_rate = self.cfg["algorithm"]["learning_rate"] * share
        for group in self.alg.optimizer.param_groups:
            group["lr"] = self.alg.learning_rate
