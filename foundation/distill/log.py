"""The project's logger: plain lines on standard output, as rsl_rl prints them."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from typing import TextIO

RESULT = (logging.INFO + logging.WARNING) // 2
"""Level of lines that are shown in quiet mode although they warn of nothing, such as a run's result."""


class _StandardOutput(logging.Handler):
    """Writes messages as they are to standard output."""

    quiet_stream: TextIO | None = None
    """In quiet mode, where results and warnings still go."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        # Looked up at every line: tests and quiet mode replace sys.stdout.
        stream = sys.stdout if self.quiet_stream is None or record.levelno < RESULT else self.quiet_stream
        print(record.getMessage(), file=stream, flush=True)


_handler = _StandardOutput()
logger = logging.getLogger("foundation")
"""Messages of the project; :mod:`logging` can redirect or silence them."""
logger.addHandler(_handler)
logger.propagate = False
if logger.level == logging.NOTSET:
    logger.setLevel(logging.INFO)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide everything that is printed within, except results and warnings of the logger."""
    before = _handler.quiet_stream
    with open(os.devnull, "w") as nowhere:
        _handler.quiet_stream = before or sys.stdout
        try:
            with contextlib.redirect_stdout(nowhere):
                yield
        finally:
            _handler.quiet_stream = before
