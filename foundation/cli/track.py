"""Fly a policy along a path, and write how well it follows: statistics, arrays, plots, a section of the report.

Without --checkpoint the packaged student of --task flies.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli.errors import UsageError, errors_as_one_line
from foundation.cli.evaluate import Progress
from foundation.cli.flags import add_common_flags, check_device, command_parser, parse
from foundation.cli.flown import flown_environment, print_vehicle
from foundation.cli.paths import find_checkpoint
from foundation.tasks.packaged import EXPERT, is_packaged, packaged_policy

if TYPE_CHECKING:
    from foundation.evaluation.tracking.flight import TrackedFlight
    from foundation.sim.paths import Path as FlightPath

RAPTOR, PID = "raptor", "pid"
BASELINES = (RAPTOR, EXPERT, PID)
"""Names that --compare takes besides checkpoints."""
EPILOG = """
examples:
  foundation track --path figure_eight --speed 2
  foundation track --path langevin --family raptor --compare expert,pid
  foundation track --path lissajous --speed 1.5 path.amplitude=[1,1,0.5] path.ratio=[2,3,1]
  foundation track --path flight.csv --vehicle x500
Settings of the environment and of the path follow the flags in Hydra's grammar: env.noise.delay=0.01
path.phase=0.25. docs/TRACKING.md lists the paths with their parameters.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("track", __doc__, EPILOG)
    add_common_flags(parser, default_task="foundation")
    parser.set_defaults(num_envs=64, seed=0)
    parser.add_argument("--checkpoint", help="a checkpoint or run folder, or expert")
    parser.add_argument("--load_run", help="name of the run's folder (with --checkpoint the name of a file in it)")
    parser.add_argument(
        "--path",
        required=True,
        help="hover, circle, figure_eight, lissajous, langevin, waypoints, or a .csv or .npz file of samples",
    )
    parser.add_argument("--speed", type=float, help="largest speed on the path, of langevin the RMS speed [m/s]")
    parser.add_argument("--amplitude", type=float, help="half-width of the path [m] (default: 1)")
    parser.add_argument("--period", type=float, help="time of one repetition [s], instead of --speed")
    parser.add_argument("--heading", help="heading [rad], or along: that of the velocity (default: 0)")
    parser.add_argument("--vehicle", help="fly this named vehicle alone, such as x500")
    parser.add_argument("--family", help="family of vehicles: none, cf2x, foundation or raptor")
    parser.add_argument("--seeds", type=int, default=5, help="seeds to fly, from --seed on (default: 5)")
    parser.add_argument("--duration", type=float, default=10.0, help="time to fly [s] (default: 10)")
    parser.add_argument(
        "--after", type=float, default=1.0, help="time from which on errors count [s] (default: 1)"
    )
    parser.add_argument(
        "--compare", help="more policies for the table, by comma: raptor, expert, pid, or checkpoints"
    )
    parser.add_argument(
        "--output", help="folder to write to (default: the run's; for packaged policies the working directory)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args, overrides = parse(build_parser(), words)
    with errors_as_one_line():
        track(args, overrides, f"foundation track {shlex.join(words)}")


@dataclass(frozen=True)
class _Plan:
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
        from foundation.tasks import create_env

        return create_env(self.args.task, self.env_cfg, self.args.device, seed)

    def make_policy(self, name: str, env: Any) -> Any:
        from foundation.evaluation.policies import load_policy
        from foundation.evaluation.tracking.baselines import PidPolicy, Raptor

        path = self.checkpoints[name]
        if str(path) == RAPTOR:
            return Raptor()
        if str(path) == PID:
            return PidPolicy(env)
        return load_policy(path, env.get_observations(), env.num_actions, self.args.device)


def track(args: argparse.Namespace, overrides: list[str], command: str) -> None:
    """Fly, print the table, and write all files.

    Args:
        args: The flags.
        overrides: Settings of the environment and of the path.
        command: The command that repeats the flight, for the report.
    """
    from foundation.evaluation.tracking import files, plots
    from foundation.evaluation.tracking.statistics import statistics

    plan = _plan(args, overrides)
    flights = {name: _fly(plan, name) for name in plan.checkpoints}
    results = {name: statistics(flight, plan.first) for name, flight in flights.items()}
    first = next(iter(flights.values()))
    context = {
        "flown": _in_words(plan, first),
        "command": command,
        "path": {"kind": plan.kind, **_plain(plan.kind, plan.paths[0])},
        "after_s": args.after,
        "seeds": args.seeds,
        "checkpoints": {name: str(path) for name, path in plan.checkpoints.items()},
        "environment": asdict(plan.env_cfg),
    }
    print(f"\n{context['flown']}\n\n" + "\n".join(files.columns(*files.overall(results))))
    plan.folder.mkdir(parents=True, exist_ok=True)
    written = [
        *files.write_statistics(results, context, plan.folder),
        *files.write_arrays(first, plan.folder),
        *plots.write_plots(first, plan.folder),
        files.write_section(results, first, context, plan.folder),
    ]
    for path in written:
        print(f"[Track] wrote {path}")


def _plan(args: argparse.Namespace, overrides: list[str]) -> _Plan:
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
    plan = _Plan(args, checkpoints, env_cfg, name, paths, folder, first)
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


def _require_flyable(plan: _Plan, env: Any) -> None:
    import numpy as np

    from foundation.sim.paths import check_path

    times = np.arange(env.max_episode_length + 1) * env.cfg.sim.dt
    samples = plan.paths[0].sample(times, np.random.default_rng(plan.args.seed))
    try:
        check_path(samples, env.sim.params, plan.kind)
    except ValueError as error:
        raise UsageError(f"--path {plan.args.path}: {error}") from None


def _fly(plan: _Plan, name: str) -> TrackedFlight:
    from foundation.evaluation.tracking.flight import joined, track
    from foundation.evaluation.tracking.setup import reference_table

    flights = []
    for seed in range(plan.args.seed, plan.args.seed + plan.args.seeds):
        env = plan.make_env(seed)
        policy = plan.make_policy(name, env)
        table = reference_table(plan.paths, env, seed)
        flights.append(track(env, policy, table, Progress(f"{name}, seed {seed}", "Track")))
    return joined(flights)


def _in_words(plan: _Plan, flight: TrackedFlight) -> str:
    args, cfg = plan.args, plan.env_cfg
    what = f"vehicle {cfg.robot.vehicle}" if cfg.robot.vehicle else f"family {cfg.randomization.family}"
    parameters = ", ".join(
        f"{name} {_short(value)}" for name, value in _plain(plan.kind, plan.paths[0]).items() if name != "phase"
    )
    return (
        f"{args.path} ({parameters}), {flight.mass.size} flights of {args.duration:g} s with {what}; "
        f"errors from {args.after:g} s on"
    )


def _plain(kind: str, path: FlightPath) -> dict[str, Any]:
    """Return a path's parameters that are not None."""
    from foundation.sim.paths import path_parameters

    values = {name: getattr(path, name) for name in path_parameters(kind)}
    return {name: value for name, value in values.items() if value is not None}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
