"""Where rows live: in memory, in files; and what they take."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from foundation.distill.history import capacity
from foundation.distill.history.mapped_storage import MappedStorage
from tests.support.runners import stock_runner, weights


def rows(start: int, count: int) -> TensorDict:
    number = torch.arange(start, start + count)
    return TensorDict({"id": number, "obs/a": number[:, None] * torch.ones(1, 3)}, batch_size=[count])


def resident(storage: MappedStorage) -> int:
    """Return the bytes of the storage's files that are mapped into memory at present."""
    total, inside = 0, False
    with open("/proc/self/smaps") as smaps:
        for line in smaps:
            first = line.split()[0]
            if "-" in first and not first.endswith(":"):
                inside = str(storage.folder) in line
            elif inside and first == "Rss:":
                total += int(line.split()[1]) * 1024
    return total


class TestFiles:
    @given(batches=st.lists(st.integers(1, 9), min_size=1, max_size=12))
    @settings(max_examples=25, deadline=None)
    def test_files_hold_and_draw_what_memory_holds_and_draws(self, tmp_path_factory, batches):
        folder = tmp_path_factory.mktemp("history")
        in_memory = AggregatedBuffer(rows(0, 1), 20, "cpu")
        in_files = AggregatedBuffer(rows(0, 1), 20, "cpu", folder=folder)
        start, drawn = 0, []
        for count in batches:
            for buffer in (in_memory, in_files):
                buffer.append(rows(start, count))
            start += count
        for buffer in (in_memory, in_files):
            torch.manual_seed(0)
            drawn.append(torch.cat([batch["obs/a"] for batch in buffer.mini_batches(4, 7)]))
        assert torch.equal(*drawn)
        assert torch.equal(in_memory[:]["id"], in_files[:]["id"])

    def test_what_stays_mapped_is_bounded_while_the_history_is_many_times_larger(self, tmp_path, monkeypatch):
        monkeypatch.setattr(MappedStorage, "WORKING_SET_BYTES", 2 * 2**20)
        wide = TensorDict({"obs": torch.zeros(1000, 4096)}, batch_size=[1000])
        buffer = AggregatedBuffer(wide[:1], 4000, "cpu", folder=tmp_path)
        storage = buffer.storage
        assert isinstance(storage, MappedStorage)
        most = 0
        for _ in range(4):
            buffer.append(wide)
            most = max(most, resident(storage))
        for _ in buffer.mini_batches(500, 8):
            most = max(most, resident(storage))
        assert most <= 2 * 2**20
        assert storage.disk_bytes() >= 4000 * 4096 * 4
        # Without giving pages back, reading maps the whole history: the measurement can see it.
        monkeypatch.setattr(storage, "_release", lambda: None)
        for _ in buffer.mini_batches(500, 8):
            pass
        assert resident(storage) > 20 * 2**20

    def test_nothing_is_left_in_the_folder_however_the_process_ends(self, tmp_path):
        buffer = AggregatedBuffer(rows(0, 1), 20, "cpu", folder=tmp_path)
        buffer.append(rows(0, 15))
        assert list(tmp_path.iterdir()) == []
        assert buffer[:]["id"].tolist() == list(range(15))


class TestOptions:
    def test_a_run_with_its_history_in_files_or_in_host_memory_has_the_weights_of_one_without(self, tmp_path):
        def trained(**options):
            runner = stock_runner(max_buffer_size=150, **options)
            torch.manual_seed(1)
            runner.learn(4)
            return weights(runner)

        expected = trained()
        for options in ({"buffer_dir": str(tmp_path / "history")}, {"buffer_device": "cpu"}):
            got = trained(**options)
            assert all(torch.equal(got[name], expected[name]) for name in expected)

    def test_the_teachers_observations_are_stored_only_if_asked(self):
        names = set(stock_runner(max_buffer_size=60).alg.history[:].keys())
        assert names == {"obs/student", "teacher_actions", "student_actions", "dones", "phase", "origin"}
        names = set(stock_runner(max_buffer_size=60, store_teacher_obs=True).alg.history[:].keys())
        assert "obs/teacher" in names

    def test_a_history_larger_than_the_disk_is_refused_with_the_size_that_fits(self, tmp_path, monkeypatch):
        monkeypatch.setattr(capacity, "available_disk_bytes", lambda folder: 46 * 500 + 5)
        with pytest.raises(
            ValueError, match=r"needs 46 MB \(46000000 bytes\).* set max_buffer_size to at most 500,"
        ):
            stock_runner(buffer_dir=str(tmp_path))
        assert list(tmp_path.iterdir()) == []

    def test_a_device_that_is_not_the_trainings_is_refused(self):
        with pytest.raises(ValueError, match="buffer_device must be cpu or the training's device cpu, got cuda"):
            stock_runner(buffer_device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
class TestGpu:
    def test_host_memory_hands_out_on_the_gpu_what_memory_of_the_gpu_hands_out(self):
        drawn = []
        for kept_on in ("cuda", "cpu"):
            buffer = AggregatedBuffer(rows(0, 1).to("cuda"), 250_000, "cuda", storage_device=kept_on)
            buffer.append(rows(0, 150_000).to("cuda"))
            batches = list(buffer.mini_batches(1000, 150))
            assert all(batch["id"].device.type == "cuda" for batch in batches)
            drawn.append(torch.cat([batch["id"] for batch in batches]).sort().values)
        assert torch.equal(*drawn)
        assert torch.equal(drawn[0].cpu(), torch.arange(150_000))

    def test_growing_on_the_gpu_peaks_at_most_at_the_printed_estimate(self):
        example = TensorDict({"obs": torch.zeros(1, 100, device="cuda")}, batch_size=[1])
        buffer = AggregatedBuffer(example, 800_000, "cuda")
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for _ in range(80):
            buffer.append(TensorDict({"obs": torch.ones(10_000, 100, device="cuda")}, batch_size=[10_000]))
        peak = torch.cuda.max_memory_allocated() - before + 100_000 * 400
        assert peak < 2.0 * 800_000 * 400 * 1.15
