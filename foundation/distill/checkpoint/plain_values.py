"""Numbers of NumPy, paths and defaultdicts in checkpoints, read without calling what the file names.

torch calls nothing that a file names, except what is allowed by name; here these names stand for functions of this
module, which build plain values.
"""

from __future__ import annotations

import pathlib
import pickle
import re
from typing import Any

import numpy as np


class _Dtype:
    """The type of a number, as a file describes it."""

    def __init__(self, code: str, *_: Any) -> None:
        if not isinstance(code, str) or not re.fullmatch(r"[biufc]\d{1,2}|[US]\d{1,6}", code):
            raise pickle.UnpicklingError(f"GLOBAL numpy.dtype({code!r})")
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1] if state[1] in ("<", ">") else "="


def _number(dtype: Any, data: bytes) -> Any:
    """Return a number or text of NumPy."""
    if not isinstance(dtype, _Dtype):
        raise pickle.UnpicklingError(f"GLOBAL {type(dtype).__name__}")
    return np.frombuffer(data, dtype=dtype.order + dtype.code)[0]


def _plain_dict(*_: Any) -> dict[Any, Any]:
    """Return an empty dictionary in the place of a defaultdict, which torch does not fill."""
    return {}


def _plain_path(*parts: str) -> pathlib.PurePath:
    """Return a path; of another system's only its parts have a meaning."""
    return pathlib.Path(*parts)


# NumPy 2 and Python 3.13 have moved these; files hold either name.
_CORES = ("numpy.core.multiarray", "numpy._core.multiarray")
_PATHS = ("Posix", "Windows", "PurePosix", "PureWindows")

ALLOWED: list[Any] = [
    *((_number, f"{core}.scalar") for core in _CORES),
    *((_plain_path, f"{module}.{kind}Path") for module in ("pathlib", "pathlib._local") for kind in _PATHS),
    (_Dtype, "numpy.dtype"),
    (_plain_dict, "collections.defaultdict"),
    _Dtype,  # its state may be set
    *(list, dict, set, int, float, str),  # factories of defaultdicts
]
"""What a file may call besides tensors, with the names that files have for it."""
