"""The history on disk: what a save writes, and that it is the history."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from foundation.distill.history.history_log import HistoryLog, saved_rows


def rows(start: int, count: int) -> TensorDict:
    number = torch.arange(start, start + count)
    phase = 1 + (number % 3 > 0).to(torch.uint8)
    return TensorDict({"id": number, "x": number[:, None] * torch.ones(1, 3), "phase": phase}, batch_size=[count])


def make(size: int = 40, eviction: str = "fifo", **options) -> AggregatedBuffer:
    return AggregatedBuffer(rows(0, 1), size, "cpu", eviction=eviction, **options)


def save(log: HistoryLog) -> list[str]:
    with log.saved() as segments:
        return list(segments)


def restored(folder: Path, buffer: AggregatedBuffer, segments: list[str], **options) -> AggregatedBuffer:
    copy = make(buffer.max_size, **options)
    copy.load_state_dict(buffer.state_dict(with_rows=False), saved_rows(folder, segments))
    return copy


def num_rows(folder: Path, names: list[str]) -> int:
    return sum(len(slots) for slots, _ in saved_rows(folder, names))


@settings(max_examples=40, deadline=None)
@given(
    batches=st.lists(st.integers(1, 15), min_size=1, max_size=20),
    eviction=st.sampled_from(["fifo", "reservoir", "balanced"]),
    seed=st.integers(0, 99),
)
def test_whatever_was_appended_between_saves_the_segments_give_the_history(
    tmp_path_factory, batches, eviction, seed
):
    torch.manual_seed(seed)
    folder = tmp_path_factory.mktemp("run")
    buffer, start = make(eviction=eviction), 0
    log = HistoryLog(folder, buffer)
    for count in batches:
        buffer.append(rows(start, count))
        start += count
        if torch.rand(()) < 0.6:
            segments = save(log)
            copy = restored(folder, buffer, segments, eviction=eviction)
            for name, values in buffer[:].items():
                assert torch.equal(copy[:][name], values)


def test_a_save_writes_what_is_new_and_nothing_else(tmp_path):
    buffer = make(1000)
    log = HistoryLog(tmp_path, buffer)
    buffer.append(rows(0, 900))
    first = save(log)
    buffer.append(rows(900, 7))
    second = save(log)
    assert num_rows(tmp_path, first) == 900
    (new,) = set(second) - set(first)
    assert num_rows(tmp_path, [new]) == 7
    assert save(log) == second  # nothing is new


def test_a_long_segment_is_cut_so_that_little_memory_is_needed(tmp_path, monkeypatch):
    buffer = make(1000)
    monkeypatch.setattr(HistoryLog, "SEGMENT_BYTES", 100 * buffer.storage.format.num_bytes)
    log = HistoryLog(tmp_path, buffer)
    buffer.append(rows(0, 950))
    assert [num_rows(tmp_path, [name]) for name in save(log)] == [100] * 9 + [50]


def test_segments_whose_rows_have_all_been_replaced_are_dropped(tmp_path):
    buffer = make(40)
    log = HistoryLog(tmp_path, buffer)
    for start in range(0, 400, 10):
        buffer.append(rows(start, 10))
        segments = save(log)
    assert len(segments) == 4
    assert num_rows(tmp_path, segments) == 40


@pytest.mark.parametrize("eviction", ["reservoir", "balanced"])
def test_scattered_evictions_take_bounded_space_and_at_most_twice_the_writing(tmp_path, eviction):
    torch.manual_seed(0)
    buffer = make(400, eviction=eviction)
    log = HistoryLog(tmp_path, buffer)
    buffer.append(rows(0, 400))
    segments = save(log)
    for i in range(60):
        buffer.append(rows(400 + 40 * i, 40))
        changed = int(buffer.storage.changed.sum())
        before, segments = set(segments), save(log)
        written = num_rows(tmp_path, [name for name in segments if name not in before])
        assert written <= 2 * changed
        assert num_rows(tmp_path, segments) <= 3 * 400


def test_a_save_that_is_given_up_leaves_no_file_and_is_made_up_for(tmp_path):
    buffer = make(100)
    log = HistoryLog(tmp_path, buffer)
    buffer.append(rows(0, 50))
    save(log)
    buffer.append(rows(50, 20))
    before = sorted(tmp_path.glob("**/*.pt"))
    with pytest.raises(OSError, match="no space"), log.saved():
        raise OSError("no space")
    assert sorted(tmp_path.glob("**/*.pt")) == before
    segments = save(log)
    assert torch.equal(restored(tmp_path, buffer, segments)[:]["id"], buffer[:]["id"])


def test_relabelled_rows_are_saved_anew(tmp_path):
    buffer = make(100)
    log = HistoryLog(tmp_path, buffer)
    buffer.append(rows(0, 50))
    save(log)
    buffer.overwrite(torch.tensor([3, 7]), {"x": torch.full((2, 3), -1.0)})
    segments = save(log)
    assert torch.equal(restored(tmp_path, buffer, segments)[:]["x"], buffer[:]["x"])


def test_a_full_ring_may_go_on_growing_in_a_larger_history(tmp_path):
    buffer = make(40)
    log = HistoryLog(tmp_path, buffer)
    buffer.append(rows(0, 30))
    buffer.append(rows(30, 25))
    segments = save(log)
    larger = make(100)
    larger.load_state_dict(buffer.state_dict(with_rows=False), saved_rows(tmp_path, segments))
    assert larger[:]["id"].tolist() == list(range(15, 55))
    larger.append(rows(55, 20))
    assert larger[:]["id"].tolist() == list(range(15, 75))
