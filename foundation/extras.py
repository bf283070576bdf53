"""Packages that not everybody installs: a missing one is named together with the extra that brings it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_OF_QUADROTOR = ("hydra", "matplotlib", "omegaconf", "psutil", "pxr", "rich", "tensorboard", "warp", "yaml")
"""What the extra ``quadrotor`` brings, under the names of the imports."""


class MissingExtraError(ModuleNotFoundError):
    """A package of an extra is not installed."""


@contextlib.contextmanager
def needs_quadrotor(what: str) -> Iterator[None]:
    """Name the extra where one of its packages cannot be imported.

    Args:
        what: What is being used, for the message.

    Raises:
        MissingExtraError: If a package of the extra is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _OF_QUADROTOR:
            raise
        raise MissingExtraError(
            f"{what} needs {package}, which is not installed; pip install 'foundation-distill[quadrotor]'",
            name=error.name,
        ) from error
