"""The aggregated history against a list that keeps everything."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from foundation.distill.history.aggregated_buffer import row_bytes
from foundation.distill.history.buffer import INITIAL_CAPACITY


def rows(start: int, count: int) -> TensorDict:
    """Return transitions numbered from ``start``."""
    number = torch.arange(start, start + count)
    return TensorDict({"id": number, "obs": number[:, None] * torch.ones(1, 3)}, batch_size=[count])


def filled(max_size: int, *batches: int) -> AggregatedBuffer:
    buffer = AggregatedBuffer(rows(0, 1), max_size, "cpu")
    start = 0
    for count in batches:
        buffer.append(rows(start, count))
        start += count
    return buffer


def ids(buffer: AggregatedBuffer) -> list[int]:
    return sorted(buffer[:]["id"].tolist())


@given(max_size=st.integers(5, 60), batches=st.lists(st.integers(1, 5), max_size=40))
@settings(max_examples=100, deadline=None)
def test_the_newest_transitions_are_kept_and_the_size_never_exceeds_the_maximum(max_size, batches):
    buffer = filled(max_size, *batches)
    total = sum(batches)
    assert len(buffer) == min(total, max_size)
    assert buffer.capacity <= max_size
    assert ids(buffer) == list(range(max(0, total - max_size), total))
    stored = buffer[:]
    assert torch.equal(stored["obs"][:, 0].long(), stored["id"])


def test_a_buffer_starts_at_the_initial_capacity_and_doubles_up_to_the_maximum():
    buffer = AggregatedBuffer(rows(0, 1), 250_000, "cpu")
    assert buffer.capacity == INITIAL_CAPACITY == 100_000
    capacities = []
    for i in range(30):
        buffer.append(rows(10_000 * i, 10_000))
        capacities.append(buffer.capacity)
    assert capacities[:11] == [100_000] * 10 + [200_000]
    assert capacities[20:] == [250_000] * 10
    assert ids(buffer) == list(range(50_000, 300_000))


def test_one_pass_visits_every_transition_exactly_once_in_random_order():
    buffer = filled(100, 50, 25)
    drawn = torch.cat([batch["id"] for batch in buffer.mini_batches(8, buffer.num_mini_batches(8))])
    assert sorted(drawn.tolist()) == list(range(75))
    assert drawn.tolist() != list(range(75))


def test_a_budget_that_cuts_passes_short_still_visits_every_transition_equally():
    buffer = filled(100, 90)
    visits = torch.zeros(90)
    for _ in range(60):
        for batch in buffer.mini_batches(7, 3):
            visits[batch["id"]] += 1
    # A pass takes 13 batches of 7 (the last of 6), so 180 batches are 13 whole passes and a part.
    assert visits.min() >= 13
    assert visits.max() <= 14


def test_drawing_with_replacement_would_fail_the_test_above():
    draws = torch.randint(0, 90, (180 * 7,), generator=torch.Generator().manual_seed(0))
    visits = torch.bincount(draws, minlength=90)
    assert visits.max() - visits.min() > 1


def test_new_transitions_join_the_pass_under_way():
    buffer = filled(100, 20)
    first = [batch["id"] for batch in buffer.mini_batches(5, 2)]
    buffer.append(rows(20, 10))
    rest = [batch["id"] for batch in buffer.mini_batches(5, 4)]
    assert sorted(torch.cat(first + rest).tolist()) == list(range(30))


def test_a_slot_whose_transition_was_replaced_counts_as_not_visited():
    buffer = filled(10, 10)
    (first,) = buffer.mini_batches(5, 1)
    buffer.append(rows(10, 4))
    expected = (set(range(4, 10)) - set(first["id"].tolist())) | {10, 11, 12, 13}
    (rest,) = buffer.mini_batches(10, 1)
    assert sorted(rest["id"].tolist()) == sorted(expected)


def test_a_restored_buffer_draws_the_same_mini_batches():
    buffer = filled(30, 20, 15)
    list(buffer.mini_batches(4, 3))
    copy = AggregatedBuffer(rows(0, 1), 30, "cpu")
    copy.load_state_dict(buffer.state_dict())
    for each in (buffer, copy):
        each.append(rows(35, 6))
    torch.manual_seed(3)
    expected = [batch["id"] for batch in buffer.mini_batches(4, 12)]
    torch.manual_seed(3)
    got = [batch["id"] for batch in copy.mini_batches(4, 12)]
    assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
    assert len(torch.cat(expected)) > 30  # beyond the pass under way


@pytest.mark.parametrize("max_size", [80, 250])
def test_a_full_ring_restored_into_a_larger_buffer_keeps_every_transition_and_its_order(max_size):
    state = filled(50, 40, 20).state_dict()  # ids 10 ... 59, wrapped
    larger = filled(max_size)
    larger.load_state_dict(state)
    larger.append(rows(60, 45))
    assert ids(larger) == list(range(105 - min(95, max_size), 105))
    larger.append(rows(105, 5))
    assert ids(larger) == list(range(110 - min(100, max_size), 110))


def test_growth_in_inference_mode_leaves_data_that_can_be_trained_on():
    buffer = AggregatedBuffer(rows(0, 1), 300_000, "cpu")
    with torch.inference_mode():
        buffer.append(rows(0, 150_000))
    assert buffer.capacity == 200_000
    weight = torch.ones(3, 1, requires_grad=True)
    (buffer[:10]["obs"] @ weight).sum().backward()
    assert weight.grad is not None


def test_dtypes_are_kept_and_counted():
    example = TensorDict(
        {"image": torch.zeros(1, 4, 4, dtype=torch.uint8), "x": torch.zeros(1, 2)}, batch_size=[1]
    )
    buffer = AggregatedBuffer(example, 10, "cpu")
    buffer.append(example)
    assert buffer[:]["image"].dtype == torch.uint8
    assert (
        row_bytes(dict(example.items())) == 16 + 8 + 6
    )  # bookkeeping: place and mark in the pool, and whether it has changed


def test_mini_batches_of_an_empty_history_are_refused():
    with pytest.raises(ValueError, match="empty history"):
        next(filled(10).mini_batches(2, 1))


def test_a_full_ring_restored_into_a_larger_buffer_that_was_used_before_evicts_the_oldest_first():
    state = filled(10, 5, 8).state_dict()
    larger = filled(20, 15, 10)
    larger.load_state_dict(state)
    for start in (13, 20):
        larger.append(rows(start, 7 if start == 13 else 8))
    assert ids(larger) == list(range(8, 28))


def test_a_batch_larger_than_the_maximum_is_refused():
    with pytest.raises(ValueError, match=r"max_buffer_size must be at least one rollout \(11\), got 10"):
        filled(10, 11)


def test_a_saved_history_larger_than_the_maximum_is_refused():
    state = filled(30, 30).state_dict()
    with pytest.raises(ValueError, match="set max_buffer_size to at least 30"):
        filled(20).load_state_dict(state)
