"""Means and confidence intervals over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# 97.5 % quantiles of Student's t distribution for 1, 2, ... degrees of freedom.
_T_975 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
)  # fmt: skip
MOST_SEEDS = len(_T_975) + 1


@dataclass(frozen=True)
class Interval:
    """A mean and half the width of its 95 % confidence interval."""

    mean: float | None
    """None where no seed has a value."""
    half: float | None
    """None where fewer than two seeds have one."""


def interval(values: Sequence[float | None]) -> Interval:
    """Return the mean over seeds and its 95 % interval by Student's t; None values are ignored."""
    present = [value for value in values if value is not None]
    if not present:
        return Interval(None, None)
    mean = float(np.mean(present))
    if len(present) < 2:
        return Interval(mean, None)
    half = _T_975[len(present) - 2] * float(np.std(present, ddof=1)) / math.sqrt(len(present))
    return Interval(mean, half)


def ratio_interval(values: Sequence[float | None], reference: Sequence[float | None]) -> Interval:
    """Return the mean over seeds over a reference's, and its 95 % interval.

    The interval is that of the ratio estimator (Cochran, Sampling Techniques, 1977, chapter 6): of the deviations
    ``value - ratio * reference`` on the same seed, over the reference's mean. What both have in common on a seed
    does not widen it. Where the reference's mean is not positive, the ratio says nothing and is None.
    """
    pairs = [(y, x) for y, x in zip(values, reference, strict=True) if y is not None and x is not None]
    base = float(np.mean([x for _, x in pairs])) if pairs else 0.0
    if base <= 0.0:
        return Interval(None, None)
    ratio = float(np.mean([y for y, _ in pairs])) / base
    return Interval(ratio, interval([(y - ratio * x) / base for y, x in pairs]).half)
