"""What ``foundation track`` flies: flags and settings, checked."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli.errors import UsageError
from foundation.cli.flags import check_device
from foundation.cli.flown import flown_environment, print_vehicle
from foundation.cli.paths import find_checkpoint
from foundation.tasks.packaged import EXPERT, is_packaged, packaged_policy

if TYPE_CHECKING:
    from foundation.sim.paths import Path as FlightPath

RAPTOR, PID = "raptor", "pid"
BASELINES = (RAPTOR, EXPERT, PID)
"""Names that stand for policies besides checkpoints."""


@dataclass(frozen=True)
class TrackingPlan:
    """What is flown, checked."""

    args: argparse.Namespace
    checkpoints: dict[str, Path]
    """Policies by name, that which was asked for first; baselines have paths that are their names."""
    env_cfg: Any
    kind: str
    """Name of the kind of path."""
    paths: list[FlightPath]
    folder: Path
    first: int
    """Step from which on errors count."""

    def make_env(self, seed: int) -> Any:
        """Return the environment of a seed."""
        from foundation.tasks import create_env

        return create_env(self.args.task, self.env_cfg, self.args.device, seed)

    def make_policy(self, name: str, env: Any) -> Any:
        """Return a policy by its name in ``checkpoints``."""
        from foundation.evaluation.policies import load_policy
        from foundation.evaluation.tracking.baselines import PidPolicy, Raptor

        path = self.checkpoints[name]
        if str(path) == RAPTOR:
            return Raptor()
        if str(path) == PID:
            return PidPolicy(env)
        return load_policy(path, env.get_observations(), env.num_actions, self.args.device)


def plan_of(args: argparse.Namespace, overrides: list[str]) -> TrackingPlan:
    """Check everything before anything flies."""
    from foundation.control.lqr import LqrCfg
    from foundation.evaluation.tracking.setup import make_paths, tracking_cfg
    from foundation.tasks import create_env, load_task

    task = load_task(args.task)
    check_device(args.device)
    _check_flags(args)
    checkpoints = _checkpoints(args)
    of_path = [word for word in overrides if word.startswith("path.")]
    of_env = [word for word in overrides if word not in of_path]
    for word in of_env:
        if word.partition("=")[0] in _SET_BY_FLAGS:
            name = word.partition("=")[0]
            raise UsageError(f"{word}: {name} has no effect here; use {_SET_BY_FLAGS[name]}")
    flags = {
        "env.num_envs": args.num_envs,
        "env.episode_s": args.duration,
        "env.episode_steps": None,
        "env.randomization.family": "none" if args.vehicle is not None else args.family,
        "env.robot.vehicle": args.vehicle,
    }
    networks = {name: path for name, path in checkpoints.items() if str(path) not in (RAPTOR, PID)}
    env_cfg = flown_environment(task, networks, of_env, flags)
    env_cfg = replace(tracking_cfg(env_cfg), episode_steps=None)
    if EXPERT in map(str, networks.values()) and env_cfg.expert is None:
        env_cfg = replace(env_cfg, expert=LqrCfg())
    try:
        name, parameters = _path(args, of_path)
        paths = make_paths(name, parameters, args.num_envs)
    except ValueError as error:
        raise UsageError(f"--path {args.path}: {error}") from None
    folder = _folder(args, next(iter(checkpoints.values())))
    first = round(args.after / env_cfg.sim.dt)
    plan = TrackingPlan(args, checkpoints, env_cfg, name, paths, folder, first)
    env = create_env(args.task, replace(env_cfg, expert=None), args.device, args.seed)
    print_vehicle(env, "Track")
    _require_flyable(plan, env)
    if RAPTOR in map(str, checkpoints.values()):
        plan.make_policy(next(name for name, path in checkpoints.items() if str(path) == RAPTOR), env)
    return plan


_SET_BY_FLAGS = {
    "env.num_envs": "--num_envs",
    "env.episode_s": "--duration",
    "env.episode_steps": "--duration",
    "env.paths": "--path",
    "env.states": "--path: flights begin on the path",
}
"""Settings that flags of this command stand for."""


def _check_flags(args: argparse.Namespace) -> None:
    if args.num_envs < 1:
        raise UsageError(f"--num_envs must be at least 1, got {args.num_envs}")
    if args.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {args.seeds}")
    if not args.duration > 0.0:
        raise UsageError(f"--duration must be positive, got {args.duration:g} s")
    if not 0.0 <= args.after < args.duration:
        raise UsageError(f"--after must lie in [0, {args.duration:g}) s, within --duration, got {args.after:g}")
    if args.vehicle is not None and args.family not in (None, "none"):
        raise UsageError(f"--family {args.family} has no effect with --vehicle {args.vehicle}; give one of them")


def _checkpoints(args: argparse.Namespace) -> dict[str, Path]:
    """Return the policies by name."""
    if args.checkpoint is None and args.load_run is None:
        given = packaged_policy(args.task)
        print(f"[Track] the packaged {args.task} policy flies", flush=True)
    elif args.checkpoint in (RAPTOR, PID):
        given = Path(args.checkpoint)
    else:
        from foundation.tasks import load_task, resolve

        experiment = resolve(load_task(args.task).agent_cfg)().experiment_name
        given = find_checkpoint(args.checkpoint, args.load_run, experiment)
    found = {_name_of(given, args.task): given}
    for name in (args.compare or "").split(",") if args.compare else []:
        path = Path(name) if name in BASELINES else find_checkpoint(name, None, None)
        if path in found.values():
            raise UsageError(f"--compare {name}: it flies already; name each policy once")
        found[_name_of(path, name)] = path
    return found


def _name_of(path: Path, task: str) -> str:
    if str(path) in BASELINES:
        return str(path)
    return f"{task} student" if is_packaged(path) else f"{path.parent.name}/{path.stem}"


def _path(args: argparse.Namespace, overrides: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the kind of path, and its parameters from flags and settings."""
    from foundation.tasks.config import parse_values

    parameters: dict[str, Any] = {
        name: value for name in ("speed", "amplitude", "period") if (value := getattr(args, name)) is not None
    }
    if args.heading is not None:
        parameters["heading"] = args.heading if args.heading == "along" else _number("--heading", args.heading)
    for name, value in parse_values(overrides, "path").items():
        if name in parameters:
            raise UsageError(f"path.{name} has no effect with --{name}; give one of them")
        parameters[name] = tuple(map(_as_tuple, value)) if isinstance(value, list) else value
    if args.path.endswith((".csv", ".npz")):
        return "file", {"file": args.path, **parameters}
    return args.path, parameters


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _number(flag: str, words: str) -> float:
    try:
        return float(words)
    except ValueError:
        raise UsageError(f"{flag} must be a number [rad] or along, got {words!r}") from None


def _folder(args: argparse.Namespace, checkpoint: Path) -> Path:
    if args.output is None:
        return Path(".") if is_packaged(checkpoint) or str(checkpoint) in BASELINES else checkpoint.parent
    folder = Path(args.output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder} is a file; give a folder")
    return folder


def _require_flyable(plan: TrackingPlan, env: Any) -> None:
    import numpy as np

    from foundation.sim.paths import check_path

    times = np.arange(env.max_episode_length + 1) * env.cfg.sim.dt
    samples = plan.paths[0].sample(times, np.random.default_rng(plan.args.seed))
    try:
        check_path(samples, env.sim.params, plan.kind)
    except ValueError as error:
        raise UsageError(f"--path {plan.args.path}: {error}") from None
