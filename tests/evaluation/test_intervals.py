"""Confidence intervals against scipy and by coverage."""

from __future__ import annotations

import numpy as np
import pytest

from foundation.evaluation.intervals import MOST_SEEDS, interval


@pytest.mark.parametrize("count", [2, 3, 5, 10, MOST_SEEDS])
def test_it_is_scipys_interval_of_students_t(count, rng):
    stats = pytest.importorskip("scipy.stats")
    values = rng.normal(size=count)
    low, high = stats.t.interval(0.95, count - 1, np.mean(values), stats.sem(values))
    found = interval(values.tolist())
    assert found.mean == pytest.approx(np.mean(values))
    assert found.half == pytest.approx((high - low) / 2.0, rel=5e-4)


def test_one_value_has_no_interval_and_absent_values_do_not_count():
    assert interval([3.0]).half is None
    assert interval([None, None]).mean is None
    assert interval([1.0, None, 3.0]) == interval([1.0, 3.0])
