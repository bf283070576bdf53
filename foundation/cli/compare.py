"""Compare runs: key figures and differing settings as tables, overlaid curves on a page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from foundation.cli.errors import UsageError, errors_as_one_line
from foundation.cli.flags import command_parser
from foundation.cli.paths import require_writable


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("compare", __doc__)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder, or a folder of runs for its newest; at least two"
    )
    parser.add_argument("--output", default="compare.html", help="page to write (default: compare.html)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args = build_parser().parse_args(argv)
    with errors_as_one_line():
        compare(args.runs, Path(args.output))


def compare(folders: Sequence[str], output: Path) -> None:
    """Print the tables and write the page."""
    from foundation.evaluation.columns import aligned
    from foundation.evaluation.page import write_whole
    from foundation.evaluation.runs import HEADER, comparison, differences, distinct_names, read_run

    require_writable("--output", output)
    runs = [read_run(path) for path in _run_folders(folders)]
    print(aligned(HEADER, [run.row() for run in runs]))
    differing = differences(runs)
    print("\nSettings that differ:" if differing else "\nAll settings are the same.")
    if differing:
        print(aligned(["setting", *distinct_names(runs)], differing))
    write_whole(output, comparison(runs))
    print(f"[Compare] wrote {output}")


def _run_folders(folders: Sequence[str]) -> list[Path]:
    from foundation.evaluation.runs import find_runs

    if len(folders) < 2:
        raise UsageError(f"there is nothing to compare {folders[0]} with; give at least two runs")
    paths: list[Path] = []
    for folder in folders:
        found = find_runs(Path(folder).expanduser()) if Path(folder).expanduser().is_dir() else []
        if not found:
            raise UsageError(f"{folder} is no run's folder, which has params/agent.yaml, and holds none")
        run = found[-1].resolve()
        if run in paths:
            raise UsageError(f"{folder} stands for {run}, which is given twice; compare it with another run")
        paths.append(run)
    return paths
