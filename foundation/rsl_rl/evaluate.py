"""Fly a teacher and a student on the same seeds and first states, and compare them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.rsl_rl import cli

if TYPE_CHECKING:
    from foundation.evaluation.evaluation import Evaluation


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = cli.flight_parser("evaluate", __doc__, num_envs=1024)
    parser.add_argument("--teacher", help="a teacher's checkpoint or run folder")
    parser.add_argument("--student", help="a student's checkpoint or run folder, distilled or fine-tuned")
    parser.add_argument(
        "--num_seeds", type=int, default=5, help="seeds to fly, beginning with --seed, for intervals (default: 5)"
    )
    parser.add_argument("--json", help="file to write the result to")
    parser.add_argument(
        "--report",
        help="HTML file to write the report to (default: report.html in the run's folder, the student's where "
        "there is one; of the packaged teacher: in the working directory)",
    )
    parser.add_argument("--no_report", action="store_true", help="write no report")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args, overrides = cli.parse(build_parser(), words)
    with cli.errors_as_one_line():
        evaluate(args, overrides, f"foundation evaluate {shlex.join(words)}")


def evaluate(args: argparse.Namespace, overrides: list[str], command: str) -> Evaluation:
    """Fly, print the comparison, and write what the flags ask for."""
    from foundation.evaluation.evaluation import Evaluation, print_table
    from foundation.evaluation.policies import load_policy
    from foundation.evaluation.report import Context, write_report
    from foundation.tasks import create_env, load_task
    from foundation.tasks.config import compose

    task = load_task(args.task)
    cli.check_device(args.device)
    _check_flags(args)
    flags = {"env.num_envs": args.num_envs, "env.episode_steps": args.steps}
    env_cfg, _ = compose(task, overrides, groups=("env",), flags=flags)
    paths = {"teacher": args.teacher, "student": args.student}
    chosen = {role: cli.find_checkpoint(path, None, None) for role, path in paths.items() if path is not None}
    if not chosen:
        raise cli.UsageError("nothing to evaluate; give --teacher, --student, or both")
    report = None if args.no_report else _report_path(args.report, chosen)
    env = create_env(args.task, env_cfg, args.device, args.seed)
    example = env.get_observations()
    policies = {
        role: load_policy(path, example, env.num_actions, args.device, role) for role, path in chosen.items()
    }
    for role, policy in policies.items():
        print(f"[Evaluate] {role}: {policy.path}", flush=True)
    seeds = list(range(args.seed, args.seed + args.num_seeds))
    result = Evaluation(args.task, args.num_envs, env_cfg.episode_steps, seeds)

    def make_env(seed: int) -> Any:
        return create_env(args.task, env_cfg, args.device, seed)

    result.fly(policies, make_env, _Progress, keep_flights=report is not None)
    flown = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]} to {seeds[-1]}"
    print(f"\n{result.episodes} episodes of {result.steps} steps, {flown}")
    print_table(*result.table())
    if result.share is not None:
        print(f"\nThe student reaches {result.share:.2%} of the teacher's mean return.")
    if args.json is not None:
        _write(Path(args.json), json.dumps(result.to_dict(), indent=2) + "\n")
    if report is not None:
        write_report(result, Context(command, chosen, env_cfg.metrics.settle_radius), report)
        print(f"[Evaluate] wrote {report}")
    return result


def _check_flags(args: argparse.Namespace) -> None:
    from foundation.evaluation.intervals import MOST_SEEDS

    if not 1 <= args.num_seeds <= MOST_SEEDS:
        raise cli.UsageError(f"--num_seeds must lie in 1 ... {MOST_SEEDS}, got {args.num_seeds}")
    if args.report is not None and args.no_report:
        raise cli.UsageError(f"--report {args.report} has no effect with --no_report")
    if args.json is not None:
        cli.require_writable("--json", args.json)


def _report_path(given: str | None, chosen: dict[str, Path]) -> Path:
    path = Path(given) if given else cli.beside(chosen.get("student") or chosen["teacher"], "report.html")
    cli.require_writable("--report", path)
    return path


def _write(path: Path, text: str) -> None:
    from foundation.evaluation.page import write_whole

    write_whole(path, text)
    print(f"[Evaluate] wrote {path}")


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
