"""Which checkpoints are kept, and which of them are complete."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation.distill import RslRlDistillationRunnerCfg
from foundation.distill.checkpoint import CheckpointError, atomic_save
from foundation.distill.checkpoint.manifest import Manifest, newest_intact, numbered_checkpoints, prune


def checkpoint(run: Path, iteration: int, rows: list[str]) -> None:
    """Write a checkpoint that refers to some files with rows, which are written where they are missing."""
    names = [f"model_{iteration}.pt", f"resume/state_{iteration}.pt", *rows]
    files = {name: atomic_save({"name": name}, run / name) for name in names}
    Manifest(files, names[1], rows).write(run / f"model_{iteration}.manifest.json")


@pytest.fixture
def run(tmp_path) -> Path:
    for iteration in range(0, 60, 10):
        rows = [
            f"resume/rows_{number}.pt" for number in range(iteration // 10 - 1, iteration // 10 + 1) if number >= 0
        ]
        checkpoint(tmp_path, iteration, rows)
    return tmp_path


def names(run: Path, pattern: str) -> set[str]:
    return {path.stem for path in run.glob(pattern)}


def test_the_newest_keep_everything_and_older_ones_their_weights(run):
    prune(run / "model_50.pt", keep_last=2, keep_every=1)
    assert names(run, "model_*.pt") == {f"model_{i}" for i in range(0, 60, 10)}
    assert names(run, "resume/state_*.pt") == {"state_40", "state_50"}
    assert names(run, "resume/rows_*.pt") == {"rows_3", "rows_4", "rows_5"}
    for iteration in (40, 50):
        Manifest.read(run / f"model_{iteration}.manifest.json").verify(run)
    older = Manifest.read(run / "model_30.manifest.json")
    assert older.state is None
    older.verify(run)


def test_of_older_ones_those_whose_iteration_is_no_multiple_are_removed(run):
    prune(run / "model_50.pt", keep_last=1, keep_every=20)
    kept = {"model_0", "model_20", "model_40", "model_50"}
    assert names(run, "model_*.pt") == kept
    assert names(run, "model_*.json") == {f"{name}.manifest" for name in kept}


def test_what_a_save_that_failed_left_behind_is_removed_with_the_next_success(run):
    atomic_save({}, run / "resume" / "rows_77.pt")
    prune(run / "model_50.pt", keep_last=9, keep_every=1)
    assert "rows_77" not in names(run, "resume/rows_*.pt")
    assert len(names(run, "resume/rows_*.pt")) == 6


def test_for_a_manifest_that_cannot_be_read_nothing_is_kept_but_the_weights(run):
    (run / "model_30.manifest.json").write_text("{")
    prune(run / "model_50.pt", keep_last=3, keep_every=1)
    assert names(run, "model_*.pt") == {f"model_{i}" for i in range(0, 60, 10)}
    assert names(run, "resume/state_*.pt") == {"state_40", "state_50"}


def test_the_checkpoint_just_written_stays_where_others_have_larger_numbers(run):
    prune(run / "model_10.pt", keep_last=2, keep_every=1)
    assert names(run, "resume/state_*.pt") == {"state_10", "state_50"}


def test_checkpoints_are_ordered_by_number_and_others_are_none(run):
    atomic_save({}, run / "model_best.pt")
    checkpoint(run, 100, [])
    assert [path.name for path in numbered_checkpoints(run)][:2] == ["model_100.pt", "model_50.pt"]
    assert newest_intact(run)[0] == run / "model_100.pt"


def test_weights_without_their_manifest_are_a_save_that_was_not_finished(run):
    atomic_save({}, run / "model_60.pt")
    found, passed_over = newest_intact(run)
    assert found == run / "model_50.pt"
    assert passed_over == ["model_60.pt: model_60.manifest.json is missing: its saving was not finished"]


@pytest.mark.parametrize("name", ["keep_last", "keep_every"])
def test_keeping_nothing_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        RslRlDistillationRunnerCfg(**{name: 0})


def test_the_first_save_of_a_run_that_was_not_finished_is_not_taken_for_one_of_rsl_rls_own(tmp_path):
    atomic_save({}, tmp_path / "model_0.pt")
    assert newest_intact(tmp_path)[0] == tmp_path / "model_0.pt"
    atomic_save({}, tmp_path / "resume" / "state_0.pt")
    assert newest_intact(tmp_path) == (
        None,
        ["model_0.pt: model_0.manifest.json is missing: its saving was not finished"],
    )


@pytest.mark.parametrize("version", ["1e999", "1.0", '"1"', "0", "true", "null"])
def test_a_manifest_whose_format_is_no_number_of_ours_is_damaged(tmp_path, version):
    path = tmp_path / "model_0.manifest.json"
    path.write_text(f'{{\n "format": {version},\n "files": {{}},\n "state": null,\n "segments": []\n}}')
    with pytest.raises(CheckpointError, match="is damaged"):
        Manifest.read(path)
