"""What is drawn, against each sampler's stated distribution."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from tests.distill.test_eviction import chi_squared_bound

SIZE, DRAWS = 30, 60_000


def rows(count: int, start: int = 0) -> TensorDict:
    return TensorDict({"id": torch.arange(start, start + count)}, batch_size=[count])


def filled(sampling: str, **options) -> AggregatedBuffer:
    """Return a history of three rollouts of ten rows."""
    buffer = AggregatedBuffer(rows(1), 100, "cpu", sampling=sampling, **options)
    for start in (0, 10, 20):
        buffer.append(rows(10, start))
    return buffer


def counts(buffer: AggregatedBuffer, size: int = SIZE) -> torch.Tensor:
    drawn = torch.cat([batch["id"] for batch in buffer.mini_batches(100, DRAWS // 100)])
    return torch.bincount(drawn, minlength=size)


def statistic(got: torch.Tensor, probability: torch.Tensor) -> float:
    expected = DRAWS * probability.double() / probability.double().sum()
    return ((got.double() - expected).square() / expected).sum().item()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_uniform_draws_every_row_with_the_same_probability():
    assert statistic(counts(filled("uniform")), torch.ones(SIZE)) < chi_squared_bound(SIZE - 1)


@pytest.mark.parametrize("half_life", [0.5, 1.0, 3.0])
def test_recency_halves_the_probability_with_every_half_life_of_rollouts(half_life):
    age = torch.tensor([2.0, 1.0, 0.0]).repeat_interleave(10)
    got = counts(filled("recency", recency_half_life=half_life))
    assert statistic(got, 0.5 ** (age / half_life)) < chi_squared_bound(SIZE - 1)
    assert statistic(got, torch.ones(SIZE)) > chi_squared_bound(SIZE - 1)  # uniform would fail


@pytest.mark.parametrize("exponent", [None, 0.5, 1.0])
def test_loss_draws_in_proportion_to_a_power_of_the_recorded_loss(exponent):
    buffer = filled("loss", priority_exponent=exponent)
    losses = torch.linspace(0.1, 2.0, SIZE)
    every = TensorDict({"slot": torch.arange(SIZE)}, batch_size=[SIZE])
    buffer.record_loss(every, losses)
    got = counts(buffer)
    assert statistic(got, losses ** (0.6 if exponent is None else exponent)) < chi_squared_bound(SIZE - 1)
    assert statistic(got, torch.ones(SIZE)) > chi_squared_bound(SIZE - 1)


def test_a_new_row_is_drawn_like_the_one_with_the_largest_loss():
    buffer = filled("loss", priority_exponent=1.0)
    losses = torch.full((SIZE,), 0.2)
    losses[3] = 2.0
    buffer.record_loss(TensorDict({"slot": torch.arange(SIZE)}, batch_size=[SIZE]), losses)
    buffer.append(rows(2, 30))
    expected = torch.cat([losses, torch.tensor([2.0, 2.0])])
    assert statistic(counts(buffer, 32), expected) < chi_squared_bound(31)


def test_before_any_loss_is_known_all_rows_are_drawn_alike():
    assert statistic(counts(filled("loss")), torch.ones(SIZE)) < chi_squared_bound(SIZE - 1)


@pytest.mark.parametrize(
    ("sampling", "options"),
    [("passes", {}), ("uniform", {}), ("recency", {"recency_half_life": 2.0}), ("loss", {})],
)
def test_a_restored_history_draws_the_same_mini_batches(sampling, options):
    buffer = filled(sampling, **options)
    for batch in buffer.mini_batches(7, 5):
        buffer.record_loss(batch, batch["id"].float() + 1.0)
    copy = AggregatedBuffer(rows(1), 100, "cpu", sampling=sampling, **options)
    copy.load_state_dict(buffer.state_dict())
    drawn = []
    for each in (buffer, copy):
        each.append(rows(10, 30))
        torch.manual_seed(1)
        drawn.append(torch.cat([batch["id"] for batch in each.mini_batches(7, 20)]))
    assert torch.equal(*drawn)
