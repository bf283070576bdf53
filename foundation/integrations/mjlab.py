"""Distillation as a task of mjlab: registered in one call, trained and played by mjlab's own scripts."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from rsl_rl.env import VecEnv

from foundation.distill import DaggerOptions, DaggerRunner, RslRlModelCfg
from foundation.distill.algorithm.learning_rate import DAGGER_DEFAULTS
from foundation.distill.env_state import counter_in, set_training_state
from foundation.extras import needs_host
from foundation.integrations.registration import NOISE, RNN, nearest, separated

with needs_host("mjlab", "foundation.integrations.mjlab"):
    import mjlab.tasks  # noqa: F401 - registers mjlab's own tasks, which are teachers
    from mjlab.managers.observation_manager import ObservationGroupCfg
    from mjlab.rl import MjlabOnPolicyRunner, RslRlBaseRunnerCfg
    from mjlab.tasks.registry import list_tasks, load_env_cfg, load_rl_cfg, load_runner_cls, register_mjlab_task

STUDENT_GROUP = "student"
"""The observation group that ``hidden_terms`` makes."""


@dataclass
class DaggerCfg(DaggerOptions):
    """:class:`foundation.distill.DaggerDistillation` with the defaults of the class."""

    class_name: str = "foundation.distill:DaggerDistillation"
    """Algorithm class."""
    learning_rate: float = DAGGER_DEFAULTS["learning_rate"]
    """Step size of the optimiser."""
    learning_rate_schedule: str = DAGGER_DEFAULTS["learning_rate_schedule"]
    """``constant``, ``linear``, ``cosine``, ``inverse_sqrt`` or ``module:Class``."""
    optimizer: str = "adam"
    """``adam``, ``adamw``, ``sgd`` or ``rmsprop``."""
    rnd_cfg: dict[str, float] | None = None
    """Must stay None; rsl_rl 5.4 needs the key."""


@dataclass
class DistillationCfg(RslRlBaseRunnerCfg):
    """A distillation run of mjlab; every option is a flag of its training script, ``--agent.algorithm.…``."""

    class_name: str = "DistillationRunner"
    """The runner class that rsl_rl has for it."""
    obs_groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Observation groups of the student and the teacher."""
    student: RslRlModelCfg = field(default_factory=RslRlModelCfg)
    """The policy to train."""
    teacher: RslRlModelCfg = field(default_factory=RslRlModelCfg)
    """The policy to imitate; must match the teacher's checkpoint."""
    algorithm: DaggerCfg = field(default_factory=DaggerCfg)
    """Distillation."""
    keep_last: int = 3
    """Newest checkpoints from which the run can continue exactly."""
    keep_every: int = 1
    """Older checkpoints keep their weights if this divides the iteration; 1 keeps all."""
    check_for_nan: bool = True
    """Whether to check the environment's and the teacher's outputs for NaN and infinity."""


def register_distillation(
    task_id: str,
    *,
    teacher_task: str,
    student: str | RslRlModelCfg = "mlp",
    hidden_terms: Sequence[str] = (),
    student_groups: Sequence[str] | None = None,
    **options: Any,
) -> None:
    """Register a task that distils the policy of another one.

    Environment, network and observation groups of the teacher are those of its task, whose PPO run has made the
    checkpoint that ``teacher_checkpoint`` names. The student reads the same groups unless you say otherwise.

    Args:
        task_id: Name of the new task.
        teacher_task: Task that the teacher was trained on.
        student: ``mlp``, ``gru`` or ``lstm`` with the teacher's hidden layers, or a network's configuration.
        hidden_terms: Observation terms that the teacher reads and the student does not.
        student_groups: Observation groups of the environment that the student reads.
        **options: Settings of :class:`DistillationCfg` and of :class:`DaggerCfg`, by name, such as
            ``max_iterations=200`` and ``teacher_checkpoint="model_499.pt"``.

    Raises:
        ValueError: If a name is unknown, or the student's observations are described twice.
    """
    if teacher_task not in list_tasks():
        raise ValueError(f"teacher_task is no task of mjlab, {nearest(teacher_task, list_tasks())}")
    host = load_rl_cfg(teacher_task)
    if not hasattr(host, "actor"):
        raise ValueError(f"teacher_task={teacher_task} trains no actor; name the task that trained the teacher")
    teacher_groups = tuple(host.obs_groups["actor"])
    env_cfg, play_env_cfg = load_env_cfg(teacher_task), load_env_cfg(teacher_task, play=True)
    groups = teacher_groups if student_groups is None else tuple(student_groups)
    for group in groups:
        if group not in env_cfg.observations:
            raise ValueError(
                f"student_groups has no group of {teacher_task}, {nearest(group, env_cfg.observations)}"
            )
    if hidden_terms:
        if student_groups is not None:
            raise ValueError("give hidden_terms or student_groups: each of them says what the student reads")
        if STUDENT_GROUP in env_cfg.observations:
            raise ValueError(
                f"{teacher_task} already has an observation group {STUDENT_GROUP!r}, which hidden_terms would "
                f"replace; give student_groups={(STUDENT_GROUP,)}"
            )
        for cfg in (env_cfg, play_env_cfg):
            cfg.observations[STUDENT_GROUP] = _without(cfg.observations, teacher_groups, hidden_terms)
        groups = (STUDENT_GROUP,)
    network = model_cfg(host.actor)
    of_runner, of_algorithm = separated(options, DistillationCfg, DaggerCfg)
    agent_cfg = DistillationCfg(
        seed=host.seed,
        num_steps_per_env=host.num_steps_per_env,
        save_interval=host.save_interval,
        experiment_name=f"{host.experiment_name}_distillation",
        clip_actions=host.clip_actions,
        obs_groups={"student": groups, "teacher": teacher_groups},
        student=_student(student, network),
        teacher=replace(network, distribution_cfg=None),
        algorithm=DaggerCfg(**of_algorithm),
    )
    agent_cfg = replace(agent_cfg, **of_runner)
    runner = distillation_runner(load_runner_cls(teacher_task) or MjlabOnPolicyRunner)
    register_mjlab_task(task_id, env_cfg, play_env_cfg, agent_cfg, runner)


def distillation_runner(base: type[MjlabOnPolicyRunner] = MjlabOnPolicyRunner) -> type[DaggerRunner]:
    """Return our runner with what a runner of mjlab does after each save, such as writing ONNX.

    Args:
        base: mjlab's runner of the task.
    """
    bases = (_HostedRunner,) if issubclass(_HostedRunner, base) else (base, _HostedRunner)

    class DistillationRunner(*bases):
        def save(self, path: str, infos: dict | None = None) -> None:
            with self.undisturbed():
                super().save(path, infos)

    return DistillationRunner


class _HostedRunner(DaggerRunner, MjlabOnPolicyRunner):
    """Behind mjlab's runners of tasks and before their base, whose ``save`` and ``load`` it replaces."""

    def save(self, path: str, infos: dict | None = None) -> None:
        """Write a checkpoint with the step counter where mjlab's own runner has it."""
        counter = self.env.unwrapped.common_step_counter  # pyright: ignore
        DaggerRunner.save(self, path, {**(infos or {}), "env_state": {"common_step_counter": counter}})

    def load(
        self, path: str, load_cfg: dict | None = None, strict: bool = True, map_location: str | None = None
    ) -> Any:
        """Load a checkpoint, and the step counter also where only the policy is loaded, as mjlab plays it."""
        infos = DaggerRunner.load(self, path, load_cfg, strict, map_location)
        for name, value in counter_in(infos).items():
            set_training_state(self.env, name, value)
        return infos

    def get_inference_policy(self, device: str | None = None) -> Any:
        """Return the student, whose memory is cleared where an episode begins."""
        return EpisodicPolicy(super().get_inference_policy(device), self.env)


class EpisodicPolicy:
    """A policy for hosts that do not tell it when an episode ends, as mjlab's viewers do not."""

    def __init__(self, policy: Any, env: VecEnv) -> None:
        """Take a model of rsl_rl, and the environment that it acts in."""
        self._policy, self._env = policy, env

    def __call__(self, obs: Any) -> torch.Tensor:
        """Return the actions (N, num_actions)."""
        self.reset(self._env.episode_length_buf == 0)
        return self._policy(obs)

    def reset(self, dones: torch.Tensor | None = None) -> None:
        """Clear the memory of environments (N,), of all without a mask."""
        self._policy.reset(dones)


def model_cfg(host: Any) -> RslRlModelCfg:
    """Return the configuration of a network as mjlab has it in our terms, without settings of other classes."""
    settings = {one.name: getattr(host, one.name) for one in fields(RslRlModelCfg) if hasattr(host, one.name)}
    if settings.get("rnn_type") is None:
        settings = {name: value for name, value in settings.items() if not name.startswith("rnn_")}
    return RslRlModelCfg(**settings | {"hidden_dims": list(host.hidden_dims)})


def _student(student: str | RslRlModelCfg, teacher: RslRlModelCfg) -> RslRlModelCfg:
    if isinstance(student, RslRlModelCfg):
        return student
    if not isinstance(student, str):
        return model_cfg(student)
    plain = RslRlModelCfg(
        hidden_dims=teacher.hidden_dims, activation=teacher.activation, distribution_cfg=dict(NOISE)
    )
    if student == "mlp":
        return plain
    if student not in ("gru", "lstm"):
        raise ValueError(f"student must be mlp, gru, lstm or a configuration, got {student!r}")
    return replace(plain, class_name="RNNModel", rnn_type=student, **RNN)


def _without(
    observations: dict[str, ObservationGroupCfg], groups: tuple[str, ...], hidden: Sequence[str]
) -> ObservationGroupCfg:
    """Return the teacher's group without the hidden terms."""
    if len(groups) > 1:
        raise ValueError(
            f"hidden_terms are those of one group, and the teacher reads {', '.join(groups)}; add the student's "
            "groups to the environment and name them by student_groups"
        )
    group = observations[groups[0]]
    for term in hidden:
        if term not in group.terms:
            raise ValueError(f"hidden_terms has no term of {groups[0]}, {nearest(term, group.terms)}")
    terms = {name: copy.deepcopy(term) for name, term in group.terms.items() if name not in hidden}
    if not terms:
        raise ValueError(f"hidden_terms leave the student nothing to read: {', '.join(hidden)}")
    return replace(group, terms=terms)
