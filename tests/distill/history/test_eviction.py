"""What a full history keeps, against lists that keep everything and against uniform counts."""

from __future__ import annotations

import math

import pytest
import torch
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from tests.support.rows import phase_rows
from tests.support.statistics import chi_squared, chi_squared_bound


def stored(buffer: AggregatedBuffer) -> list[int]:
    return sorted(buffer[:]["id"].tolist())


class TestReservoir:
    def counts(self, eviction: str, runs: int = 4000) -> torch.Tensor:
        """Return how often each of 50 rows, appended in 10 batches, ends in a history of 20."""
        torch.manual_seed(0)
        counts = torch.zeros(50, dtype=torch.long)
        for _ in range(runs):
            buffer = AggregatedBuffer(phase_rows(0, 1), 20, "cpu", eviction=eviction)
            for start in range(0, 50, 5):
                buffer.append(phase_rows(start, 5))
            kept = buffer[:]["id"]
            assert len(kept.unique()) == 20
            counts[kept] += 1
        return counts

    def test_every_row_ever_seen_is_kept_with_the_same_probability(self):
        # The counts of one run add up to 20, so their variance is smaller than Pearson's test assumes.
        assert chi_squared(self.counts("reservoir")) < chi_squared_bound(49)

    def test_the_newest_first_would_fail_the_test_above(self):
        assert chi_squared(self.counts("fifo", runs=100)) > chi_squared_bound(49)

    def test_two_rows_are_kept_together_as_often_as_independent_draws_without_replacement(self):
        torch.manual_seed(1)
        together, runs = 0, 6000
        for _ in range(runs):
            buffer = AggregatedBuffer(phase_rows(0, 1), 5, "cpu", eviction="reservoir")
            buffer.append(phase_rows(0, 5))
            buffer.append(phase_rows(5, 5))
            together += {3, 8} <= set(stored(buffer))
        expected = 5 / 10 * 4 / 9
        assert abs(together / runs - expected) < 4 * math.sqrt(expected * (1 - expected) / runs)

    def test_it_drops_nothing_before_it_is_full(self):
        buffer = AggregatedBuffer(phase_rows(0, 1), 20, "cpu", eviction="reservoir")
        buffer.append(phase_rows(0, 12))
        buffer.append(phase_rows(12, 8))
        assert stored(buffer) == list(range(20))


class TestBalanced:
    def buffer(self, floor: float | None = 0.25) -> AggregatedBuffer:
        return AggregatedBuffer(phase_rows(0, 1), 40, "cpu", eviction="balanced", phase_floor=floor)

    def test_the_newest_teacher_rows_survive_up_to_the_floor_and_the_newest_student_rows_have_the_rest(self):
        buffer = self.buffer()
        buffer.append(phase_rows(0, 30, phase=1))
        for start in range(30, 230, 20):
            buffer.append(phase_rows(start, 20, phase=2))
        assert stored(buffer) == list(range(20, 30)) + list(range(200, 230))

    def test_the_oldest_first_would_lose_the_teacher(self):
        buffer = AggregatedBuffer(phase_rows(0, 1), 40, "cpu", eviction="fifo")
        buffer.append(phase_rows(0, 30, phase=1))
        for start in range(30, 230, 20):
            buffer.append(phase_rows(start, 20, phase=2))
        assert (buffer[:]["phase"] == 1).sum() == 0

    @pytest.mark.parametrize("seed", range(10))
    def test_batches_of_both_phases_leave_what_a_plain_list_per_phase_leaves(self, seed):
        generator = torch.Generator().manual_seed(seed)
        buffer, lists, number = self.buffer(), {1: [], 2: []}, 0
        for _ in range(15):
            batch = phase_rows(number, 8)
            batch["phase"] = torch.randint(1, 3, (8,), generator=generator).to(torch.uint8)
            buffer.append(batch)
            for phase in (1, 2):
                lists[phase] += batch["id"][batch["phase"] == phase].tolist()
            number += 8
            if number == 40:
                continue  # Just full: nothing was evicted yet.
            if number > 40:
                for phase in (1, 2):
                    for _ in range((batch["phase"] == phase).sum()):
                        other = lists[3 - phase]
                        own = lists[phase]
                        # What is yet to come in this batch is not there to be evicted.
                        (other if self.evictable(other, batch, phase) > 10 else own).pop(0)
        assert stored(buffer) == sorted(lists[1] + lists[2])

    @staticmethod
    def evictable(other: list[int], batch: TensorDict, phase: int) -> int:
        """Return the size of the other phase's list as the buffer sees it, which takes phase 1 first."""
        pending = batch["id"][batch["phase"] == 2].tolist() if phase == 1 else []
        return len([number for number in other if number not in pending])

    def test_a_restored_history_evicts_the_same_rows(self):
        buffer, copy = self.buffer(), self.buffer()
        buffer.append(phase_rows(0, 30, phase=1))
        buffer.append(phase_rows(30, 25, phase=2))
        copy.load_state_dict(buffer.state_dict())
        for each in (buffer, copy):
            each.append(phase_rows(55, 9, phase=2))
        assert torch.equal(buffer[:]["id"], copy[:]["id"])


@pytest.mark.parametrize("eviction", ["reservoir", "balanced"])
def test_a_full_history_that_is_not_a_ring_cannot_grow_after_a_restart(eviction):
    full = AggregatedBuffer(phase_rows(0, 1), 20, "cpu", eviction=eviction)
    full.append(phase_rows(0, 20))
    larger = AggregatedBuffer(phase_rows(0, 1), 30, "cpu", eviction=eviction)
    with pytest.raises(ValueError, match=r"a full history of 20 rows cannot go on in one of 30 .* keep"):
        larger.load_state_dict(full.state_dict())
