"""Short runs and commands that serve pages, shared by the viewer's tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cli.conftest import student_run, teacher_run, workspace  # noqa: F401 (fixtures)

PATIENCE = 60.0
"""Longest wait for a command's output or end [s]."""


class Served:
    """A command that has printed where its page is."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "foundation.cli.main", *words],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._found = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._found.wait(PATIENCE), self.output
        self.url = self._url()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def end(self, signum: int = signal.SIGINT) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(signum)
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def _url(self) -> str:
        found = re.search(r"open (http://\S+) in a browser", self.output)
        assert found, self.output
        return found.group(1)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if "in a browser" in line:
                self._found.set()
        self._found.set()


@contextmanager
def served(*words: str, folder: Path) -> Iterator[Served]:
    command = Served(list(words), folder)
    try:
        yield command
    finally:
        command.process.kill()
        command.process.wait()
