"""Ending a run on request: the iteration under way is finished first."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what schedulers send before they kill."""


class TrainingStopped(KeyboardInterrupt):
    """A run ended early because a signal asked for it."""

    def __init__(self, signum: int) -> None:
        """Remember which signal it was."""
        self.signum = signum
        super().__init__(signal.Signals(signum).name)


class StopRequest:
    """While entered, the first SIGINT or SIGTERM is remembered, and the second one ends the process at once.

    Outside the main thread, where Python does not allow it, signals are left as they are.
    """

    def __init__(self) -> None:
        """Begin with no request."""
        self._signum: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            self._before = {signum: signal.signal(signum, self._handle) for signum in STOP_SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for signum, handler in self._before.items():
            # None is a handler that Python does not know.
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)

    def check(self) -> None:
        """Obey a request.

        Raises:
            TrainingStopped: If there is one.
        """
        if self._signum is not None:
            raise TrainingStopped(self._signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            # Not even buffers are flushed: whatever hangs must not hold this up.
            os._exit(128 + signum)
        self._signum = signum
        name = signal.Signals(signum).name
        # Written past print's lock, which the interrupted code may hold.
        message = f"\n[Run] {name}: finishing the iteration, then saving; a second signal ends the run at once\n"
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, message.encode())
