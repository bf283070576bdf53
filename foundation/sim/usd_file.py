"""Open a USD file; a damaged one raises an error instead of hanging or crashing this process."""

# usd-core ships no type information.
# pyright: reportAttributeAccessIssue=false
from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from foundation.sim import usd_text

if TYPE_CHECKING:
    from pxr import Sdf, Usd

LONGEST_READ = 10
"""Timeout of reading a binary file [s]: USD can hang on a damaged one."""
_BINARY = (b"PXR-USDC", b"PK")
_LFS = b"version https://git-lfs"

_EXPECTED = (
    "a readable USD file (.usd, .usda, .usdc, .usdz) with one rigid body that has mass and inertia, and "
    "four propellers attached to it by revolute joints along its vertical axis, one in each quadrant, that turn "
    "in alternating directions"
)


class UsdVehicleError(ValueError):
    """A USD file does not describe a quadrotor; the message names path, finding and expectation."""

    def __init__(self, path: str, found: str, way_out: str | None = None) -> None:
        """Compose the message from path, what was found in the file, and the way out; None is the usual one."""
        super().__init__(f"usd_path={path}: found {found}; {way_out or f'expected {_EXPECTED}'}")


@contextlib.contextmanager
def usd_errors(path: str) -> Iterator[None]:
    """Turn errors that USD raises about the file at ``path`` into a :class:`UsdVehicleError`."""
    from pxr import Tf

    try:
        try:
            yield
        except Tf.ErrorException as error:
            # USD's own words repeat the file's: they are not always UTF-8 either.
            raise UsdVehicleError(path, f"what USD cannot read ({shown(error.args[0].commentary)})") from error
    except UnicodeError as error:  # damaged text, which Python reads only now
        raise UsdVehicleError(path, "text that is not UTF-8") from error


def open_stage(path: str) -> Usd.Stage:
    """Return the stage of a USD file.

    Raises:
        UsdVehicleError: If the file is missing or USD cannot open it.
    """
    from pxr import Tf, Usd, UsdUtils

    if not os.path.isfile(path):
        raise UsdVehicleError(path, "no such file")
    quiet = UsdUtils.CoalescingDiagnosticDelegate()  # takes USD's warnings of missing files, which our error names
    try:
        with open(path, "rb") as file:
            start = file.read(len(_LFS))
        if start == _LFS:
            raise UsdVehicleError(path, "a pointer of Git LFS instead of the file itself; run git lfs pull")
        if not start:
            raise UsdVehicleError(path, "an empty file")
        if start.startswith(_BINARY):
            return Usd.Stage.Open(_read_apart(path))
        stage = Usd.Stage.Open(path)
        names = usd_text.unopened_files(stage)
    except (Tf.ErrorException, UnicodeError, OSError) as error:  # UnicodeError for names that are not UTF-8
        raise UsdVehicleError(path, "a file that USD cannot open") from error
    finally:
        del quiet
    if names:
        raise _incomplete(path, names)
    return stage


def _incomplete(path: str, names: str) -> UsdVehicleError:
    return UsdVehicleError(
        path, f"a sublayer, reference or payload whose file is missing or cannot be opened ({names})"
    )


def _read_apart(path: str) -> Sdf.Layer:
    """Return a binary file as a text layer.

    A child process reads it: a damaged file can make USD hang or crash.
    """
    from pxr import Sdf

    command = [sys.executable, "-m", usd_text.__name__, path]
    # The package may be importable only because of this process's own sys.path.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(word for word in sys.path if word),
        "PYTHONSAFEPATH": "1",
    }
    try:
        done = subprocess.run(command, env=environment, capture_output=True, timeout=LONGEST_READ, check=True)
    except subprocess.TimeoutExpired as error:
        raise UsdVehicleError(path, f"a binary file that USD does not finish within {LONGEST_READ} s") from error
    except subprocess.CalledProcessError as error:
        if error.returncode == usd_text.INCOMPLETE:
            raise _incomplete(path, " ".join(error.stdout.decode(errors="replace").split())) from None
        words = error.stderr.decode(errors="replace").split("\n")
        reason = next((line for line in reversed(words) if line.strip()), "no reason given")
        raise UsdVehicleError(path, f"a binary file that USD cannot open ({shown(reason)})") from error
    layer = Sdf.Layer.CreateAnonymous(".usda")
    layer.ImportFromString(done.stdout.decode())
    return layer


def shown(value: object) -> str:
    """Return a value as one line of at most 83 characters, for a message."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:80]}..."
