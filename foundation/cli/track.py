"""Fly a policy along a path, and write how well it follows: statistics, arrays, plots, a section of the report.

Without --checkpoint the packaged policy of --task flies: a student that was trained to hover (task foundation, the
default) or to follow paths (task tracking), else the packaged teacher.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from foundation.cli.errors import errors_as_one_line
from foundation.cli.evaluate import Progress
from foundation.cli.flags import add_common_flags, command_parser, parse
from foundation.cli.track_plan import TrackingPlan, plan_of

if TYPE_CHECKING:
    from foundation.evaluation.tracking.flight import TrackedFlight
    from foundation.sim.paths import Path as FlightPath

EPILOG = """
examples:
  foundation track --path figure_eight --speed 2 --task tracking
  foundation track --path langevin --family raptor --compare expert,pid
  foundation track --path waypoints --vehicle x500 'path.points=[[0,0,0],[1,0,0],[1,1,0.5]]'
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
    parser.add_argument(
        "--amplitude", type=float, help="half-width of the path [m] (default: 1 of circle and figure_eight)"
    )
    parser.add_argument("--period", type=float, help="time of one repetition [s], instead of --speed")
    parser.add_argument("--heading", help="heading [rad], or along: that of the velocity (default: 0)")
    parser.add_argument(
        "--vehicle",
        help="fly this named vehicle alone: crazyflie, cf2x_L250, cf2x_P250, cf2x_T350, x500 or flightmare",
    )
    parser.add_argument("--family", help="family of vehicles: none, cf2x, foundation or raptor")
    parser.add_argument("--seeds", type=int, default=5, help="seeds to fly, from --seed on (default: 5)")
    parser.add_argument(
        "--duration", type=float, help="time to fly [s] (default: that of the waypoints or the file, else 10)"
    )
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


def track(args: argparse.Namespace, overrides: list[str], command: str) -> None:
    """Fly, print the table, and write all files.

    Args:
        args: The flags.
        overrides: Settings of the environment and of the path.
        command: The command that repeats the flight, for the report.
    """
    from foundation.evaluation.tracking import files, plots
    from foundation.evaluation.tracking.statistics import statistics

    plan = plan_of(args, overrides)
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


def _fly(plan: TrackingPlan, name: str) -> TrackedFlight:
    from foundation.evaluation.tracking.flight import joined, track
    from foundation.evaluation.tracking.setup import reference_table

    flights = []
    for seed in range(plan.args.seed, plan.args.seed + plan.args.seeds):
        env = plan.make_env(seed)
        policy = plan.make_policy(name, env)
        table = reference_table(plan.paths, env, seed)
        flights.append(track(env, policy, table, Progress(f"{name}, seed {seed}", "Track")))
    return joined(flights)


def _in_words(plan: TrackingPlan, flight: TrackedFlight) -> str:
    args, cfg = plan.args, plan.env_cfg
    what = f"vehicle {cfg.robot.vehicle}" if cfg.robot.vehicle else f"family {cfg.randomization.family}"
    parameters = ", ".join(
        f"{name} {_short(value)}" for name, value in _plain(plan.kind, plan.paths[0]).items() if name != "phase"
    )
    return (
        f"{args.path} ({parameters}), {flight.mass.size} flights of {plan.duration:g} s with {what}; "
        f"errors from {args.after:g} s on"
    )


def _plain(kind: str, path: FlightPath) -> dict[str, Any]:
    """Return a path's parameters that are not None."""
    from foundation.sim.paths import path_parameters

    values = {name: getattr(path, name) for name in path_parameters(kind)}
    return {name: value for name, value in values.items() if value is not None}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
