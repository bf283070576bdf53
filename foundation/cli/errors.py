"""Errors of the commands: one line on stderr and an exit code."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

USAGE_ERROR = 2
"""Exit code of bad input."""
RUN_FAILED = 1
"""Exit code of a run that ended with NaN or infinity, and of an export that failed."""
INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells have it."""


class UsageError(ValueError):
    """A flag has a value that cannot work."""


@contextlib.contextmanager
def interrupts_as_one_line() -> Iterator[None]:
    """Turn Ctrl-C into one line on stderr and exit code 130, also while modules are imported."""
    try:
        yield
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


@contextlib.contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turn errors of bad input into one line on stderr and exit code 2."""
    from foundation.distill.checkpoint import CheckpointError
    from foundation.distill.ranks import LostRankError
    from foundation.evaluation import EvaluationError
    from foundation.sim.usd import UsdVehicleError
    from foundation.tasks.saved_params import ConfigError
    from foundation.viewer.errors import ViewerError

    try:
        with interrupts_as_one_line():
            yield
    except (
        UsageError,
        ConfigError,
        CheckpointError,
        LostRankError,
        EvaluationError,
        UsdVehicleError,
        ViewerError,
        OSError,
    ) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None


def _one_line(error: Exception) -> str:
    """Return the message with every unprintable character escaped: a quoted name may hold control sequences."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(error))
