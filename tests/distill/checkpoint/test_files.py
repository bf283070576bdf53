"""Checkpoints survive crashes and run no code."""

from __future__ import annotations

import os

import pytest
import torch

from foundation.distill.checkpoint import CheckpointError, atomic_save, checkpoint_kind, load_checkpoint


def test_what_was_saved_is_loaded(tmp_path):
    state = {"a": torch.arange(3), "b": {"c": 1.5, "d": None}}
    atomic_save(state, tmp_path / "x.pt")
    loaded = load_checkpoint(tmp_path / "x.pt")
    assert torch.equal(loaded["a"], state["a"])
    assert loaded["b"] == state["b"]


def test_a_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    atomic_save({"a": 1}, path)

    def crash(state, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", crash)
    with pytest.raises(OSError, match="disk full"):
        atomic_save({"a": 2}, path)
    assert load_checkpoint(path) == {"a": 1}
    assert os.listdir(tmp_path) == ["x.pt"]


def test_a_file_that_would_run_code_is_refused_unexecuted(tmp_path):
    witness = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(witness),)

    torch.save({"x": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"is refused: loading it would call \S+mkdir"):
        load_checkpoint(tmp_path / "evil.pt")
    assert not witness.exists()
    torch.load(tmp_path / "evil.pt", weights_only=False)
    assert witness.exists()  # the file really is dangerous


@pytest.mark.parametrize("content", [b"", b"junk", b"PK\x03\x04 truncated"])
def test_a_damaged_file_is_refused_by_path(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"checkpoint {path} is damaged"):
        load_checkpoint(path)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    path = tmp_path / "x.pt"
    atomic_save({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)


def test_kinds_are_told_apart():
    assert checkpoint_kind({"actor_state_dict": {}}, "x") == "teacher"
    assert checkpoint_kind({"student_state_dict": {}, "teacher_state_dict": {}}, "x") == "student"
    with pytest.raises(CheckpointError, match=r"checkpoint x holds \['foo'\], expected"):
        checkpoint_kind({"foo": 1}, "x")
