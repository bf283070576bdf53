"""List runs with their key figures, oldest first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from foundation.cli.errors import UsageError, errors_as_one_line
from foundation.cli.flags import command_parser
from foundation.cli.paths import LOG_ROOT


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("runs", __doc__)
    parser.add_argument("folder", nargs="?", default=str(LOG_ROOT), help=f"folder to search (default: {LOG_ROOT})")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    root = Path(build_parser().parse_args(argv).folder)
    with errors_as_one_line():
        from foundation.evaluation.columns import aligned
        from foundation.evaluation.runs import HEADER, find_runs, read_run
        from foundation.tasks.saved_params import ConfigError

        paths = find_runs(root) if root.is_dir() else []
        if not paths:
            raise UsageError(f"there are no runs under {root}; foundation train makes one")
        rows = []
        for path in paths:
            try:
                rows.append(read_run(path).row())
            except ConfigError as error:
                print(f"[Runs] passed over {path}: {error}", flush=True)
        if not rows:
            raise UsageError(f"there is no readable run under {root}")
        print(aligned(HEADER, rows))
