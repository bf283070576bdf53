"""List runs with their key figures, oldest first."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.rsl_rl import cli


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    parser = argparse.ArgumentParser(prog="runs", description=__doc__, allow_abbrev=False)
    parser.add_argument("folder", nargs="?", default=str(cli.LOG_ROOT), help=f"where (default: {cli.LOG_ROOT})")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args = build_parser().parse_args(argv)
    from foundation.evaluation.evaluation import print_table
    from foundation.evaluation.runs import HEADER, find_runs, read_run

    with cli.errors_as_one_line():
        root = Path(args.folder)
        paths = find_runs(root) if root.is_dir() else []
        if not paths:
            raise cli.UsageError(f"there are no runs under {root}; foundation train makes one")
        print_table(HEADER, [read_run(path).row() for path in paths])


if __name__ == "__main__":
    main(sys.argv[1:])
