"""Child processes for faults: spawned, never forked, and with a time limit whose end says what hung."""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import signal
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

# A forked child has the locks of its parent's threads, but not the threads: torch would wait for them forever.
SPAWN = multiprocessing.get_context("spawn")
LIMIT = 60.0
"""Seconds that a child may take from one message to the next, its imports included."""


class Child:
    """A function in a process of its own, and a pipe from there."""

    def __init__(self, function: Callable[..., None], *args: Any) -> None:
        """Start the function.

        Args:
            function: Called with the arguments and the pipe's end; of a module, as the child has to import it.
            *args: Arguments that can be pickled.
        """
        self._name = function.__name__
        descriptor, name = tempfile.mkstemp(prefix="child-", suffix=".txt")
        os.close(descriptor)
        self._errors = Path(name)
        weakref.finalize(self, self._errors.unlink)
        self._pipe, there = SPAWN.Pipe(duplex=False)
        self.process = SPAWN.Process(target=_run, args=(function, args, there, self._errors))
        self.process.start()
        there.close()

    def receive(self, limit: float = LIMIT) -> Any:
        """Return the next message.

        Raises:
            EOFError: If the child has ended without one.
            AssertionError: If there is none within ``limit`` seconds; the message shows where the child hangs.
        """
        if not self._pipe.poll(limit):
            self._give_up(f"sent nothing for {limit:g} s")
        return self._pipe.recv()

    def wait(self, limit: float = LIMIT) -> int | None:
        """Wait until the process has ended, and return its exit code.

        Raises:
            AssertionError: If it has not after ``limit`` seconds; the message shows where the child hangs.
        """
        self.process.join(limit)
        if self.process.is_alive():
            self._give_up(f"had not ended after {limit:g} s")
        return self.process.exitcode

    def _give_up(self, what: str) -> NoReturn:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGUSR1)
        self.process.join(1.0)
        self.kill()
        raise AssertionError(f"{self._name} {what}. It was here:\n{self.errors()}")

    def messages(self) -> Iterator[Any]:
        """Yield the messages that have been sent."""
        with contextlib.suppress(EOFError):
            while self._pipe.poll():
                yield self._pipe.recv()

    def errors(self) -> str:
        """Return what the child wrote to standard error."""
        return self._errors.read_text(errors="replace")  # USD repeats bytes of damaged files

    def kill(self) -> None:
        """End the child at once."""
        self.process.kill()
        self.process.join()


def _run(function: Callable[..., None], args: tuple, answers: Connection, errors: Path) -> None:
    # The interpreter's own descriptor, which C code writes to, too.
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), 2)
    faulthandler.register(signal.SIGUSR1, sys.__stderr__, all_threads=True)
    function(*args, answers)


def in_child(function: Callable[..., Any], *args: Any, limit: float = LIMIT) -> Any:
    """Return the result of a function in a process of its own, with limits and faults of its own.

    Raises:
        AssertionError: If the function raised, took longer than ``limit`` seconds, or its process died.
    """
    child = Child(_answer, function, args)
    try:
        kind, value = child.receive(limit)
    except EOFError:
        code = child.wait()
        raise AssertionError(f"{function.__name__} ended with code {code}:\n{child.errors()}") from None
    child.wait()
    assert kind == "result", value
    return value


def _answer(function: Callable[..., Any], args: tuple, answers: Connection) -> None:
    try:
        result = ("result", function(*args))
    except BaseException as error:
        result = ("error", f"{type(error).__name__}: {error}")
    answers.send(result)
