"""Statistical bounds for tests of random draws."""

from __future__ import annotations

import math

import torch


def chi_squared(counts: torch.Tensor) -> float:
    """Return Pearson's statistic of counts that should be equal."""
    expected = counts.double().mean()
    return ((counts.double() - expected).square() / expected).sum().item()


def chi_squared_bound(degrees: int) -> float:
    """Return the 1 - 1e-6 quantile of chi squared, by Wilson and Hilferty's approximation."""
    z = 4.753
    return degrees * (1 - 2 / (9 * degrees) + z * math.sqrt(2 / (9 * degrees))) ** 3
