"""Compile exported C and call it."""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundation.export.errors import ExportError

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-ffreestanding")
"""Compiler flags that exported C must pass."""
BRIDGE = """\
#include <stddef.h>
#include "policy.h"
size_t exported_state_size(void);
void exported_reset(policy_state_t *state);
void exported_step(policy_state_t *state, const float *obs, float *actions);
size_t exported_state_size(void) { return sizeof(policy_state_t); }
void exported_reset(policy_state_t *state) { policy_reset(state); }
void exported_step(policy_state_t *state, const float *obs, float *actions) { policy_step(state, obs, actions); }
"""


@dataclass(frozen=True)
class Compiled:
    """A shared library of exported C."""

    path: Path
    stack_bytes: int | None
    """Sum of the stack of all exported functions; None if the compiler does not report it."""
    compiler: str


def c_compiler() -> list[str]:
    """Return the command of the C compiler: the environment variable ``CC``, or ``cc``.

    Raises:
        ExportError: If there is none.
    """
    compiler = shlex.split(os.environ.get("CC", "")) or ["cc"]
    if shutil.which(compiler[0]) is None:
        raise ExportError(
            f"exported C is compiled to check it, and there is no compiler {compiler[0]!r}; install gcc or clang, "
            "or name one in the environment variable CC"
        )
    return compiler


def compile_c(sources: Sequence[Path], include: Sequence[Path], output: Path, *flags: str) -> Compiled:
    """Compile sources to a shared library, with warnings as errors.

    Args:
        sources: The C files.
        include: Folders of headers.
        output: The library to write.
        *flags: Other flags.

    Raises:
        ExportError: If there is no C compiler, or it refuses the sources.
    """
    compiler = c_compiler()
    command = [*compiler, *STRICT, *flags, "-Os", "-fPIC", "-shared", "-fstack-usage"]
    command += [f"-I{folder.resolve()}" for folder in include]
    # The compiler writes the stack usage (*.su) into its working directory.
    done = subprocess.run(
        [*command, *(str(source.resolve()) for source in sources), "-o", str(output.resolve()), "-lm"],
        cwd=output.parent,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        reason = done.stderr.strip() or f"{compiler[0]} ended with code {done.returncode}"
        raise ExportError(f"the exported C does not compile: {reason}")
    return Compiled(output, _stack(output.parent), compiler[0])


class CStepper:
    """Runs the library of ``policy.h``."""

    def __init__(self, library: Path, num_envs: int, num_actions: int) -> None:
        """Load the library and reset every vehicle."""
        self._library = ctypes.CDLL(str(library.resolve()))
        self._library.exported_state_size.restype = ctypes.c_size_t
        size = self._library.exported_state_size()
        # Not zeros, so that an incomplete reset is noticed.
        self._states = np.full((num_envs, size), 0xFF, dtype=np.uint8)
        self.state_bytes = size
        """Size of the state of one vehicle."""
        self._num_actions = num_actions
        self.reset(np.ones(num_envs, dtype=bool))

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Return the actions (N, A) for observations (N, O)."""
        rows = np.ascontiguousarray(obs, dtype=np.float32)
        actions = np.empty((len(rows), self._num_actions), dtype=np.float32)
        for state, row, action in zip(self._states, rows, actions, strict=True):
            self._library.exported_step(*(ctypes.c_void_p(array.ctypes.data) for array in (state, row, action)))
        return actions

    def reset(self, dones: np.ndarray) -> None:
        """Reset the recurrent state of the vehicles in a mask of shape (N,)."""
        for index in dones.nonzero()[0]:
            self._library.exported_reset(ctypes.c_void_p(self._states[index].ctypes.data))


def _stack(folder: Path) -> int | None:
    """Return the sum over all functions but the bridge's: an upper bound, as if all were active at once."""
    lines = [line.split("\t") for file in folder.glob("*.su") for line in file.read_text().splitlines()]
    return sum(int(used) for place, used, _ in lines if ":bridge_" not in place) if lines else None
