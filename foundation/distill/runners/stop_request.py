"""Stop a run on request, after the iteration under way."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from foundation.distill import ranks

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and the signal that schedulers send before they kill a process."""


class TrainingStopped(KeyboardInterrupt):
    """A run ended early because a signal asked for it."""

    def __init__(self, signum: int) -> None:
        """Keep the number of the signal."""
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


class StopRequest:
    """While entered, the first SIGINT or SIGTERM is recorded, and the second one ends the process at once.

    Outside the main thread Python does not allow handlers, and signals act as usual.
    """

    def __init__(self) -> None:
        """Begin with no request."""
        self._signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._handle) for signum in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Restore the handlers before."""
        for signum, handler in self._before.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)

    def check(self) -> None:
        """Stop if that was requested, of any process of the run.

        Raises:
            TrainingStopped: If there is one.
        """
        signum = ranks.most(self._signum or 0)
        if signum:
            raise TrainingStopped(signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            # Without flushing buffers: the code that hangs must not delay this.
            os._exit(128 + signum)
        self._signum = signum
        name = signal.Signals(signum).name
        # Not print: the interrupted code may hold its lock.
        message = f"\n[Run] {name}: finishing the iteration, then saving; a second signal ends the run at once\n"
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, message.encode())
