"""Where each quantity begins in an array that torch and the kernels share.

Kernels address arrays by row and column numbers. An array's layout is one dictionary of names and widths; the
numbers follow from it, so that a quantity is added or widened in one place.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

STATE = {"pos_w": 3, "quat_wb": 4, "vel_w": 3, "ang_vel_b": 3, "rotor": 4, "force_w": 3}
"""Rows of the state array; see the attributes of :class:`foundation.sim.simulator.Simulator`."""


def first_indices(widths: Mapping[str, int]) -> Any:
    """Return a class whose attributes are the first row or column of each quantity, by its name in capitals.

    Kernels read them as constants: ``Row.QUAT_WB + 3``.
    """
    firsts = itertools.accumulate(widths.values(), initial=0)
    return type("Index", (), {name.upper(): first for name, first in zip(widths, firsts, strict=False)})


Row: Any = first_indices(STATE)
"""First row of each quantity in the state array."""
