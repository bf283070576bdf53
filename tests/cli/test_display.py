"""What train prints: blocks, a line on a terminal, or next to nothing."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from foundation.cli import train
from foundation.distill.display import ProgressLine
from tests.cli.conftest import distillation_flags

SCREEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def on_a_terminal(words: list[str], folder) -> str:
    """Return all that a command writes to a terminal of its own."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "foundation.cli.main", *words],
        cwd=folder,
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "80"},
    )
    os.close(theirs)
    seen = b""
    try:
        while chunk := os.read(ours, 4096):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return SCREEN.sub("", seen.decode())


def test_a_terminal_gets_one_line_with_the_time_left_and_the_switch_above_it(tmp_path, teacher_run):
    out = on_a_terminal(["train", *distillation_flags(teacher_run)], tmp_path)
    assert "Learning iteration" not in out
    last = [line for line in re.split(r"[\r\n]+", out) if line.startswith("iteration")][-1]
    assert re.search(r"iteration +4/4 .* left 0:00:00 Phase 2  loss \S+  return \S+", last)
    assert "SWITCHING TO PHASE 2: Now using STUDENT actions" in out
    assert "[Run] finished:" in out


def test_anything_else_gets_the_blocks(tmp_path, teacher_run, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train.main(distillation_flags(teacher_run))
    out = capsys.readouterr().out
    assert out.count("Learning iteration") == 4
    assert "Training Phase: Phase 2 (student actions)" in out


def test_quiet_prints_warnings_and_the_result_and_nothing_else(tmp_path, teacher_run, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # The option that makes num_mini_batches unused is a warning.
    train.main(distillation_flags(teacher_run, "--quiet", "agent.algorithm.use_dagger=false"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("[DAgger] use_dagger is off")
    assert re.fullmatch(r"\[Run\] (mean return \S+|no episode ended)(, best \S+ \(best_model.pt\))?", lines[-2])
    assert lines[-1].startswith("[Run] finished: logs/rsl_rl/distillation/")
    assert len(lines) == 3


def test_quiet_changes_no_weight(tmp_path, teacher_run, monkeypatch):
    import torch

    found = []
    for flags in ([], ["--quiet"]):
        folder = tmp_path / f"run{len(found)}"
        folder.mkdir()
        monkeypatch.chdir(folder)
        train.main(distillation_flags(teacher_run, *flags))
        (path,) = folder.glob("logs/rsl_rl/distillation/*/model_3.pt")
        found.append(torch.load(path, weights_only=True)["student_state_dict"])
    assert all(torch.equal(found[0][name], value) for name, value in found[1].items())


def test_bad_input_is_an_error_also_when_quiet(capsys):
    with pytest.raises(SystemExit):
        train.main(["--task", "distillation", "--quiet", "--checkpoint", "/no.pt"])
    assert "/no.pt does not exist" in capsys.readouterr().err


def test_a_display_that_fails_costs_one_warning_and_no_iteration(tmp_path, teacher_run, monkeypatch, capsys):
    def broken(*_):
        raise RuntimeError("no such terminal")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setattr(ProgressLine, "show", broken)
    train.main(distillation_flags(teacher_run))
    out = capsys.readouterr().out
    assert (
        out.count("[Log] the display failed, blocks are printed from now on: RuntimeError: no such terminal") == 1
    )
    assert out.count("Learning iteration") == 4
