"""Fly a teacher and a student on the same seeds and first states, and compare them."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.rsl_rl import cli

if TYPE_CHECKING:
    from foundation.evaluation.flights import FlightMetrics

COLUMNS = {
    "survival": ("survival", "{:.2%}"),
    "mean_return": ("mean return", "{:.2f}"),
    "position_rmse_m": ("position RMSE [m]", "{:.4f}"),
    "settle_time_s": ("settle time [s]", "{:.3f}"),
    "settled": ("settled", "{:.2%}"),
}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = cli.flight_parser("evaluate", __doc__, num_envs=1024)
    parser.add_argument("--teacher", help="a teacher's checkpoint or run folder")
    parser.add_argument("--student", help="a student's checkpoint or run folder, distilled or fine-tuned")
    parser.add_argument("--json", help="file to write the result to")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args, overrides = cli.parse(build_parser(), argv)
    with cli.errors_as_one_line():
        result = evaluate(args, overrides)
        print_table(result)
        if args.json is not None:
            _write_json(result, Path(args.json))
            print(f"[Evaluate] wrote {args.json}")


def evaluate(args: argparse.Namespace, overrides: list[str]) -> dict[str, Any]:
    """Return the result in the form that ``--json`` writes."""
    from foundation.evaluation.flights import fly
    from foundation.evaluation.policies import load_policy
    from foundation.tasks import create_env, load_task
    from foundation.tasks.config import compose

    task = load_task(args.task)
    cli.check_device(args.device)
    if args.json is not None and not Path(args.json).resolve().parent.is_dir():
        raise cli.UsageError(f"--json {args.json}: there is no folder {Path(args.json).resolve().parent}")
    flags = {"env.num_envs": args.num_envs, "env.episode_steps": args.steps}
    env_cfg, _ = compose(task, overrides, groups=("env",), flags=flags)
    paths = {"teacher": args.teacher, "student": args.student}
    chosen = {role: cli.find_checkpoint(path, None, None) for role, path in paths.items() if path is not None}
    if not chosen:
        raise cli.UsageError("nothing to evaluate; give --teacher, --student, or both")
    env = create_env(args.task, env_cfg, args.device, args.seed)
    example = env.get_observations()
    policies = {
        role: load_policy(path, example, env.num_actions, args.device, role) for role, path in chosen.items()
    }
    results: dict[str, FlightMetrics] = {}
    for role, policy in policies.items():
        print(f"[Evaluate] {role}: {policy.path}", flush=True)
        # A new environment with the same seed has the same vehicles, forces and first states.
        env = create_env(args.task, env_cfg, args.device, args.seed)
        results[role] = fly(env, policy, _Progress(role))
    return {
        "task": args.task,
        "episodes": args.num_envs,
        "steps": env_cfg.episode_steps,
        "seed": args.seed,
        "policies": {role: metrics.to_dict() for role, metrics in results.items()},
    }


def print_table(result: dict[str, Any]) -> None:
    """Print one row per policy, and the student's return as a share of the teacher's."""
    header = ["policy", *(title for title, _ in COLUMNS.values())]
    rows = [
        [
            role,
            *("-" if metrics[key] is None else form.format(metrics[key]) for key, (_, form) in COLUMNS.items()),
        ]
        for role, metrics in result["policies"].items()
    ]
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    print(f"\n{result['episodes']} episodes of {result['steps']} steps, seed {result['seed']}")
    for row in [header, ["-" * width for width in widths], *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    policies = result["policies"]
    if len(policies) == 2:
        share = policies["student"]["mean_return"] / policies["teacher"]["mean_return"]
        print(f"\nThe student reaches {share:.2%} of the teacher's mean return.")


def _write_json(result: dict[str, Any], path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n")
    os.replace(temporary, path)


class _Progress:
    """Prints progress and the time left, at most once a second, to a terminal's stderr."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._start = time.monotonic()
        self._last = self._start

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._last < 1.0:
            return
        self._last = now
        left = (now - self._start) * (total - done) / done
        print(f"[Evaluate] {self._label}: step {done}/{total}, {left:.0f} s left", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
