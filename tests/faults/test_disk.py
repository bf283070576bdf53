"""Disks that are full, or gone."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer
from foundation.distill.checkpoint.manifest import newest_intact
from tests.support.processes import in_child
from tests.support.run_state import assert_same
from tests.support.saving_runs import build, quiet


def learn(runner, iterations: int) -> str:
    """Return what a runner prints while it learns."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        runner.learn(iterations)
    return printed.getvalue()


def without_space(folder: Path) -> None:
    runner = build(folder / "run_0")
    before = learn(runner, 2)
    assert "was not saved" not in before
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
    out = learn(runner, 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "model_2.pt was not saved, training goes on; the newest is" in out
    assert "File too large" in out
    assert newest_intact(folder / "run_0")[0] == folder / "run_0" / "model_1.pt"
    assert not list((folder / "run_0").glob("**/.*.tmp"))
    out = learn(runner, 1)
    assert "was not saved" not in out
    assert newest_intact(folder / "run_0")[0] == folder / "run_0" / "model_4.pt"
    with quiet():
        whole = build(folder / "whole")
        for iterations in (2, 2, 1):
            whole.learn(iterations)
        again = build(folder / "again")
        again.load(str(folder / "run_0" / "model_4.pt"))
    whole.best.mean_reward = runner.best_mean_reward  # one that could not be written does not count
    assert_same(whole, runner)
    # Nothing that the failed saves had taken note of is missing in the next one.
    for name, values in whole.alg.history[:].items():
        assert torch.equal(again.alg.history[:][name], values), name


def test_a_run_goes_on_without_space_keeps_the_older_checkpoint_and_saves_again_when_there_is_space(tmp_path):
    in_child(without_space, tmp_path)


@pytest.fixture
def small_disk(tmp_path) -> Path:
    """A file system of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_file_system_costs_no_earlier_checkpoint_and_no_iteration(small_disk, tmp_path):
    with quiet():
        runner = build(small_disk / "run_0")
        runner.learn(2)
    ballast = small_disk / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()
    assert shutil.disk_usage(small_disk).free < 8192
    out = learn(runner, 3)
    assert "No space left on device" in out
    assert runner.last_completed_iteration == 4
    assert newest_intact(small_disk / "run_0")[0] == small_disk / "run_0" / "model_1.pt"
    ballast.unlink()
    with quiet():
        runner.learn(1)
        whole = build(tmp_path / "whole")
        for iterations in (2, 3, 1):
            whole.learn(iterations)
    assert newest_intact(small_disk / "run_0")[0] == small_disk / "run_0" / "model_5.pt"
    # A best model that could not be written does not count.
    whole.best.mean_reward = runner.best_mean_reward
    assert_same(whole, runner)


def test_a_run_whose_folder_was_removed_writes_a_whole_checkpoint_again(tmp_path):
    with quiet():
        runner = build(tmp_path / "run_0")
        runner.learn(3)
        shutil.rmtree(tmp_path / "run_0")
        runner.learn(1)
        again = build(tmp_path / "run_1")
        again.load(str(tmp_path / "run_0" / "model_3.pt"))
    for name, values in runner.alg.history[:].items():
        assert torch.equal(again.alg.history[:][name], values), name


def rows(start: int, count: int) -> TensorDict:
    return TensorDict({"id": torch.arange(start, start + count), "x": torch.zeros(count, 100)}, batch_size=[count])


def test_a_history_in_files_stops_growing_on_a_full_disk_and_says_so(small_disk):
    with contextlib.redirect_stdout(io.StringIO()) as console:
        buffer = AggregatedBuffer(rows(0, 1), 4000, "cpu", folder=small_disk, initial_capacity=100)
        for start in range(0, 3000, 100):
            buffer.append(rows(start, 100))
    said = console.getvalue().splitlines()
    assert buffer.capacity == buffer.max_size == len(buffer) == 800  # 400 bytes a row, and 1600 do not fit
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert sorted(buffer[:]["id"].tolist()) == list(range(2200, 3000))
    assert os.listdir(small_disk) == []
