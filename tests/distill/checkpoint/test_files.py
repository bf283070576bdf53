"""Checkpoints survive crashes and run no code."""

from __future__ import annotations

import argparse
import os
import shlex
from collections import OrderedDict, defaultdict
from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
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


HARMLESS = {
    "number": np.float64(1.5),
    "narrow_number": np.float32(0.5),
    "whole": np.int64(7),
    "switch": np.bool_(True),
    "text": np.str_("x"),
    "half": np.float16(0.25),
    "complex": np.complex64(1 + 2j),
    "big_endian": np.dtype(">i4").type(5),
    "bytes": np.bytes_(b"abc"),
    "path": Path("logs") / "run",
    "defaultdict": defaultdict(list, {"a": [1]}),
    "counts": defaultdict(int, {"a": 1}),
    "ordered": OrderedDict(a=1),
    "nested": {"metrics": [np.float32(1.0), {"path": Path("x")}]},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_numbers_of_numpy_paths_and_defaultdicts_load(name, tmp_path):
    torch.save({"iter": 1, "infos": HARMLESS[name]}, tmp_path / "x.pt")
    loaded = load_checkpoint(tmp_path / "x.pt")["infos"]
    assert type(loaded) is (dict if isinstance(HARMLESS[name], defaultdict) else type(HARMLESS[name]))
    assert loaded == HARMLESS[name]


class Settings(NamedTuple):
    width: int


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (Settings(3), r"\S+\.Settings"),
        (date(2026, 1, 1), r"datetime\.date"),
        (argparse.Namespace(lr=1e-3), r"argparse\.Namespace"),
        (np.array([Settings(3)], dtype=object), r"numpy\S+_reconstruct"),
        (np.random.default_rng(0), r"numpy\.random\S+"),
        (np.arange(3), r"numpy\S+_reconstruct"),
        (np.datetime64("2026-01-01"), r"numpy\.dtype\('M8'\)"),
        (np.zeros(1, "O,i4")[0], r"numpy\.dtype\('V12'\)"),
    ],
)
def test_other_objects_are_named_with_the_command_that_saves_the_file_without(value, names, tmp_path):
    path = tmp_path / "x.pt"
    weights = {"mlp.0.weight": torch.ones(2)}
    torch.save({"actor_state_dict": weights, "iter": 4, "infos": {"seen": value}}, path)
    with pytest.raises(
        CheckpointError, match=f"would call {names}, and .* if you trust its author, save"
    ) as caught:
        load_checkpoint(path)
    command = shlex.split(str(caught.value).split("save it without: ")[1])
    assert command[:2] == ["python", "-c"]
    exec(command[2], {})
    loaded = load_checkpoint(tmp_path / "x_plain.pt")
    assert (loaded["iter"], loaded["infos"]) == (4, None)
    assert torch.equal(loaded["actor_state_dict"]["mlp.0.weight"], weights["mlp.0.weight"])
