"""Compare runs: key figures and differing settings as tables, curves over each other on a page."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foundation.rsl_rl import cli

if TYPE_CHECKING:
    from foundation.evaluation.runs import Run


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(prog="compare", description=__doc__, allow_abbrev=False)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's folder; at least two")
    parser.add_argument("--output", default="compare.html", help="page to write (default: compare.html)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args = build_parser().parse_args(argv)
    from foundation.evaluation.evaluation import print_table
    from foundation.evaluation.page import write_whole
    from foundation.evaluation.runs import HEADER, comparison, differences, distinct_names

    with cli.errors_as_one_line():
        output = Path(args.output)
        cli.require_writable("--output", output)
        runs = _read(args.runs)
        print_table(HEADER, [run.row() for run in runs])
        differing = differences(runs)
        print("\nSettings that differ:" if differing else "\nAll settings are the same.")
        if differing:
            print_table(["setting", *distinct_names(runs)], differing)
        write_whole(output, comparison(runs))
        print(f"[Compare] wrote {output}")


def _read(folders: list[str]) -> list[Run]:
    from foundation.evaluation.runs import find_runs, read_run

    if len(folders) < 2:
        raise cli.UsageError(f"there is nothing to compare {folders[0]} with; give at least two runs")
    paths = []
    for folder in folders:
        found = find_runs(Path(folder)) if Path(folder).is_dir() else []
        if Path(folder) not in found:
            inside = f"; it holds {', '.join(path.name for path in found)}" if found else ""
            raise cli.UsageError(f"{folder} is no run's folder, which has params/agent.yaml{inside}")
        if Path(folder).resolve() in paths:
            raise cli.UsageError(f"{folder} is given twice; compare it with another run")
        paths.append(Path(folder).resolve())
    return [read_run(path) for path in paths]


if __name__ == "__main__":
    main(sys.argv[1:])
