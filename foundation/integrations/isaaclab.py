"""Distillation as a task of Isaac Lab: registered in one call, trained and played by Isaac Lab's own commands."""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import MISSING, field, fields
from typing import Any

from foundation.distill import DaggerOptions, RslRlModelCfg
from foundation.distill import RslRlDistillationRunnerCfg as OurRunnerCfg
from foundation.distill.algorithm.learning_rate import DAGGER_DEFAULTS
from foundation.extras import needs_host
from foundation.integrations.registration import NOISE, RNN, nearest, separated

with needs_host("isaaclab", "foundation.integrations.isaaclab", "gymnasium"):
    import gymnasium
    import isaaclab_tasks  # noqa: F401 - registers Isaac Lab's own tasks, which are teachers
    from isaaclab.managers import ObservationTermCfg
    from isaaclab.utils import configclass
    from isaaclab_rl.rsl_rl import (
        RslRlBaseRunnerCfg,
        RslRlDistillationAlgorithmCfg,
        RslRlDistillationRunnerCfg,
        RslRlMLPModelCfg,
        RslRlRNNModelCfg,
        handle_deprecated_rsl_rl_cfg,
    )
    from isaaclab_tasks.utils import PresetCfg, load_cfg_from_registry, preset, resolve_presets

STUDENT_GROUP = "student"
"""The observation group that ``hidden_terms`` makes."""
AGENT = "rsl_rl_cfg_entry_point"
"""Keyword under which a task has its configuration for rsl_rl, and default of ``--agent``."""
ENVIRONMENT = "env_cfg_entry_point"
"""Keyword under which a task has its environment's configuration."""
_NOT_OF_THE_TEACHER = {
    "obs_groups",
    "empirical_normalization",
    "run_name",
    "resume",
    "load_run",
    "load_checkpoint",
}
"""Settings of the teacher's run that a distillation does not take over."""


class _KnownOptions:
    """Refuses the attributes that a configuration does not have; Isaac Lab's command line sets any."""

    def __setattr__(self, name: str, value: Any) -> None:
        known = self.__dataclass_fields__  # pyright: ignore
        if name not in known and name in OurRunnerCfg.__dataclass_fields__:
            raise ValueError(
                f"{name} needs foundation.distill:DaggerRunner, and Isaac Lab takes rsl_rl's own alone"
            )
        if name not in known:
            raise ValueError(f"{type(self).__name__} has no option {nearest(name, known)}")
        super().__setattr__(name, value)


@configclass
class DaggerCfg(_KnownOptions, DaggerOptions, RslRlDistillationAlgorithmCfg):
    """:class:`foundation.distill.DaggerDistillation` with the defaults of the class."""

    class_name: str = "foundation.distill:DaggerDistillation"
    """Algorithm class."""
    learning_rate: float = DAGGER_DEFAULTS["learning_rate"]
    """Step size of the optimiser."""
    learning_rate_schedule: str = DAGGER_DEFAULTS["learning_rate_schedule"]
    """``constant``, ``linear``, ``cosine``, ``inverse_sqrt`` or ``module:Class``."""
    # configclass assigns to what a class inherits, but not to a property of its own.
    num_epochs = DaggerOptions.num_epochs


@configclass
class DistillationCfg(_KnownOptions, RslRlDistillationRunnerCfg):
    """A distillation run of Isaac Lab; every option is a setting of its command line, ``agent.algorithm.…``."""

    num_steps_per_env: int = OurRunnerCfg.num_steps_per_env
    """Steps per environment and iteration."""
    max_iterations: int = OurRunnerCfg.max_iterations
    """Iterations of a run; a continued run adds as many again."""
    save_interval: int = OurRunnerCfg.save_interval
    """Iterations between checkpoints."""
    experiment_name: str = OurRunnerCfg.experiment_name
    """Folder of the experiment's runs under ``logs/rsl_rl``."""
    algorithm: DaggerCfg = field(default_factory=DaggerCfg)
    """Distillation."""


def register_distillation(
    task_id: str,
    *,
    teacher_task: str,
    student: str | RslRlMLPModelCfg | RslRlModelCfg = "mlp",
    hidden_terms: Sequence[str] = (),
    student_groups: Sequence[str] | None = None,
    teacher_agent: str = AGENT,
    **options: Any,
) -> None:
    """Register a task that distils the policy of another one.

    Environment, network and observation groups of the teacher are those of its task, whose PPO run has made the
    checkpoint that ``teacher_checkpoint`` names. The student reads the same groups unless you say otherwise.
    As with Isaac Lab's own tasks, configurations are built where the task is used, not here.

    Args:
        task_id: Name of the new task.
        teacher_task: Task that the teacher was trained on.
        student: ``mlp``, ``gru`` or ``lstm`` with the teacher's hidden layers, or a network's configuration, Isaac
            Lab's or ours.
        hidden_terms: Observation terms that the teacher reads and the student does not, of a manager-based task.
        student_groups: Observation groups of the environment that the student reads.
        teacher_agent: The ``--agent`` that the teacher was trained with.
        **options: Settings of :class:`DistillationCfg` and of :class:`DaggerCfg`, by name, such as
            ``max_iterations=200`` and ``teacher_checkpoint="model_499.pt"``.

    Raises:
        ValueError: If a name is unknown, a value cannot work, or the student's observations are described twice.
    """
    _check_names(task_id, teacher_task, teacher_agent)
    if isinstance(student, str) and student not in ("mlp", "gru", "lstm"):
        raise ValueError(f"student must be mlp, gru, lstm or a configuration, got {student!r}")
    if hidden_terms and student_groups is not None:
        raise ValueError("give hidden_terms or student_groups: each of them says what the student reads")
    of_runner, of_algorithm = separated(options, DistillationCfg, DaggerCfg)
    settings = {**of_runner, "algorithm": DaggerCfg(**of_algorithm)}

    def env_cfg() -> Any:
        cfg = load_cfg_from_registry(teacher_task, ENVIRONMENT)
        if student_groups is not None:
            _check_groups(cfg, student_groups)
        if hidden_terms:
            _add_student_group(cfg, _teacher_groups(resolve_presets(teacher_run()), cfg), hidden_terms)
        return cfg

    def teacher_run() -> Any:
        return load_cfg_from_registry(teacher_task, teacher_agent)

    def agent_cfg() -> Any:
        env = load_cfg_from_registry(teacher_task, ENVIRONMENT)
        groups = [STUDENT_GROUP] if hidden_terms else student_groups
        return _per_choice(teacher_run(), lambda run: _distillation(run, env, student, groups, settings))

    gymnasium.register(
        id=task_id,
        entry_point=gymnasium.spec(teacher_task).entry_point,
        disable_env_checker=True,
        kwargs={ENVIRONMENT: env_cfg, AGENT: agent_cfg, "default_agent": "rsl_rl"},
    )


def _check_names(task_id: str, teacher_task: str, teacher_agent: str) -> None:
    tasks = {name for name, spec in gymnasium.registry.items() if ENVIRONMENT in spec.kwargs}
    if teacher_task not in tasks:
        raise ValueError(f"teacher_task is no task of Isaac Lab, {nearest(teacher_task, tasks)}")
    if task_id in gymnasium.registry:
        raise ValueError(f"there is already a task {task_id!r}; choose another name")
    agents = gymnasium.spec(teacher_task).kwargs.keys() - {ENVIRONMENT}
    if teacher_agent not in agents:
        raise ValueError(f"teacher_agent is no configuration of {teacher_task}, {nearest(teacher_agent, agents)}")


def _distillation(
    run: Any,
    env_cfg: Any,
    student: str | RslRlMLPModelCfg | RslRlModelCfg,
    student_groups: Sequence[str] | None,
    settings: dict[str, Any],
) -> DistillationCfg:
    """Return the configuration of a run that distils what another run has trained."""
    run = handle_deprecated_rsl_rl_cfg(run, importlib.metadata.version("rsl-rl-lib"))
    if not hasattr(run, "actor"):
        raise ValueError(f"{type(run).__name__} trains no actor; name the task and agent that trained the teacher")
    taken = {one.name for one in fields(RslRlBaseRunnerCfg)} - _NOT_OF_THE_TEACHER
    taken_over = {name: getattr(run, name) for name in taken if getattr(run, name, MISSING) is not MISSING}
    teacher_groups = _teacher_groups(run, env_cfg)
    groups = list(student_groups or teacher_groups)
    own = {
        "experiment_name": f"{run.experiment_name}_distillation",
        # Isaac Lab's LEAPP export looks for the policy's groups under "actor".
        "obs_groups": {"student": groups, "teacher": teacher_groups, "actor": groups},
        "student": _student(student, run.actor),
        "teacher": run.actor,
    }
    return DistillationCfg(**{**taken_over, **own, **settings})


def _student(student: str | RslRlMLPModelCfg | RslRlModelCfg, teacher: RslRlMLPModelCfg) -> Any:
    if not isinstance(student, str):
        return copy.deepcopy(student)
    plain = {
        "hidden_dims": list(teacher.hidden_dims),
        "activation": teacher.activation,
        "obs_normalization": True,
        "distribution_cfg": RslRlMLPModelCfg.GaussianDistributionCfg(**NOISE),
    }
    return RslRlMLPModelCfg(**plain) if student == "mlp" else RslRlRNNModelCfg(rnn_type=student, **plain, **RNN)


def _teacher_groups(run: Any, env_cfg: Any) -> list[str]:
    """Return the observation groups of a run's actor; rsl_rl chooses where the configuration does not say."""
    named = run.obs_groups if isinstance(run.obs_groups, Mapping) else {}
    by_default = "actor" if any("actor" in groups for groups in _observations(env_cfg)) else "policy"
    return list(named.get("actor", [by_default]))


def _check_groups(env_cfg: Any, names: Sequence[str]) -> None:
    """Refuse groups that a manager-based environment lacks; of others, rsl_rl checks what they return."""
    known = {name for groups in _observations(env_cfg) for name in groups}
    for name in names:
        if known and name not in known:
            raise ValueError(f"student_groups has no group of the environment, {nearest(name, known)}")


def _add_student_group(env_cfg: Any, teacher_groups: Sequence[str], hidden: Sequence[str]) -> None:
    """Give an environment a copy of the teacher's observation group without the hidden terms."""
    if len(teacher_groups) > 1:
        raise ValueError(
            f"hidden_terms are those of one group, and the teacher reads {', '.join(teacher_groups)}; add the "
            "student's groups to the environment and name them by student_groups"
        )
    (name,) = teacher_groups
    for groups in _observations(env_cfg):
        if STUDENT_GROUP in groups:
            raise ValueError(
                f"the environment already has an observation group {STUDENT_GROUP!r}, which hidden_terms would "
                f"replace; give student_groups={(STUDENT_GROUP,)}"
            )
        groups[STUDENT_GROUP] = group = copy.deepcopy(groups[name])
        for choice in _choices(group):
            _hide(choice, name, hidden)
    if not _observations(env_cfg):
        raise ValueError(
            f"hidden_terms={tuple(hidden)} need a manager-based task; name groups that the environment returns by "
            "student_groups"
        )


def _hide(group: Any, name: str, hidden: Sequence[str]) -> None:
    terms = {key for key, term in vars(group).items() if isinstance(term, (ObservationTermCfg, PresetCfg))}
    for term in hidden:
        if term not in terms:
            raise ValueError(f"hidden_terms has no term of {name}, {nearest(term, terms)}")
        setattr(group, term, None)
    if terms <= set(hidden):
        raise ValueError(f"hidden_terms leave the student nothing to read: {', '.join(hidden)}")


def _observations(env_cfg: Any) -> list[MutableMapping[str, Any]]:
    """Return an environment's observation groups by name, of every choice; none if its task is a direct one."""
    found = [getattr(env, "observations", None) for env in _choices(env_cfg)]
    return [vars(groups) for one in found if one is not None for groups in _choices(one)]


def _choices(cfg: Any) -> list[Any]:
    """Return a configuration, or those among which a preset chooses."""
    if not isinstance(cfg, PresetCfg):
        return [cfg]
    return [choice for one in fields(cfg) for choice in _choices(getattr(cfg, one.name))]


def _per_choice(cfg: Any, change: Callable[[Any], Any]) -> Any:
    """Return a changed configuration; of a preset, one with all its choices changed."""
    if not isinstance(cfg, PresetCfg):
        return change(cfg)
    return preset(**{one.name: _per_choice(getattr(cfg, one.name), change) for one in fields(cfg)})
