"""Random numbers and elementary functions of lanes against NumPy and the normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
import warp as wp

from foundation.sim.kernels.lanes import CPU_LANES, MODULE_OPTIONS, root
from foundation.sim.kernels.random_numbers import gaussian_pair, natural_log

wp.set_module_options(MODULE_OPTIONS)
FLOATS = wp.types.vector(length=CPU_LANES, dtype=wp.float32)
INTEGERS = wp.types.vector(length=CPU_LANES, dtype=wp.uint32)
BLOCKS = 65_536


@wp.kernel
def draw(
    keys: wp.array(dtype=INTEGERS), counters: wp.array(dtype=INTEGERS), index: int, out: wp.array2d(dtype=FLOATS)
):
    block = wp.tid()
    first, second = gaussian_pair(keys[block], counters[block], index, FLOATS())
    out[0, block] = first
    out[1, block] = second


@wp.kernel
def draw_scalars(
    keys: wp.array(dtype=wp.uint32),
    counters: wp.array(dtype=wp.uint32),
    index: int,
    out: wp.array2d(dtype=wp.float32),
):
    i = wp.tid()
    first, second = gaussian_pair(keys[i], counters[i], index, 0.0)
    out[0, i] = first
    out[1, i] = second


@wp.kernel
def logs_and_roots(x: wp.array(dtype=FLOATS), logs: wp.array(dtype=FLOATS), roots: wp.array(dtype=FLOATS)):
    block = wp.tid()
    logs[block] = natural_log(x[block], INTEGERS())
    roots[block] = root(x[block])


def normals(keys: np.ndarray, counters: np.ndarray, index: int = 0) -> np.ndarray:
    """Return two rows of numbers, one pair per generator."""
    lanes = [wp.array(values.reshape(-1, CPU_LANES), dtype=INTEGERS, device="cpu") for values in (keys, counters)]
    out = wp.zeros((2, len(keys) // CPU_LANES), dtype=FLOATS, device="cpu")
    wp.launch(draw, dim=out.shape[1], inputs=[*lanes, index, out], device="cpu")
    return out.numpy().reshape(2, -1).astype(np.float64)


def many_generators() -> np.ndarray:
    keys = np.random.default_rng(0).integers(0, 2**32, BLOCKS * CPU_LANES, dtype=np.uint32)
    return normals(keys, np.zeros_like(keys))


def one_generator(index: int = 0) -> np.ndarray:
    counters = np.arange(0, 2 * BLOCKS * CPU_LANES, 2, dtype=np.uint32)
    return normals(np.full_like(counters, 77), counters, index)


def kolmogorov_smirnov(values: np.ndarray) -> float:
    """Return sqrt(n) times the largest distance from the normal distribution; 1.95 is exceeded once in 1000."""
    from scipy.special import ndtr

    ordered = ndtr(np.sort(values))
    grid = np.arange(len(values) + 1) / len(values)
    return np.sqrt(len(values)) * max((grid[1:] - ordered).max(), (ordered - grid[:-1]).max())


@pytest.mark.parametrize("source", [many_generators, one_generator])
def test_two_million_numbers_are_standard_normal_in_distribution_moments_and_tails(source):
    values = source().ravel()
    n = len(values)
    assert kolmogorov_smirnov(values) < 1.95
    assert kolmogorov_smirnov(1.01 * values) > 1.95  # one percent would be noticed
    for power, moment, variance in ((1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)):
        assert abs((values**power).mean() - moment) < 4 * np.sqrt(variance / n), power
    beyond_four = 6.334e-5 * n
    assert abs((np.abs(values) > 4).sum() - beyond_four) < 4 * np.sqrt(beyond_four)


@pytest.mark.parametrize("source", [many_generators, one_generator])
def test_pairs_and_neighbours_are_uncorrelated_in_value_and_square(source):
    first, second = source()
    limit = 4 / np.sqrt(len(first) - 1)
    for a, b in ((first, second), (first[:-1], first[1:]), (first[:-1], second[1:])):
        assert abs(np.corrcoef(a, b)[0, 1]) < limit
        assert abs(np.corrcoef(a**2, b**2)[0, 1]) < limit


def test_a_generator_depends_on_the_sum_of_counter_and_index_alone():
    np.testing.assert_array_equal(one_generator(index=2)[:, :-1], one_generator()[:, 1:])
    assert not np.array_equal(one_generator(index=1), one_generator())


def test_one_scalar_draws_what_a_lane_draws():
    rng = np.random.default_rng(1)
    keys, counters = rng.integers(0, 2**32, (2, 1024), dtype=np.uint32)
    out = wp.zeros((2, 1024), dtype=wp.float32, device="cpu")
    inputs = [wp.array(keys, device="cpu"), wp.array(counters, device="cpu"), 3, out]
    wp.launch(draw_scalars, dim=1024, inputs=inputs, device="cpu")
    np.testing.assert_allclose(out.numpy(), normals(keys, counters, 3), atol=2e-6)


def test_logarithm_and_root_agree_with_numpy_over_all_uniform_numbers():
    x = (np.arange(1, 2**24 + 1, 16, dtype=np.float64) / 2**24).astype(np.float32)
    logs, roots = (wp.zeros(len(x) // CPU_LANES, dtype=FLOATS, device="cpu") for _ in range(2))
    values = wp.array(x.reshape(-1, CPU_LANES), dtype=FLOATS, device="cpu")
    wp.launch(logs_and_roots, dim=len(logs), inputs=[values, logs, roots], device="cpu")
    np.testing.assert_allclose(logs.numpy().ravel(), np.log(x.astype(np.float64)), rtol=2e-7, atol=1e-9)
    np.testing.assert_allclose(roots.numpy().ravel(), np.sqrt(x.astype(np.float64)), rtol=1e-7)
