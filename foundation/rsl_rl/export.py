"""Write a policy as ONNX, TorchScript, C, or a controller for the Crazyflie, and fly it to check it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.rsl_rl import cli

if TYPE_CHECKING:
    from foundation.export.exporter import Export

FORMATS = ("onnx", "torchscript", "c", "crazyflie", "all")
NUM_ENVS = 8
"""Vehicles that check an export."""

EPILOG = """\
formats
  onnx         policy.onnx: obs, h_in, c_in -> actions, h_out, c_out; normaliser inside, any number of vehicles
  torchscript  policy.pt: actions of one vehicle, keeps its hidden values, reset() begins a flight
  c            policy.h: C99, float32, no allocation; policy_reset and policy_step
  crazyflie    crazyflie/: an app for the Crazyflie firmware, see docs/DEPLOY.md
  all          onnx, torchscript and c

What is written flies 1000 steps in a simulator of its own, beside the checkpoint's policy. If an action differs by
more than 0.001, the export fails (exit code 1) and leaves nothing.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(
        prog="export",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--checkpoint", help="a checkpoint or run folder (default: the newest run's newest)")
    parser.add_argument("--load_run", help="name of the run's folder (default: the newest)")
    parser.add_argument("--format", choices=FORMATS, default="all", help="what to write (default: all)")
    parser.add_argument(
        "--output",
        help="folder to write to (default: exported/ in the run's folder, of the packaged teacher here)",
    )
    parser.add_argument(
        "--task", default="distillation", help="task whose runs --load_run names, if the run does not tell"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input, 1 if an export fails.
    """
    args, overrides = cli.parse(build_parser(), argv)
    with cli.errors_as_one_line():
        from foundation.export import ExportError

        try:
            for make in prepare(args, overrides):
                done = make()
                print(f"[Export] {done.path}: {done.facts}\n[Export]   checked: {done.agreement}", flush=True)
        except ExportError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(cli.RUN_FAILED) from None


def prepare(args: argparse.Namespace, overrides: list[str]) -> list[Callable[[], Export]]:
    """Check everything and return one function for each format, which writes it."""
    from foundation.evaluation.policies import load_policy
    from foundation.export.c_header import Origin
    from foundation.export.exporter import ALL, Source, export, require_tools
    from foundation.tasks import create_env, load_task
    from foundation.tasks.config import compose

    task = load_task(args.task)
    _, agent_cfg = compose(task, [], groups=())
    checkpoint = cli.find_checkpoint(args.checkpoint, args.load_run, agent_cfg.experiment_name)
    params = checkpoint.parent / "params"
    env_cfg, _ = compose(task, overrides, params if params.is_dir() else None, groups=("env",))
    if any(override.startswith("env.num_envs=") for override in overrides):
        raise cli.UsageError(f"env.num_envs has no effect: {NUM_ENVS} vehicles check an export")
    env_cfg = replace(env_cfg, num_envs=NUM_ENVS)
    forms = ALL if args.format == "all" else (args.format,)
    require_tools(forms)
    output = cli.beside(checkpoint, "exported") if args.output is None else Path(args.output)
    if output.exists() and not output.is_dir():
        raise cli.UsageError(f"--output {output} is a file; give a folder")
    env = create_env(args.task, env_cfg, "cpu", seed=0)
    policy = load_policy(checkpoint, env.get_observations(), env.num_actions, "cpu")
    origin = Origin(f"{checkpoint.parent.name}/{checkpoint.name}", 1.0 / env_cfg.sim.dt)

    def source(form: str) -> Source:
        if form == "crazyflie":
            return _for_the_crazyflie(policy.model, origin, env_cfg, env.nominal, args.task)
        return Source(policy.model, origin, lambda: create_env(args.task, env_cfg, "cpu", seed=0))

    print(f"[Export] {policy.role}: {checkpoint}", flush=True)
    return [lambda form=form: export(source(form), form, output) for form in forms]


def _for_the_crazyflie(model: Any, origin: Any, env_cfg: Any, nominal: Any, task: str) -> Any:
    from foundation.export.crazyflie import Vehicle, flown_cfg
    from foundation.export.exporter import Source
    from foundation.tasks import create_env

    vehicle, flown = Vehicle.of(env_cfg, nominal), flown_cfg(env_cfg)
    return Source(model, origin, lambda: create_env(task, flown, "cpu", seed=0), vehicle)


if __name__ == "__main__":
    main(sys.argv[1:])
