"""Train a teacher (task point_ctrl), distil a student from one (task distillation), or fine-tune the student.

A student is fine-tuned by PPO on task point_ctrl, with --init_from.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import math
import os
import shlex
import signal
import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.rsl_rl import cli

if TYPE_CHECKING:
    from foundation.distill.runners.progress import Display
    from foundation.tasks import TaskSpec

LONGEST_NAME = 100
"""Longest name of a run or an experiment [characters]."""
LONGEST_DEFAULT_WARMUP = 20
"""Largest default of ``critic_warmup_iterations`` when a student is fine-tuned."""

EPILOG = """\
Settings of the environment and the agent follow the flags in Hydra's grammar, for example
  env.robot.spawn.usd_path="/path/to/cf2x.usd" agent.algorithm.phase1_iterations=100
Flags take precedence over settings, settings over --params, --params over defaults.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="train",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    cli.add_common_flags(parser)
    parser.add_argument("--max_iterations", type=int, help="iterations; a continued run adds as many again")
    parser.add_argument("--experiment_name", help="folder of the run under logs/rsl_rl")
    parser.add_argument("--run_name", help="suffix of the run's folder")
    parser.add_argument(
        "--checkpoint",
        help="a teacher's checkpoint or run folder to distil from, or one of the same task to continue",
    )
    parser.add_argument("--teacher", help="a teacher's checkpoint to distil from; without any, the packaged one")
    parser.add_argument(
        "--init_from",
        help="a student's checkpoint or run folder to fine-tune with PPO on task point_ctrl: the actor takes its "
        "network, weights and observations; the first agent.critic_warmup_iterations, by default a tenth of the "
        f"run and at most {LONGEST_DEFAULT_WARMUP}, train the critic only; agent.init_noise_std sets the actor's "
        "noise",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue this experiment's newest run, or the one of --load_run, from its newest intact checkpoint",
    )
    parser.add_argument("--load_run", help="with --resume: name of the run's folder (default: the newest)")
    parser.add_argument("--logger", choices=("tensorboard", "wandb"), help="where metrics go")
    parser.add_argument("--log_project_name", help="project of the W&B logger")
    parser.add_argument(
        "--quiet", action="store_true", help="print only warnings and the result, not the iterations"
    )
    parser.add_argument("--params", help="a run's folder, to repeat it with its saved params/*.yaml")
    parser.add_argument(
        "--dashboard", action="store_true", help="watch the run in a browser: the fleet in flight, and curves"
    )
    cli.add_server_flags(parser, "--dashboard")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input, 1 on NaN or infinity, 130 on Ctrl-C and 143 on SIGTERM.
    """
    # First, so that --help waits for nothing.
    args, overrides = cli.parse(build_parser(), argv)
    from foundation.distill.console import RESULT, logger, quiet

    with quiet() if args.quiet else contextlib.nullcontext():
        with cli.errors_as_one_line():
            where = cli.server_address(args, "--dashboard" if args.dashboard else None)
            runner, run_dir, iterations = _prepare(args, overrides)
        print(f"[Run] {run_dir}", flush=True)
        if runner.cfg["logger"] == "tensorboard":
            print(f"[Run] watch it: tensorboard --logdir {run_dir.parent}", flush=True)
        with contextlib.ExitStack() as stack:
            with cli.errors_as_one_line():
                runner.logger.display = stack.enter_context(_display(runner, where, run_dir))
            _run(args, runner, iterations)
        logger.log(RESULT, f"[Run] {_result(runner)}")
        logger.log(RESULT, f"[Run] finished: {run_dir}")


def _run(args: argparse.Namespace, runner: Any, iterations: int) -> None:
    from foundation.distill.algorithm.nan_report import NonFiniteError

    # A continued environment keeps its episodes; new ones start spread over an episode's length.
    fresh = runner.last_completed_iteration < 0
    try:
        with contextlib.closing(runner.logger.display):
            runner.learn(iterations, init_at_random_ep_len=fresh)
    except KeyboardInterrupt as stop:
        from foundation.distill.console import logger

        logger.warning(f"\n[Run] {_how_to_continue(args, runner, iterations)}")
        raise SystemExit(128 + getattr(stop, "signum", signal.SIGINT)) from None
    except NonFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(cli.RUN_FAILED) from None


def _display(
    runner: Any, where: tuple[str, int] | None, run_dir: Path
) -> contextlib.AbstractContextManager[Display]:
    """Return what shows the iterations, on the terminal and, where one is asked for, on a page."""
    from foundation.distill.runners.progress import Blocks, ProgressLine

    display = ProgressLine() if sys.stdout.isatty() else Blocks()
    if where is None:
        return contextlib.nullcontext(display)
    from foundation.viewer.dashboard import watched

    distils = hasattr(runner.alg, "student")
    trained = "student" if distils or runner.cfg.get("init_from") else "teacher"
    return watched(display, runner.env, where, f"{run_dir.parent.name}/{run_dir.name}", trained)


def _result(runner: Any) -> str:
    rewards, best = runner.logger.rewbuffer, runner.best_mean_reward
    last = f"mean return {statistics.mean(rewards):.2f}" if rewards else "no episode ended"
    return last + (f", best {best:.2f} (best_model.pt)" if math.isfinite(best) else "")


def _how_to_continue(args: argparse.Namespace, runner: Any, iterations: int) -> str:
    if runner.last_checkpoint is None:
        return "interrupted, no checkpoint was saved"
    done = runner.last_saved_iteration + 1 - runner.first_iteration
    words = ["foundation", "train", "--task", args.task, "--checkpoint", str(runner.last_checkpoint)]
    words += ["--max_iterations", str(max(iterations - done, 1))]
    words += [] if args.device == "cpu" else ["--device", args.device]
    lost = runner.last_completed_iteration - runner.last_saved_iteration
    what = f"interrupted, {lost} iterations are not saved, last checkpoint" if lost else "interrupted, checkpoint"
    return f"{what} saved: {runner.last_checkpoint}; continue with: {shlex.join(words)}"


def _prepare(args: argparse.Namespace, overrides: list[str]) -> tuple[Any, Path, int]:
    """Check everything, build everything, and only then create the run's folder."""
    from foundation.tasks import create_env, load_task, resolve
    from foundation.tasks.config import ConfigError, compose, preview_agent, save_params

    task = load_task(args.task)
    cli.check_device(args.device)
    if args.init_from is not None and not hasattr(resolve(task.agent_cfg)(), "init_from"):
        raise cli.UsageError(f"--init_from has no effect on task {args.task}; it belongs to task point_ctrl")
    flags = _flag_settings(args)
    params_dir = None if args.params is None else Path(args.params) / "params"
    preview = preview_agent(task, overrides, params_dir, flags)
    _require_wandb(preview.logger)
    student = _initial_student(args, preview)
    teacher, resume = _checkpoints(args, task, preview)
    if resume is not None and params_dir is None and (resume.parent / "params").is_dir():
        params_dir = resume.parent / "params"
    described = teacher or _first_of_several_teachers(preview)
    networks = _teacher_network(described) if student is None else _student_settings(student, preview, params_dir)
    env_cfg, agent_cfg = compose(task, overrides, params_dir, agent_updates=networks, flags=flags)
    if teacher is not None:
        path = str(teacher.resolve())
        agent_cfg.algorithm = replace(agent_cfg.algorithm, teacher_checkpoint=path)
    elif _first_of_several_teachers(agent_cfg) is not None:
        paths = [str(Path(path).resolve()) for path in agent_cfg.algorithm.teacher_checkpoint]
        agent_cfg.algorithm = replace(agent_cfg.algorithm, teacher_checkpoint=paths)
    if student is not None:
        _require_the_students_noise(agent_cfg, networks)
        agent_cfg.init_from = str(student)
    run_dir = _run_dir(agent_cfg)
    _make_usd_path_absolute(env_cfg)
    _seed(agent_cfg.seed)
    env = create_env(args.task, env_cfg, args.device, agent_cfg.seed)
    try:
        runner = resolve(task.runner)(env, _runner_dict(agent_cfg, resume), str(run_dir), args.device)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"agent: {error}") from error
    if resume is not None:
        print(f"[Run] continuing from {resume}")
        runner.load(str(resume))
    if student is not None:
        print(f"[Run] fine-tuning {student}")
    _require_training_of_the_actor(agent_cfg, runner.current_learning_iteration)
    if hasattr(agent_cfg, "teacher"):
        _require_learning_rate(runner, agent_cfg.max_iterations)
    _claim(run_dir)
    save_params(run_dir, env_cfg, agent_cfg)
    return runner, run_dir, agent_cfg.max_iterations


def _flag_settings(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "env.num_envs": args.num_envs,
        "agent.seed": args.seed,
        "agent.max_iterations": args.max_iterations,
        "agent.experiment_name": args.experiment_name,
        "agent.run_name": args.run_name,
        "agent.logger": args.logger,
        "agent.wandb_project": args.log_project_name,
        "agent.init_from": args.init_from,
    }


def _initial_student(args: argparse.Namespace, agent_cfg: Any) -> Path | None:
    """Return the checkpoint of the student to fine-tune, if there is one."""
    from foundation.distill.checkpoint import STUDENT, checkpoint_kind, load_checkpoint

    init_from = getattr(agent_cfg, "init_from", None)
    if init_from is None:
        return None
    if args.checkpoint is not None or args.resume:
        if args.init_from is None and args.params is not None:
            # The parameters tell where the run that is continued came from.
            return None
        raise cli.UsageError(
            f"--init_from {init_from} begins a new run, --checkpoint and --resume continue one; give one of them"
        )
    found = cli.find_checkpoint(init_from, None, None).resolve()
    if checkpoint_kind(load_checkpoint(found), found) != STUDENT:
        raise cli.UsageError(
            f"--init_from {found} is of a PPO run, expected a student's checkpoint; continue it with --checkpoint"
        )
    return found


def _checkpoints(args: argparse.Namespace, task: TaskSpec, agent_cfg: Any) -> tuple[Path | None, Path | None]:
    """Return the teacher to distil from and the checkpoint to continue, of which one or both are None."""
    from foundation.distill.checkpoint import STUDENT, TEACHER, checkpoint_kind, load_checkpoint

    if args.load_run is not None and not args.resume:
        raise cli.UsageError(f"--load_run {args.load_run} has no effect without --resume")
    distils = hasattr(agent_cfg, "teacher")
    if args.teacher is not None and not distils:
        raise cli.UsageError(f"--teacher has no effect on task {args.task}; it belongs to task distillation")
    teacher = None if args.teacher is None else cli.find_checkpoint(args.teacher, None, None)
    if teacher is not None and checkpoint_kind(load_checkpoint(teacher), teacher) != TEACHER:
        raise cli.UsageError(f"--teacher {teacher} holds a student, not a teacher")
    if args.checkpoint is None and not args.resume:
        if not distils:
            return None, None
        configured = agent_cfg.algorithm.teacher_checkpoint
        if isinstance(configured, list) and teacher is not None:
            raise cli.UsageError(f"--teacher {teacher} and a list of agent.algorithm.teacher_checkpoint; give one")
        if isinstance(configured, list):
            return None, None
        return teacher or (Path(configured) if configured else cli.packaged_teacher()), None
    found = cli.find_checkpoint(args.checkpoint, args.load_run, agent_cfg.experiment_name)
    kind = checkpoint_kind(load_checkpoint(found), found)
    if kind == (STUDENT if distils else TEACHER):
        if teacher is not None:
            raise cli.UsageError(
                f"--teacher {teacher} has no effect: the run that --checkpoint {found} continues holds its teacher"
            )
        return None, found
    if not distils:
        raise cli.UsageError(
            f"--checkpoint {found} holds a student; task {args.task} trains teachers, and fine-tunes a student "
            "given by --init_from"
        )
    if args.resume or teacher is not None:
        raise cli.UsageError(
            f"--checkpoint {found} holds a teacher; drop --resume and --teacher to distil from it"
        )
    return found, None


def _first_of_several_teachers(agent_cfg: Any) -> Path | None:
    """Return the teacher whose network all of several share, if there are several."""
    configured = getattr(agent_cfg.algorithm, "teacher_checkpoint", None)
    # How many there have to be is checked with the other options.
    if not isinstance(configured, list) or not configured:
        return None
    if not all(isinstance(path, str) for path in configured):
        raise cli.UsageError(f"agent.algorithm.teacher_checkpoint must name files, got {configured}")
    return Path(configured[0])


def _teacher_network(teacher: Path | None) -> dict[str, Any] | None:
    """Return the settings that give the teacher network and observations of its own run, where they are known."""
    from foundation.tasks.config import load_params

    saved = None if teacher is None else load_params(teacher.parent, "agent")
    if saved is None or "actor" not in saved:
        return None
    return {"teacher": saved["actor"], "obs_groups": {"teacher": saved["obs_groups"]["actor"]}}


def _student_settings(student: Path, agent_cfg: Any, params_dir: Path | None) -> dict[str, Any] | None:
    """Return the settings that fine-tune a student, or None if the saved parameters already do."""
    from foundation.tasks.config import load_params

    repeated = None if params_dir is None else load_params(params_dir.parent, "agent")
    if repeated is not None and repeated.get("init_from") == str(student):
        return None
    saved = load_params(student.parent, "agent")
    if saved is None:
        raise cli.UsageError(
            f"--init_from {student} has no params/agent.yaml beside it, which describes its network; give the "
            "checkpoint in its run's folder"
        )
    settings = {"actor": saved["student"], "obs_groups": {"actor": saved["obs_groups"]["student"]}}
    if params_dir is None:
        settings["critic_warmup_iterations"] = min(LONGEST_DEFAULT_WARMUP, agent_cfg.max_iterations // 10)
    return settings


def _require_the_students_noise(agent_cfg: Any, settings: dict[str, Any] | None) -> None:
    if settings is None:
        return
    configured, students = (
        (cfg or {}).get("init_std")
        for cfg in (agent_cfg.actor.distribution_cfg, settings["actor"]["distribution_cfg"])
    )
    if configured != students:
        raise cli.UsageError(
            f"agent.actor.distribution_cfg.init_std={configured} has no effect with --init_from, which loads the "
            f"student's noise; set agent.init_noise_std={configured}"
        )


def _require_learning_rate(runner: Any, iterations: int) -> None:
    try:
        runner.alg.learning_rates.check(runner.current_learning_iteration + iterations - 1)
    except ValueError as error:
        raise cli.UsageError(f"agent.algorithm: {error}") from error


def _require_training_of_the_actor(agent_cfg: Any, first_iteration: int) -> None:
    warmup, end = getattr(agent_cfg, "critic_warmup_iterations", 0), first_iteration + agent_cfg.max_iterations
    if warmup >= end:
        raise cli.UsageError(
            f"agent.critic_warmup_iterations={warmup} leaves no iteration to train the actor, the run ends after "
            f"{end}; lower it or raise --max_iterations"
        )


def _make_usd_path_absolute(env_cfg: Any) -> None:
    """Let the saved parameters name the vehicle's file from any working directory."""
    from foundation.sim.usd import CF2X

    spawn = env_cfg.robot.spawn
    if spawn.usd_path != CF2X:
        spawn.usd_path = str(Path(spawn.usd_path).resolve())


def _runner_dict(agent_cfg: Any, resume: Path | None) -> dict[str, Any]:
    cfg = agent_cfg.to_dict()
    # The checkpoint to continue holds teacher and actor, whatever became of the files that they came from.
    if resume is not None and isinstance(cfg["algorithm"].get("teacher_checkpoint"), str):
        cfg["algorithm"]["teacher_checkpoint"] = None
    if resume is not None and "init_from" in cfg:
        cfg["init_from"] = None
    if cfg["logger"] == "wandb":
        cfg["logger"] = {"class_name": "WandbLogWriter", "project_name": cfg["wandb_project"]}
    return cfg


def _require_wandb(logger: str) -> None:
    if logger not in ("tensorboard", "wandb"):
        raise cli.UsageError(f"agent.logger must be tensorboard or wandb, got {logger!r}")
    if logger == "wandb" and importlib.util.find_spec("wandb") is None:
        raise cli.UsageError("--logger wandb needs W&B; install it with: pip install 'foundation-distill[wandb]'")
    if logger == "wandb" and os.environ.get("WANDB_MODE", "online") == "online":
        import wandb

        if wandb.Settings().mode == "online" and not wandb.api.api_key:
            raise cli.UsageError("--logger wandb has no credentials; run wandb login, or set WANDB_MODE=offline")


def _seed(seed: int) -> None:
    import torch

    torch.manual_seed(seed)


def _run_dir(agent_cfg: Any) -> Path:
    for name, value in (("run_name", agent_cfg.run_name), ("experiment_name", agent_cfg.experiment_name)):
        if any(mark in value for mark in ("/", "\\", "\0")) or value in (".", "..") or len(value) > LONGEST_NAME:
            raise cli.UsageError(
                f"{name}={value[:LONGEST_NAME]!r} is to be part of a folder's name: at most {LONGEST_NAME} "
                "characters, none of them a path separator"
            )
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    name = f"{stamp}_{agent_cfg.run_name}" if agent_cfg.run_name else stamp
    folder = cli.LOG_ROOT / agent_cfg.experiment_name
    candidates = [folder / name, *(folder / f"{name}_{i}" for i in range(2, 1000))]
    return next(path for path in candidates if not path.exists())


def _claim(run_dir: Path) -> None:
    """Create the run's folder, which no other process may have created meanwhile."""
    try:
        run_dir.mkdir(parents=True)
    except FileExistsError:
        raise cli.UsageError(f"{run_dir} was created by another run just now; start this one again") from None
    except OSError as error:
        raise cli.UsageError(f"the run's folder {run_dir} cannot be created: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
