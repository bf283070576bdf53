"""The output of train: blocks, a line on a terminal, or warnings and results only."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import sys
import threading
from collections.abc import Iterator

import pytest
import rich

from foundation.cli import train
from foundation.distill.runners.progress import ProgressLine
from tests.cli.conftest import distillation_flags

SCREEN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@contextlib.contextmanager
def terminal(monkeypatch) -> Iterator[list[bytes]]:
    """Make standard output a terminal of 80 columns, and give what it has received, complete in the end."""
    ours, theirs = pty.openpty()
    received: list[bytes] = []

    def receive() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 4096):
                received.append(chunk)

    reader = threading.Thread(target=receive)
    reader.start()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with open(theirs, "w") as stream, contextlib.redirect_stdout(stream):
        rich.reconfigure()  # rich reads the environment when its console is made
        yield received
    reader.join()
    os.close(ours)
    rich.reconfigure()


def test_a_terminal_gets_one_line_with_the_time_left_and_the_switch_above_it(tmp_path, teacher_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with terminal(monkeypatch) as received:
        train.main(distillation_flags(teacher_run))
    out = SCREEN.sub("", b"".join(received).decode())
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
