"""Write the history of a run as a dataset for other libraries."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from foundation.cli.errors import UsageError, errors_as_one_line
from foundation.cli.flags import command_parser
from foundation.cli.paths import find_checkpoint

FORMATS = ("minari", "lerobot")

EPILOG = """\
formats
  minari   HDF5, which minari.load_dataset reads; the folder's name ends with a version: flights-v0
  lerobot  LeRobotDataset v3.0: Parquet

docs/DATASETS.md has the columns. foundation train --task distillation --init_dataset FOLDER begins a run with one.
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = command_parser("dataset", __doc__, EPILOG)
    parser.add_argument("action", choices=("export",), help="what to do")
    parser.add_argument("run", help="a run's folder (its newest intact checkpoint), or a checkpoint")
    parser.add_argument("--format", choices=FORMATS, required=True, help="what to write")
    parser.add_argument("--output", required=True, help="folder of the dataset, which must not exist yet")
    parser.add_argument(
        "--fps", type=float, help="lerobot: steps per second (default: those of the run's environment)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command.

    Raises:
        SystemExit: With code 2 on bad input.
    """
    args = build_parser().parse_args(argv)
    with errors_as_one_line():
        from foundation.distill.datasets import DatasetError
        from foundation.distill.datasets.files import check_export, write_dataset
        from foundation.distill.datasets.saved_history import saved_history

        checkpoint = find_checkpoint(args.run, None, None)
        fps = args.fps
        if fps is None and args.format == "lerobot":
            fps = _steps_per_second(checkpoint)
        try:
            folder = check_export(args.output, args.format, fps)
            print(f"[Dataset] reading the history in {checkpoint}", flush=True)
            recording = saved_history(checkpoint)
            print(
                f"[Dataset] writing {len(recording)} steps, {len(recording.begins)} episodes or parts of them, of "
                f"iterations {recording.versions.min()} to {recording.versions.max()}",
                flush=True,
            )
            write_dataset(recording, folder, args.format, fps)
        except DatasetError as error:
            raise UsageError(f"--format {args.format} --output {args.output}: {error}") from None
        print(f"[Dataset] finished: {args.output}", flush=True)


def _steps_per_second(checkpoint: Path) -> float:
    """Return the rate of the environment in a run's saved parameters [Hz]."""
    from foundation.tasks.saved_params import load_params

    saved = load_params(checkpoint.parent, "env") or {}
    sim = saved.get("sim")
    step = sim.get("dt") if isinstance(sim, dict) else None
    if not isinstance(step, (int, float)) or step <= 0:
        raise UsageError(
            f"{checkpoint.parent} has no params/env.yaml with sim.dt; give the steps per second with --fps"
        )
    return round(1.0 / step, 6)
