"""Write a policy as ONNX, TorchScript, C, or a controller for the Crazyflie, and fly it to check it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.cli.errors import RUN_FAILED, UsageError, errors_as_one_line
from foundation.cli.flags import command_parser, parse
from foundation.cli.flown import flown_environment, print_vehicle
from foundation.cli.paths import EXPORTED, beside, find_checkpoint, newest_or_packaged
from foundation.tasks.packaged import EXPERT, WITH_STUDENT

if TYPE_CHECKING:
    from foundation.export.exporter import Export

FORMATS = ("onnx", "torchscript", "c", "crazyflie", "all")
NUM_ENVS = 8
"""Vehicles that check an export."""

EPILOG = """\
formats
  onnx         policy.onnx: obs, images, h_in, c_in -> actions, h_out, c_out; normaliser inside, any number of
               vehicles
  torchscript  policy.pt: actions of one vehicle, keeps its hidden values, reset() begins a flight
  c            policy.h: C99, float32, no allocation; policy_reset and policy_step; no images
  crazyflie    crazyflie/: an app for the Crazyflie firmware, see docs/DEPLOY.md
  all          onnx, torchscript and, if the network can be written so, c

Every export is asked for its actions on 1000 steps of the checkpoint's policy. If one differs by more than
--tolerance, the export fails (exit code 1) and leaves no file. It then flies 1000 steps of its own; how far that
flight parts from the policy's is printed.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("export", __doc__, EPILOG)
    parser.add_argument(
        "--checkpoint",
        help="a checkpoint or run folder (default: the newest run's newest; without runs of task "
        "foundation its packaged student)",
    )
    parser.add_argument("--load_run", help="name of the run's folder (default: the newest)")
    parser.add_argument("--format", choices=FORMATS, default="all", help="what to write (default: all)")
    parser.add_argument(
        "--output",
        help="folder to write to (default: exported/ in the run's folder; for a packaged policy in the working "
        "directory)",
    )
    parser.add_argument(
        "--task",
        default="distillation",
        help="task whose runs --load_run names, unless the run has its own params",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest difference of an action on the same observations, as a share of the actions' scale: "
        "their root mean square over the flight, or the action itself, if it is larger (default: 0.0001; "
        "crazyflie: 0.002)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input, 1 if an export fails.
    """
    args, overrides = parse(build_parser(), argv)
    with errors_as_one_line():
        from foundation.export import ExportError

        try:
            for make in prepare(args, overrides):
                made = make()
                print(f"[Export] {made.path}: {made.facts}\n[Export]   checked: {made.agreement}", flush=True)
        except ExportError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(RUN_FAILED) from None


def prepare(args: argparse.Namespace, overrides: list[str]) -> list[Callable[[], Export]]:
    """Check everything and return a function per format that writes and checks it."""
    from foundation.evaluation.policies import load_policy
    from foundation.export import ExportError, Origin, Source, export
    from foundation.export.closed_loop import require_tolerance
    from foundation.export.crazyflie import Vehicle, flown_cfg
    from foundation.export.exporter import ALL, require_tools
    from foundation.export.network import why_not_c
    from foundation.tasks import create_env, load_task, resolve

    try:
        if args.tolerance is not None:
            require_tolerance(args.tolerance)
    except ExportError as error:
        raise UsageError(f"--tolerance: {error}") from None
    task = load_task(args.task)
    experiment = resolve(task.agent_cfg)().experiment_name
    if args.task in WITH_STUDENT and args.checkpoint is None and args.load_run is None:
        checkpoint = newest_or_packaged(args.task, experiment, "Export")
    else:
        checkpoint = find_checkpoint(args.checkpoint, args.load_run, experiment)
    if str(checkpoint) == EXPERT:
        raise UsageError("--checkpoint expert is no network: it reads the vehicle's parameters; export a student")
    if any(override.startswith("env.num_envs=") for override in overrides):
        raise UsageError(f"env.num_envs has no effect: {NUM_ENVS} vehicles check an export")
    env_cfg = flown_environment(task, {"policy": checkpoint}, overrides, {"env.num_envs": NUM_ENVS})
    forms = ALL if args.format == "all" else (args.format,)
    require_tools(forms)
    output = beside(checkpoint, EXPORTED) if args.output is None else Path(args.output)
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; give a folder")
    env = create_env(args.task, env_cfg, "cpu", seed=0)
    print_vehicle(env, "Export")
    policy = load_policy(checkpoint, env.get_observations(), env.num_actions, "cpu")
    origin = Origin(f"{checkpoint.parent.name}/{checkpoint.name}", 1.0 / env_cfg.sim.dt)

    def write(form: str) -> Export:
        flies_crazyflie = form == "crazyflie"
        vehicle = Vehicle.of(env_cfg, env.nominal) if flies_crazyflie else None
        cfg = flown_cfg(env_cfg) if flies_crazyflie else env_cfg
        make_env = partial(create_env, args.task, cfg, "cpu", seed=0)
        source = Source(policy.model, origin, make_env, vehicle, args.tolerance)
        return export(source, form, output)

    print(f"[Export] {policy.role}: {checkpoint}", flush=True)
    if args.format == "all" and (reason := why_not_c(policy.model)):
        print(f"[Export] no policy.h: {reason}", flush=True)
        forms = tuple(form for form in forms if form != "c")
    return [partial(write, form) for form in forms]
