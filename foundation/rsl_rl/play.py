"""Fly a policy and save a picture of the flight."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.rsl_rl import cli


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = cli.flight_parser("play", __doc__, num_envs=8)
    parser.add_argument(
        "--checkpoint", help="a checkpoint or run folder, of a teacher or a student, distilled or fine-tuned"
    )
    parser.add_argument("--load_run", help="name of the run's folder (default: the newest)")
    parser.add_argument("--output", help="picture to write (default: plots/<checkpoint>.png in the run's folder)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args, overrides = cli.parse(build_parser(), argv)
    with cli.errors_as_one_line():
        path = play(args, overrides)
    print(f"[Play] wrote {path}")


def play(args: argparse.Namespace, overrides: list[str]) -> Path:
    """Fly the policy and return the path of the picture."""
    from foundation.evaluation.plots import plot_flight
    from foundation.evaluation.policies import load_policy
    from foundation.evaluation.recording import record
    from foundation.tasks import create_env, load_task
    from foundation.tasks.config import compose

    task = load_task(args.task)
    cli.check_device(args.device)
    env_cfg, agent_cfg = compose(task, overrides, groups=("env",), flags={"env.num_envs": args.num_envs})
    checkpoint = cli.find_checkpoint(args.checkpoint, args.load_run, agent_cfg.experiment_name)
    output = Path(args.output) if args.output else checkpoint.parent / "plots" / f"{checkpoint.stem}.png"
    if output.suffix != ".png":
        raise cli.UsageError(f"--output {output} must end in .png")
    steps = env_cfg.episode_steps if args.steps is None else args.steps
    if not 1 <= steps <= env_cfg.episode_steps:
        raise cli.UsageError(f"--steps must lie in 1 ... {env_cfg.episode_steps} (env.episode_steps), got {steps}")
    env = create_env(args.task, env_cfg, args.device, args.seed)
    policy = load_policy(checkpoint, env.get_observations(), env.num_actions, args.device)
    flight = record(env, policy, steps)
    title = f"{policy.role}, {args.num_envs} vehicles of family {env_cfg.randomization.family}"
    plot_flight(flight, output, title, env_cfg.metrics.settle_radius)
    return output


if __name__ == "__main__":
    main(sys.argv[1:])
