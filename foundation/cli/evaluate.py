"""Fly a teacher and a student on the same seeds and first states, and compare them."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.cli.errors import UsageError, errors_as_one_line
from foundation.cli.flags import check_device, flight_parser, parse
from foundation.cli.flown import flown_environment, print_vehicle
from foundation.cli.paths import beside, find_checkpoint, newest_or_packaged, require_writable
from foundation.tasks.packaged import EXPERT, WITH_STUDENT

if TYPE_CHECKING:
    from foundation.evaluation.evaluation import Evaluation


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = flight_parser("evaluate", __doc__, "", num_envs=1024)
    parser.add_argument(
        "--teacher",
        help="a teacher's checkpoint or run folder, or expert, which task foundation also flies if neither "
        "--teacher nor --student is given",
    )
    parser.add_argument("--student", help="a student's checkpoint or run folder, distilled or fine-tuned")
    parser.add_argument(
        "--num_seeds", type=int, default=5, help="seeds to fly, from --seed on, for intervals (default: 5)"
    )
    parser.add_argument("--json", help="file to write the result to")
    parser.add_argument(
        "--report",
        help="HTML file to write the report to (default: report.html in the run's folder, the student's if there "
        "is one; for the packaged teacher in the working directory)",
    )
    parser.add_argument("--no_report", action="store_true", help="write no report")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    args, overrides = parse(build_parser(), words)
    with errors_as_one_line():
        evaluate(args, overrides, f"foundation evaluate {shlex.join(words)}")


def evaluate(args: argparse.Namespace, overrides: list[str], command: str) -> None:
    """Fly, print the comparison, and write the files that the flags name.

    Args:
        args: The flags.
        overrides: Settings of the environment.
        command: The command that repeats the evaluation, for the report.
    """
    from foundation import evaluation
    from foundation.tasks import create_env, load_task

    task = load_task(args.task)
    check_device(args.device)
    _check_flags(args)
    flags = {"env.num_envs": args.num_envs, "env.episode_steps": args.steps}
    checkpoints = _checkpoints(args)
    env_cfg = flown_environment(task, checkpoints, overrides, flags)
    report = None if args.no_report else _report_path(args.report, checkpoints)

    def make_env(seed: int) -> Any:
        return create_env(args.task, env_cfg, args.device, seed)

    env = make_env(args.seed)
    print_vehicle(env, "Evaluate")
    policies = {
        role: evaluation.load_policy(path, env.get_observations(), env.num_actions, args.device, role)
        for role, path in checkpoints.items()
    }
    for role, policy in policies.items():
        print(f"[Evaluate] {role}: {policy.path}", flush=True)
    seeds = range(args.seed, args.seed + args.num_seeds)
    result = evaluation.evaluate(
        policies, make_env, seeds, task=args.task, record_flights=report is not None, progress=Progress
    )
    print(f"\n{result}")
    if result.share is not None:
        print(f"\nThe student reaches {result.share:.2%} of the teacher's mean return.")
    if args.json is not None:
        _write(Path(args.json), _json(result, checkpoints, env_cfg, overrides))
    if report is not None:
        from foundation.evaluation.report import Context

        evaluation.write_report(result, report, Context(command, checkpoints))
        print(f"[Evaluate] wrote {report}")


def _json(result: Evaluation, checkpoints: dict[str, Path], env_cfg: Any, overrides: list[str]) -> str:
    contents = result.to_dict() | {"environment": asdict(env_cfg), "overrides": overrides}
    for role, path in checkpoints.items():
        contents["policies"][role]["checkpoint"] = str(path)
    return json.dumps(contents, indent=2) + "\n"


def _checkpoints(args: argparse.Namespace) -> dict[str, Path]:
    """Return the checkpoints by role."""
    given = {"teacher": args.teacher, "student": args.student}
    checkpoints = {role: find_checkpoint(path, None, None) for role, path in given.items() if path is not None}
    if not checkpoints and args.task in WITH_STUDENT:
        return {"teacher": Path(EXPERT), "student": newest_or_packaged(args.task, args.task, "Evaluate")}
    if not checkpoints:
        raise UsageError("nothing to evaluate; give --teacher, --student, or both")
    return checkpoints


def _check_flags(args: argparse.Namespace) -> None:
    from foundation.evaluation.intervals import MOST_SEEDS

    if not 1 <= args.num_seeds <= MOST_SEEDS:
        raise UsageError(f"--num_seeds must lie in 1 ... {MOST_SEEDS}, got {args.num_seeds}")
    if args.report is not None and args.no_report:
        raise UsageError(f"--report {args.report} has no effect with --no_report")
    if args.json is not None:
        require_writable("--json", args.json)


def _report_path(given: str | None, checkpoints: dict[str, Path]) -> Path:
    path = Path(given) if given else beside(checkpoints.get("student") or checkpoints["teacher"], "report.html")
    require_writable("--report", path)
    return path


def _write(path: Path, text: str) -> None:
    from foundation.evaluation.page import write_whole

    write_whole(path, text)
    print(f"[Evaluate] wrote {path}")


class Progress:
    """Prints progress and the time left to stderr, at most once a second."""

    def __init__(self, label: str, command: str = "Evaluate") -> None:
        """Start the clock; lines begin with the command and a label."""
        self._label = f"[{command}] {label}"
        self._start = time.monotonic()
        self._last = self._start

    def __call__(self, done: int, total: int) -> None:
        """Say that ``done`` of ``total`` steps are done."""
        now = time.monotonic()
        if now - self._last < 1.0:
            return
        self._last = now
        left = (now - self._start) * (total - done) / done
        print(f"{self._label}: step {done}/{total}, {left:.0f} s left", file=sys.stderr, flush=True)
