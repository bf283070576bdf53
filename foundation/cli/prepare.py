"""Prepare a training run: check everything, build everything, and only then create the run's folder."""

from __future__ import annotations

import argparse
import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from foundation.cli.errors import UsageError
from foundation.cli.flags import check_device
from foundation.cli.flown import differing, print_vehicle, trained_vehicle, warn_of_changed_vehicle
from foundation.cli.paths import params_to_repeat
from foundation.cli.processes import (
    check_launch,
    continue_after_restart,
    keep_last_iteration,
    of_first,
)
from foundation.cli.run_folder import claim, new_run_dir
from foundation.cli.start import Start, choose_start, first_of_several_teachers, require_flags_of_the_task
from foundation.tasks.packaged import EXPERT

if TYPE_CHECKING:
    from foundation.tasks import TaskSpec

LONGEST_DEFAULT_WARMUP = 20
"""Largest default of ``critic_warmup_iterations`` when a student is fine-tuned."""


_EXPERT_TEACHER = {
    "env.expert": {},
    "agent.teacher.class_name": "foundation.distill:ObservedActions",
    "agent.obs_groups": {"teacher": ["expert"]},
}
"""What --teacher expert stands for: the environment computes the expert's actions, with the configured weights."""


class PreparedRun(NamedTuple):
    """A run that is ready to train."""

    runner: Any
    run_dir: Path
    iterations: int


def prepare_run(args: argparse.Namespace, overrides: Sequence[str]) -> PreparedRun:
    """Compose the configuration, build environment and runner, and create the run's folder.

    Raises:
        UsageError: If a flag or a setting has no effect or cannot work.
        ConfigError: If the configuration is not valid.
        CheckpointError: If a checkpoint cannot be used.
    """
    import torch

    from foundation.distill import ranks
    from foundation.tasks import create_env, load_task, resolve
    from foundation.tasks.config import preview_agent
    from foundation.tasks.saved_params import save_params

    task = load_task(args.task)
    check_launch(args)
    check_device(args.device)
    require_flags_of_the_task(args, resolve(task.agent_cfg)())
    flags = flag_settings(args)
    params_dir = None if args.params is None else params_to_repeat(args.params)
    preview = preview_agent(task, overrides, params_dir, flags)
    overrides = list(overrides)
    if continue_after_restart(args, overrides, preview.experiment_name):
        flags = flag_settings(args)
        preview = preview_agent(task, overrides, params_dir, flags)
    _require_logger(preview.logger)
    start = choose_start(args, preview)
    if start.resume is not None and params_dir is None and (start.resume.parent / "params").is_dir():
        params_dir = start.resume.parent / "params"
    described = start.teacher or first_of_several_teachers(preview)
    if start.student is None:
        networks = _teacher_network(described)
    else:
        networks = _student_settings(start.student, preview, params_dir)
    inherited = None if params_dir is not None else trained_vehicle(start.student or described)
    env_cfg, agent_cfg = _compose(task, overrides, params_dir, networks, flags, start, inherited)
    _announce(env_cfg, params_dir, inherited, start)
    if networks is not None and start.teacher is not None:
        print(
            "[Run] the teacher's network and observations are those of its run, unless set otherwise", flush=True
        )
    run_dir, rank = new_run_dir(agent_cfg), ranks.launched_rank()
    torch.manual_seed(agent_cfg.seed + rank)
    env = create_env(args.task, env_cfg, args.device, agent_cfg.seed + rank)
    print_vehicle(env, "Run")
    runner = _build_runner(task, env, agent_cfg, start, run_dir, args.device)
    run_dir = of_first(claim(run_dir) if rank == 0 else None)
    runner.logger.log_dir = str(run_dir)
    if rank == 0:
        save_params(run_dir, env_cfg, agent_cfg)
        keep_last_iteration(run_dir, runner.current_learning_iteration + agent_cfg.max_iterations)
    return PreparedRun(runner, run_dir, agent_cfg.max_iterations)


def flag_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that flags stand for, by name; None where a flag is not given."""
    return {
        "env.num_envs": args.num_envs,
        "agent.seed": args.seed,
        "agent.max_iterations": args.max_iterations,
        "agent.experiment_name": args.experiment_name,
        "agent.run_name": args.run_name,
        "agent.logger": args.logger,
        "agent.wandb_project": args.log_project_name,
        "agent.init_from": args.init_from,
        "agent.algorithm.init_dataset": args.init_dataset,
        **(_EXPERT_TEACHER if args.teacher == EXPERT and args.task != "point_ctrl" else {}),
    }


def _compose(
    task: TaskSpec,
    overrides: Sequence[str],
    params_dir: Path | None,
    networks: dict[str, Any] | None,
    flags: dict[str, Any],
    start: Start,
    inherited: dict[str, Any] | None,
) -> tuple[Any, Any]:
    """Return both configurations. Their paths are absolute: saved parameters must work from any folder."""
    from foundation.sim.usd import CF2X
    from foundation.tasks.config import compose, require_effect

    env_cfg, agent_cfg = compose(
        task, overrides, params_dir, agent_updates=networks, flags=flags, env_updates=inherited
    )
    require_effect(env_cfg, overrides)
    paths: dict[str, Any] = {} if start.dataset is None else {"init_dataset": str(start.dataset)}
    if start.teacher is not None:
        paths["teacher_checkpoint"] = str(start.teacher.resolve())
    elif first_of_several_teachers(agent_cfg) is not None:
        several = agent_cfg.algorithm.teacher_checkpoint
        paths["teacher_checkpoint"] = [str(Path(path).expanduser().resolve()) for path in several]
    if paths:
        agent_cfg.algorithm = replace(agent_cfg.algorithm, **paths)
    if start.student is not None:
        _require_the_students_noise(agent_cfg, networks)
        agent_cfg.init_from = str(start.student)
    spawn = env_cfg.robot.spawn
    if spawn.usd_path != CF2X:
        spawn.usd_path = str(Path(spawn.usd_path).resolve())
    return env_cfg, agent_cfg


def _announce(env_cfg: Any, params_dir: Path | None, inherited: dict[str, Any] | None, start: Start) -> None:
    """Print where the environment's settings come from, if not from the task."""
    warn_of_changed_vehicle(params_dir)
    names = [] if params_dir is None else differing(params_dir, env_cfg)
    if names:
        print(f"[Run] other settings of the environment than in {params_dir}: {', '.join(names)}", flush=True)
    if inherited is not None:
        of = "student" if start.student is not None else "teacher"
        print(f"[Run] vehicle, family and rate are those of the {of}'s run, unless set otherwise", flush=True)


def _build_runner(task: TaskSpec, env: Any, agent_cfg: Any, start: Start, run_dir: Path, device: str) -> Any:
    """Return the runner, with the checkpoint to continue loaded."""
    from foundation.tasks import resolve
    from foundation.tasks.saved_params import ConfigError

    try:
        runner = resolve(task.runner)(env, _runner_dict(agent_cfg, start.resume), str(run_dir), device)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"agent: {error}") from error
    if start.resume is not None:
        print(f"[Run] continuing from {start.resume}")
        runner.load(str(start.resume))
    if hasattr(agent_cfg, "teacher"):
        runner.alg.require_teacher()
    if start.student is not None:
        print(f"[Run] fine-tuning {start.student}")
    _require_training_of_the_actor(agent_cfg, runner.current_learning_iteration)
    if hasattr(agent_cfg, "teacher"):
        _require_learning_rate(runner, agent_cfg.max_iterations)
    return runner


def _runner_dict(agent_cfg: Any, resume: Path | None) -> dict[str, Any]:
    cfg = agent_cfg.to_dict()
    # The checkpoint to continue holds teacher and actor; the files that they came from may be gone.
    if resume is not None and isinstance(cfg["algorithm"].get("teacher_checkpoint"), str):
        cfg["algorithm"]["teacher_checkpoint"] = None
    if resume is not None and "init_from" in cfg:
        cfg["init_from"] = None
    if resume is not None and "init_dataset" in cfg["algorithm"]:
        cfg["algorithm"]["init_dataset"] = None
    if cfg["logger"] == "wandb":
        cfg["logger"] = {"class_name": "WandbLogWriter", "project_name": cfg["wandb_project"]}
    return cfg


def _teacher_network(teacher: Path | None) -> dict[str, Any] | None:
    """Return the settings that give the teacher its own network and observations; None if they are not saved."""
    from foundation.distill.checkpoint.run_network import groups_in, network_in
    from foundation.tasks.saved_params import load_params

    saved = None if teacher is None else load_params(teacher.parent, "agent")
    network = None if saved is None else network_in(saved, "actor")
    if saved is None or network is None:
        return None
    groups = groups_in(saved, "actor")
    return {"teacher": network} | ({} if groups is None else {"obs_groups": {"teacher": groups}})


def _student_settings(student: Path, agent_cfg: Any, params_dir: Path | None) -> dict[str, Any] | None:
    """Return the settings that fine-tune a student, or None if the saved parameters already hold them."""
    from foundation.distill.checkpoint.run_network import groups_in, network_in
    from foundation.tasks.saved_params import load_params

    repeated = None if params_dir is None else load_params(params_dir.parent, "agent")
    if repeated is not None and repeated.get("init_from") == str(student):
        return None
    saved = load_params(student.parent, "agent")
    network = None if saved is None else network_in(saved, "student")
    groups = None if saved is None else groups_in(saved, "student")
    if network is None or groups is None:
        raise UsageError(
            f"--init_from {student} has no params/agent.yaml beside it, which describes its network; give the "
            "checkpoint in its run's folder"
        )
    settings: dict[str, Any] = {"actor": network, "obs_groups": {"actor": groups}}
    if params_dir is None:
        settings["critic_warmup_iterations"] = min(LONGEST_DEFAULT_WARMUP, agent_cfg.max_iterations // 10)
    return settings


def _require_the_students_noise(agent_cfg: Any, settings: dict[str, Any] | None) -> None:
    if settings is None:
        return
    configured, students = (
        (cfg or {}).get("init_std")
        for cfg in (agent_cfg.actor.distribution_cfg, settings["actor"].get("distribution_cfg"))
    )
    if configured != students:
        raise UsageError(
            f"agent.actor.distribution_cfg.init_std={configured} has no effect with --init_from, which loads the "
            f"student's noise; set agent.init_noise_std={configured}"
        )


def _require_learning_rate(runner: Any, iterations: int) -> None:
    try:
        runner.alg.learning_rates.check(runner.current_learning_iteration + iterations - 1)
    except ValueError as error:
        raise UsageError(f"agent.algorithm: {error}") from error


def _require_training_of_the_actor(agent_cfg: Any, first_iteration: int) -> None:
    warmup, end = getattr(agent_cfg, "critic_warmup_iterations", 0), first_iteration + agent_cfg.max_iterations
    if warmup >= end:
        raise UsageError(
            f"agent.critic_warmup_iterations={warmup} leaves no iteration to train the actor, the run ends after "
            f"{end}; lower it or raise --max_iterations"
        )


def _require_logger(logger: str) -> None:
    if logger not in ("tensorboard", "wandb"):
        raise UsageError(f"agent.logger must be tensorboard or wandb, got {logger!r}")
    if logger == "wandb" and importlib.util.find_spec("wandb") is None:
        raise UsageError("--logger wandb needs W&B; install it with: pip install 'foundation-distill[wandb]'")
    if logger == "wandb" and os.environ.get("WANDB_MODE", "online") == "online":
        import wandb

        if wandb.Settings().mode == "online" and not wandb.api.api_key:
            raise UsageError("--logger wandb has no credentials; run wandb login, or set WANDB_MODE=offline")
