"""What ``foundation track`` flies: flags and settings, checked."""

from __future__ import annotations

import argparse
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli.errors import UsageError
from foundation.cli.flags import check_device
from foundation.cli.flown import flown_environment, print_vehicle
from foundation.cli.track_policies import BASELINES, PID, RAPTOR, checkpoints_of
from foundation.tasks.packaged import EXPERT, is_packaged

if TYPE_CHECKING:
    from foundation.sim.paths import Path as FlightPath


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
    duration: float
    """Time to fly [s]."""
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
    from foundation.evaluation.tracking.setup import tracking_cfg
    from foundation.tasks import create_env, load_task

    task = load_task(args.task)
    check_device(args.device)
    _check_flags(args)
    checkpoints = checkpoints_of(args)
    of_path = [word for word in overrides if word.startswith("path.")]
    of_env = [word for word in overrides if word not in of_path]
    for word in of_env:
        if not word.startswith("env."):
            raise UsageError(f"{word} must begin with env. or path., as in path.phase=0.25")
    name, paths = _paths(args, of_path)
    duration = _duration(args, paths[0])
    _require_effect(args, of_env, EXPERT in map(str, checkpoints.values()))
    flags = {
        "env.num_envs": args.num_envs,
        "env.episode_s": duration,
    }
    networks = {name: path for name, path in checkpoints.items() if str(path) not in (RAPTOR, PID)}
    env_cfg = flown_environment(task, networks, of_env, flags, updates=_fleet(args))
    env_cfg = replace(tracking_cfg(env_cfg), episode_steps=None)
    if EXPERT in map(str, networks.values()) and env_cfg.expert is None:
        env_cfg = replace(env_cfg, expert=LqrCfg())
    folder = _folder(args, next(iter(checkpoints.values())))
    first, steps = round(args.after / env_cfg.sim.dt), env_cfg.max_episode_length
    if first >= steps:
        raise UsageError(f"--after {args.after:g} leaves no step of the {duration:g} s that are flown; lower it")
    plan = TrackingPlan(args, checkpoints, env_cfg, name, paths, folder, duration, first)
    env = create_env(args.task, replace(env_cfg, expert=None), args.device, args.seed)
    print_vehicle(env, "Track")
    _require_flyable(plan, env)
    for each, path in checkpoints.items():
        if str(path) != EXPERT:
            plan.make_policy(each, env)
    return plan


def _fleet(args: argparse.Namespace) -> dict[str, Any] | None:
    """Return the settings that --vehicle and --family stand for; None leaves the run's."""
    from foundation.tasks.point_ctrl.point_ctrl_env_cfg import RobotCfg

    if args.vehicle is not None:
        return {"robot": asdict(RobotCfg()) | {"vehicle": args.vehicle}, "randomization": {"family": "none"}}
    if args.family == "raptor":  # it scales a vehicle of its own
        return {"robot": asdict(RobotCfg()), "randomization": {"family": args.family}}
    return None if args.family is None else {"randomization": {"family": args.family}}


_SILENCED = {
    "env.num_envs": "give --num_envs",
    "env.episode_s": "give --duration",
    "env.episode_steps": "give --duration",
    "env.paths": "give --path",
    "env.states": "flights begin on the path, level, and end 2 m off it",
    "env.init": "flights begin on the path, level and with hovering rotors",
    "env.termination": "a vehicle that is 2 m off the path along an axis is lost",
    "env.randomization.num_vehicles": "there is a vehicle for each of --num_envs",
}
"""Settings that this command decides, and the way out."""


def _require_effect(args: argparse.Namespace, overrides: list[str], flies_expert: bool) -> None:
    """Refuse settings of the environment that something else decides."""
    silenced = dict(_SILENCED)
    if args.vehicle is not None:
        silenced |= dict.fromkeys(("env.robot", "env.randomization"), f"--vehicle {args.vehicle} decides it")
    if args.family is not None:
        silenced["env.randomization.family"] = f"--family {args.family} decides it"
    if not flies_expert:
        silenced["env.expert"] = "no expert flies; give --compare expert"
    for word in overrides:
        name = word.partition("=")[0]
        for setting, way_out in silenced.items():
            if name == setting or name.startswith(f"{setting}."):
                raise UsageError(f"{word} has no effect: {way_out}")


def _check_flags(args: argparse.Namespace) -> None:
    if args.num_envs < 1:
        raise UsageError(f"--num_envs must be at least 1, got {args.num_envs}")
    if args.seeds < 1:
        raise UsageError(f"--seeds must be at least 1, got {args.seeds}")
    if args.duration is not None and not args.duration > 0.0:
        raise UsageError(f"--duration must be positive, got {args.duration:g} s")
    if not args.after >= 0.0:
        raise UsageError(f"--after must be at least 0 s, got {args.after:g}")
    if args.vehicle is not None and args.family not in (None, "none"):
        raise UsageError(f"--family {args.family} has no effect with --vehicle {args.vehicle}; give one of them")


def _paths(args: argparse.Namespace, overrides: list[str]) -> tuple[str, list[FlightPath]]:
    """Return the kind of path, and one path per environment."""
    from foundation.evaluation.tracking.setup import make_paths

    try:
        kind, parameters = _path(args, overrides)
        return kind, make_paths(kind, parameters, args.num_envs)
    except (ValueError, TypeError, OSError) as error:
        raise UsageError(f"--path {args.path}: {error}") from None


def _duration(args: argparse.Namespace, path: FlightPath) -> float:
    """Return the time to fly [s]; that of a path which ends, unless a flag says otherwise."""
    whole = getattr(path, "duration", None)
    if args.duration is None:
        return 10.0 if whole is None else whole
    if whole is not None and abs(whole - args.duration) > 1e-6:
        then = "it then rests at its end" if whole < args.duration else "the rest is not flown"
        print(f"[Track] the path lasts {whole:g} s, --duration is {args.duration:g} s: {then}", flush=True)
    return args.duration


def _path(args: argparse.Namespace, overrides: list[str]) -> tuple[str, dict[str, Any]]:
    """Return the kind of path, and its parameters from flags and settings."""
    from foundation.tasks.config import parse_values

    parameters: dict[str, Any] = {
        name: value for name in ("speed", "amplitude", "period") if (value := getattr(args, name)) is not None
    }
    if args.heading is not None:
        parameters["heading"] = args.heading if args.heading == "along" else _number("--heading", args.heading)
    for name, value in parse_values(overrides, "path").items():
        if name == "file":
            raise UsageError(f"path.file={value} has no effect; give --path {value}")
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
    """Return the folder to write to, which need not exist yet."""
    from foundation.evaluation.page import is_report
    from foundation.evaluation.tracking.files import REPORT

    here = is_packaged(checkpoint) or str(checkpoint) in BASELINES
    folder = Path("." if here else checkpoint.parent) if args.output is None else Path(args.output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output {folder} is a file; give a folder")
    parent = next(path for path in (folder.resolve(), *folder.resolve().parents) if path.exists())
    if not os.access(parent, os.W_OK):
        raise UsageError(f"--output {folder}: nothing can be written to {parent}")
    if (folder / REPORT).exists() and not is_report(folder / REPORT):
        raise UsageError(
            f"{folder / REPORT} is no report of ours and would be changed; give --output another folder"
        )
    return folder


def _require_flyable(plan: TrackingPlan, env: Any) -> None:
    """Check the paths that the first seed flies."""
    import numpy as np

    from foundation.evaluation.tracking.setup import path_generator
    from foundation.sim.paths import check_path, sample_many

    times = np.arange(env.max_episode_length + 1) * env.cfg.sim.dt
    try:
        samples = sample_many(plan.paths, times, path_generator(plan.args.seed))
        check_path(samples, env.sim.params, plan.kind)
    except ValueError as error:
        raise UsageError(f"--path {plan.args.path}: {error}") from None
