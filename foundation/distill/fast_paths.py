"""The one place where the core meets :mod:`foundation.distill.fast`."""

from __future__ import annotations

import importlib
from typing import TypeVar

T = TypeVar("T")
FAST = "foundation.distill.fast"


def fastest(plain: type[T], use_fast_paths: bool = True) -> type[T]:
    """Return the subclass in ``distill/fast`` with the same results in less time, or the class itself.

    Args:
        plain: A class of the core.
        use_fast_paths: The option of that name; False always gives the class itself.
    """
    if not use_fast_paths:
        return plain
    try:
        # A folder that is left with its bytecode alone is a package without contents.
        substitutes = getattr(importlib.import_module(FAST), "SUBSTITUTES", {})
    except ModuleNotFoundError as error:
        if error.name != FAST:
            raise
        return plain  # the folder was deleted: training is only slower
    return substitutes.get(plain, plain)
