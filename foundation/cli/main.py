"""The console command ``foundation`` and its subcommands."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence

from foundation.cli.errors import USAGE_ERROR, interrupts_as_one_line
from foundation.extras import MissingExtraError, needs_quadrotor

COMMANDS = {
    "train": "train a teacher, or distil a student from one",
    "play": "fly a policy: a picture, live in a browser, a recording, a video",
    "evaluate": "compare teacher and student on the same seeds",
    "track": "fly a policy along a path and measure how well it follows",
    "runs": "list runs with their key figures",
    "compare": "compare runs: figures, settings that differ, overlaid curves",
    "export": "write a policy as ONNX, TorchScript, C, or for the Crazyflie",
    "dataset": "write a run's history as a Minari or LeRobot dataset",
}
"""Each is a module of this package with a ``main``, and the line that describes it."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a subcommand.

    Raises:
        SystemExit: With code 2 if there is no such subcommand, or with the subcommand's code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    usage = (
        "usage: foundation {"
        + ",".join(COMMANDS)
        + "} ...\n\n"
        + "".join(f"  {name:10}{text}\n" for name, text in COMMANDS.items())
    )
    if words and words[0] in ("-h", "--help"):
        print(usage + "\nfoundation COMMAND --help shows a command's flags.")
        return
    if words and words[0] == "--version":
        import foundation

        print(foundation.__version__)
        return
    if not words or words[0] not in COMMANDS:
        print(f"error: expected a command, got {words[0] if words else 'nothing'!r}\n{usage}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)
    run(words[0], words[1:])


def run(command: str, argv: Sequence[str] | None = None) -> None:
    """Run a subcommand, with ``sys.argv`` if no words are given."""
    # For classes given as module:Class, as python -m does; behind everything installed.
    with contextlib.suppress(OSError):  # a folder that has been removed
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
    try:
        with interrupts_as_one_line(), needs_quadrotor(f"foundation {command}"):
            importlib.import_module(f"foundation.cli.{command}").main(argv)
    except MissingExtraError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None


if __name__ == "__main__":
    main()
