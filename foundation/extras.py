"""Packages that not everybody installs: a missing one is named together with the extra that brings it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_PACKAGES = {
    "quadrotor": ("hydra", "matplotlib", "omegaconf", "psutil", "pxr", "rich", "tensorboard", "warp", "yaml"),
    "gymnasium": ("gymnasium",),
    "raptor": ("foundation_policy", "importlib_resources"),
    "datasets": ("PIL", "gymnasium", "h5py", "minari", "pyarrow"),
}
"""What extras bring, under the names of the imports."""


class MissingExtraError(ModuleNotFoundError):
    """A package of an extra is not installed."""


def needs_quadrotor(what: str) -> contextlib.AbstractContextManager[None]:
    """Name the extra ``quadrotor`` where one of its packages cannot be imported; see :func:`needs_extra`."""
    return needs_extra("quadrotor", what)


@contextlib.contextmanager
def needs_extra(extra: str, what: str) -> Iterator[None]:
    """Name an extra where one of its packages cannot be imported.

    Args:
        extra: Name of the extra.
        what: What is being used, for the message.

    Raises:
        MissingExtraError: If a package of the extra is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES[extra]:
            raise
        raise MissingExtraError(
            f"{what} needs {package}, which is not installed; pip install 'foundation-distill[{extra}]'",
            name=error.name,
        ) from error


@contextlib.contextmanager
def needs_host(host: str, what: str, *others: str) -> Iterator[None]:
    """Name a host, such as mjlab, where one of its packages cannot be imported.

    Args:
        host: Name with which pip installs it, and with which the names of its packages begin.
        what: What is being used, for the message.
        others: Further packages that the host brings.

    Raises:
        MissingExtraError: If a package of the host is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith((host, *others)):
            raise
        raise MissingExtraError(
            f"{what} needs {error.name}, which is not installed; pip install {host}", name=error.name
        ) from error
