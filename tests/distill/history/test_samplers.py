"""What is drawn, against each sampler's stated distribution."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from foundation.distill.history.distinct_integers import distinct_integers
from tests.support.statistics import chi_squared_bound

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


@pytest.mark.parametrize("below", [20, 40, 4000])
def test_distinct_integers_are_distinct_and_every_ordered_choice_is_equally_likely(below):
    count = 5
    draws = torch.stack([distinct_integers(below, count, torch.device("cpu")) for _ in range(4000)])
    assert (draws.sort(1).values.diff(dim=1) > 0).all()
    # Each place of the choice alone is uniform over ten equal parts of the range.
    for place in range(count):
        parts = torch.bincount(draws[:, place] * 10 // below, minlength=10).double()
        assert ((parts - 400) ** 2 / 400).sum() < chi_squared_bound(9)


def test_a_pass_under_way_is_joined_by_rows_that_replace_visited_ones_and_only_those():
    torch.manual_seed(0)
    buffer = AggregatedBuffer(rows(1), 30, "cpu")
    buffer.append(rows(30))
    visited = torch.cat([batch["id"] for batch in buffer.mini_batches(6, 3)])
    buffer.append(rows(10, 30))  # in the slots of rows 0 to 9
    waiting = 30 - 18 + int((visited < 10).sum())
    rest = torch.cat([batch["id"] for batch in buffer.mini_batches(waiting, 1)])
    expected = (set(range(10, 30)) - set(visited.tolist())) | set(range(30, 40))
    assert len(rest) == waiting
    assert set(rest.tolist()) == expected
