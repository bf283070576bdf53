"""Files that were truncated, overwritten, swapped or removed after they were written."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from foundation.cli.paths import find_checkpoint
from foundation.distill.checkpoint import CheckpointError, FileDigest, load_checkpoint
from foundation.distill.checkpoint.manifest import Manifest, newest_intact
from tests.support.saving_runs import build, quiet

DAMAGES = {
    "truncated": lambda data, rng: data[: rng.randrange(len(data))],
    "one bit flipped": lambda data, rng: flipped(data, rng.randrange(8 * len(data))),
    "empty": lambda data, rng: b"",
    "a block of zeros": lambda data, rng: zeroed(data, rng.randrange(len(data))),
    "longer": lambda data, rng: data + b"\0",
    "removed": lambda data, rng: None,
}


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def zeroed(data: bytes, start: int) -> bytes:
    end = min(start + 64, len(data))
    changed = data[:start] + b"\0" * (end - start) + data[end:]
    return changed if changed != data else flipped(data, 8 * start)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A run with two complete checkpoints, model_2 and model_3."""
    folder = tmp_path_factory.mktemp("damage") / "run_0"
    with quiet():
        build(folder).learn(4)
    assert newest_intact(folder) == (folder / "model_3.pt", [])
    return folder


def files_of_the_newest(run: Path) -> list[str]:
    """Return the names of the files that only the newest checkpoint has."""
    newest, older = (Manifest.read(run / f"model_{i}.manifest.json") for i in (3, 2))
    return ["model_3.manifest.json", *sorted(set(newest.files) - set(older.files))]


def check_damages(run: Path, tmp_path: Path, cases: int, seed: int) -> None:
    rng = random.Random(seed)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    names = files_of_the_newest(copy)
    assert len(names) >= 4  # manifest, weights, state, rows
    for case in range(cases):
        kind = list(DAMAGES)[case % len(DAMAGES)]
        path = copy / names[case // len(DAMAGES) % len(names)]
        data = path.read_bytes()
        damaged = DAMAGES[kind](data, rng)
        if damaged is None:
            path.unlink()
        else:
            path.write_bytes(damaged)
        found, passed_over = newest_intact(copy)
        assert found == copy / "model_2.pt", (kind, path.name)
        if path.name != "model_3.pt" or damaged is not None:
            assert len(passed_over) == 1, (kind, path.name)
            assert passed_over[0].startswith("model_3.pt: ")
        path.write_bytes(data)
    assert newest_intact(copy)[0] == copy / "model_3.pt"


def test_damage_of_every_kind_to_every_file_is_seen_and_the_older_checkpoint_is_used(run, tmp_path):
    check_damages(run, tmp_path, 60, seed=0)


@pytest.mark.faults
def test_thousands_of_damages_are_seen(run, tmp_path, record_figures):
    check_damages(run, tmp_path, 6000, seed=1)
    record_figures("damaged files", cases=6000, unseen=0)


@pytest.mark.parametrize("name", ["model_3.pt", "model_3.manifest.json"])
def test_a_damaged_checkpoint_given_by_path_is_one_clear_error(run, tmp_path, name):
    shutil.copytree(run, tmp_path / "copy")
    path = tmp_path / "copy" / name
    path.write_bytes(flipped(path.read_bytes(), 8 * 40))
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(tmp_path / "copy" / "model_3.pt")


def test_damaged_training_state_is_found_before_anything_is_loaded(run, tmp_path):
    shutil.copytree(run, tmp_path / "run_0")
    state = tmp_path / "run_0" / "resume" / "state_3.pt"
    state.write_bytes(flipped(state.read_bytes(), 8 * 1000))
    with quiet():
        runner = build(tmp_path / "run_1")
    with pytest.raises(
        CheckpointError, match=r"model_3\.pt is damaged: state_3\.pt has another checksum.*--resume"
    ):
        runner.load(str(tmp_path / "run_0" / "model_3.pt"))


def test_a_damaged_best_model_is_refused(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    best = tmp_path / "copy" / "best_model.pt"
    load_checkpoint(best)
    best.write_bytes(flipped(best.read_bytes(), 8 * 3000))
    with pytest.raises(CheckpointError, match="another checksum"):
        load_checkpoint(best)


def test_a_checkpoint_of_rsl_rls_own_runner_needs_no_manifest(run, tmp_path):
    tmp_path.joinpath("stock").mkdir()
    shutil.copy(run / "model_2.pt", tmp_path / "stock")
    shutil.copy(run / "model_3.pt", tmp_path / "stock" / "model_10.pt")
    assert newest_intact(tmp_path / "stock") == (tmp_path / "stock" / "model_10.pt", [])
    assert load_checkpoint(tmp_path / "stock" / "model_10.pt")["iter"] == 3


def test_a_newer_format_is_refused_by_its_number(run, tmp_path):
    shutil.copytree(run, tmp_path / "copy")
    path = tmp_path / "copy" / "model_3.manifest.json"
    contents = json.loads(path.read_bytes())
    path.write_text(json.dumps(contents | {"format": 3}, indent=1))
    with pytest.raises(CheckpointError, match="has format 3, this release reads up to 2; upgrade"):
        Manifest.read(path)


def test_the_command_line_says_what_it_passes_over_and_takes_the_next_run(run, tmp_path, capsys):
    for name in ("2026-01-01_00-00-00", "2026-01-02_00-00-00"):
        shutil.copytree(run, tmp_path / name)
    newer = tmp_path / "2026-01-02_00-00-00"
    for name in ("model_3.pt", "model_2.pt", "model_1.pt", "model_0.pt"):
        (newer / name).write_bytes(b"")
    found = find_checkpoint(str(tmp_path), None, None)
    assert found == tmp_path / "2026-01-01_00-00-00" / "model_3.pt"
    out = capsys.readouterr().out
    assert "passed over 2026-01-02_00-00-00/model_3.pt: model_3.pt has 0 bytes instead of" in out
    assert out.count("passed over") == 4


def test_rows_that_would_run_code_are_refused_even_with_a_manifest_that_vouches_for_them(run, tmp_path):
    shutil.copytree(run, tmp_path / "run_0")
    witness = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(witness),)

    manifest_file = tmp_path / "run_0" / "model_3.manifest.json"
    manifest = Manifest.read(manifest_file)
    rows = tmp_path / "run_0" / manifest.segments[-1]
    torch.save({"slots": Evil()}, rows)
    manifest.files[manifest.segments[-1]] = FileDigest.of(rows.read_bytes())
    manifest.write(manifest_file)
    with quiet():
        runner = build(tmp_path / "run_1")
    with pytest.raises(CheckpointError, match=r"is refused: loading it would call \S+mkdir"):
        runner.load(str(tmp_path / "run_0" / "model_3.pt"))
    assert not witness.exists()
    torch.load(rows, weights_only=False)
    assert witness.exists()  # the file really is dangerous


def test_a_damaged_best_model_is_not_handed_on_and_the_best_is_chosen_anew(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run_0")
    best = tmp_path / "run_0" / "best_model.pt"
    best.write_bytes(flipped(best.read_bytes(), 8 * 3000))
    with quiet():
        runner = build(tmp_path / "run_1")
    runner.load(str(tmp_path / "run_0" / "model_3.pt"))
    assert "the best model so far is lost, and chosen anew" in capsys.readouterr().out
    assert runner.best_mean_reward == float("-inf")
    with quiet():
        runner.learn(2)
    assert load_checkpoint(tmp_path / "run_1" / "best_model.pt")["iter"] >= 4
