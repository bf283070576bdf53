"""The checkpoints that a training run starts from: a teacher, a run to continue, a student to fine-tune."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.cli.errors import UsageError
from foundation.cli.paths import find_checkpoint
from foundation.tasks.packaged import EXPERT

_CLASS = re.compile(r"[A-Za-z_][\w.]+:[A-Za-z_]\w*")
"""``module:Class``; a drive has one letter."""


@dataclass(frozen=True)
class Start:
    """The checkpoints that a run starts from; at most one is given, and a dataset."""

    teacher: Path | None = None
    """Teacher to distil from; None also where the settings list several, or one that computes its actions."""
    resume: Path | None = None
    """Checkpoint to continue."""
    student: Path | None = None
    """Student to fine-tune with PPO."""
    dataset: Path | None = None
    """Dataset that a new run's history begins with, beside the teacher."""


def require_flags_of_the_task(args: argparse.Namespace, defaults: Any) -> None:
    """Raise if a flag has no effect on the task.

    Args:
        args: The flags of the train command.
        defaults: The task's default configuration of the runner.

    Raises:
        UsageError: If there is such a flag.
    """
    if args.init_from is not None and not hasattr(defaults, "init_from"):
        raise UsageError(f"--init_from has no effect on task {args.task}; it belongs to task point_ctrl")
    if args.init_dataset is not None and not hasattr(defaults.algorithm, "init_dataset"):
        raise UsageError(
            f"--init_dataset has no effect on task {args.task}; it belongs to tasks distillation and foundation"
        )


def choose_start(args: argparse.Namespace, agent_cfg: Any) -> Start:
    """Return the checkpoints that flags and settings name.

    Args:
        args: The flags of the train command.
        agent_cfg: The runner's configuration.

    Raises:
        UsageError: If flags exclude each other, or a checkpoint does not exist or is of the wrong kind.
        CheckpointError: If a checkpoint cannot be read.
    """
    student = _student_to_fine_tune(args, agent_cfg)
    if args.load_run is not None and not args.resume:
        raise UsageError(f"--load_run {args.load_run} has no effect without --resume")
    distils = hasattr(agent_cfg, "teacher")
    teacher = _teacher_flag(args, distils)
    if args.checkpoint is None and not args.resume:
        return Start(
            teacher=_configured_teacher(agent_cfg, teacher, args.teacher) if distils else None,
            student=student,
            dataset=_dataset(agent_cfg),
        )
    found = find_checkpoint(args.checkpoint, args.load_run, agent_cfg.experiment_name)
    if _is_student(found) == distils:
        if args.teacher is not None:
            raise UsageError(
                f"--teacher {args.teacher} has no effect: the run that --checkpoint {found} continues holds its "
                "teacher"
            )
        _require_no_dataset(args, agent_cfg)
        return Start(resume=found)
    if not distils:
        raise UsageError(
            f"--checkpoint {found} holds a student; task {args.task} trains teachers, and fine-tunes a student "
            "given by --init_from"
        )
    if args.resume or args.teacher is not None:
        raise UsageError(f"--checkpoint {found} holds a teacher; drop --resume and --teacher to distil from it")
    return Start(teacher=found, dataset=_dataset(agent_cfg))


def first_of_several_teachers(agent_cfg: Any) -> Path | None:
    """Return the first of several configured teachers, which share one network; None without a list."""
    configured = getattr(agent_cfg.algorithm, "teacher_checkpoint", None)
    # The length of the list is checked with the other options.
    if not isinstance(configured, list) or not configured:
        return None
    if not all(isinstance(path, str) for path in configured):
        raise UsageError(f"agent.algorithm.teacher_checkpoint must name files, got {configured}")
    return Path(configured[0]).expanduser()


def _dataset(agent_cfg: Any) -> Path | None:
    """Return the dataset that the history begins with, after checking that it is one."""
    configured = getattr(agent_cfg.algorithm, "init_dataset", None)
    if configured is None:
        return None
    from foundation.distill.datasets import DatasetError
    from foundation.distill.datasets.files import format_of

    folder = Path(configured).expanduser().resolve()
    try:
        format_of(folder)
    except DatasetError as error:
        raise UsageError(f"--init_dataset {error}") from None
    return folder


def _require_no_dataset(args: argparse.Namespace, agent_cfg: Any) -> None:
    configured = getattr(agent_cfg.algorithm, "init_dataset", None)
    # The saved parameters of the continued run may name the dataset that it began with.
    if configured is not None and (args.init_dataset is not None or args.params is None):
        raise UsageError(
            f"--init_dataset {configured} begins the history of a new run, --checkpoint and --resume continue one "
            "with its own; give one of them"
        )


def _student_to_fine_tune(args: argparse.Namespace, agent_cfg: Any) -> Path | None:
    init_from = getattr(agent_cfg, "init_from", None)
    if init_from is None:
        return None
    if args.checkpoint is not None or args.resume:
        if args.init_from is None and args.params is not None:
            # The saved parameters of the continued run name the student that it came from.
            return None
        raise UsageError(
            f"--init_from {init_from} begins a new run, --checkpoint and --resume continue one; give one of them"
        )
    found = find_checkpoint(init_from, None, None).resolve()
    if not _is_student(found):
        raise UsageError(
            f"--init_from {found} is of a PPO run, expected a student's checkpoint; continue it with --checkpoint"
        )
    return found


def _teacher_flag(args: argparse.Namespace, distils: bool) -> Path | None:
    if args.teacher is None:
        return None
    if not distils:
        raise UsageError(
            f"--teacher has no effect on task {args.task}; it belongs to tasks distillation and foundation"
        )
    if _CLASS.fullmatch(args.teacher) and not Path(args.teacher).exists():
        raise UsageError(
            f"--teacher {args.teacher} is no file; a class that computes its actions is given by "
            f"agent.teacher.class_name={args.teacher}"
        )
    teacher = find_checkpoint(args.teacher, None, None)
    if args.teacher == EXPERT:
        return None
    if _is_student(teacher):
        raise UsageError(f"--teacher {teacher} holds a student, not a teacher")
    return teacher


def _configured_teacher(agent_cfg: Any, teacher: Path | None, flag: str | None) -> Path | None:
    """Return the teacher of a new distillation: the flag's, the settings' or the packaged one.

    None where the settings list several, and where the teacher computes its actions.
    """
    from rsl_rl.utils import resolve_callable

    from foundation.tasks import packaged_teacher

    configured = agent_cfg.algorithm.teacher_checkpoint
    if configured and flag is not None and (isinstance(configured, list) or flag == EXPERT):
        raise UsageError(f"--teacher {flag} and agent.algorithm.teacher_checkpoint={configured}; give one")
    if isinstance(configured, list):
        return None
    if teacher is not None or configured:
        return teacher or Path(configured).expanduser()
    try:
        model = resolve_callable(agent_cfg.teacher.class_name)
    except (ValueError, ImportError, AttributeError) as error:
        raise UsageError(f"agent.teacher.class_name={agent_cfg.teacher.class_name!r}: {error}") from None
    return packaged_teacher() if getattr(model, "needs_checkpoint", True) else None


def _is_student(checkpoint: Path) -> bool:
    from foundation.distill.checkpoint import STUDENT, checkpoint_kind, load_checkpoint
    from foundation.distill.checkpoint.loading import is_policy_file

    # An exported policy can be a teacher, and nothing else.
    if is_policy_file(checkpoint):
        return False
    return checkpoint_kind(load_checkpoint(checkpoint), checkpoint) == STUDENT
