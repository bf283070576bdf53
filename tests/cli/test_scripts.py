"""Launchers and console command start from any folder, quickly, and shadow no module."""

from __future__ import annotations

import importlib
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.cli.main import COMMANDS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "foundation" / "rsl_rl"
HELP = {
    "train": "--task",
    "play": "--task",
    "evaluate": "--task",
    "export": "--format",
    "track": "--path",
    "runs": "folder",
    "compare": "RUN",
    "dataset": "--output",
}
"""A word of each command's help."""
LAUNCHERS = ("train", "play", "evaluate")


@pytest.mark.parametrize("script", LAUNCHERS)
@pytest.mark.parametrize("place", ["root", "elsewhere"])
def test_help_is_printed_from_the_root_and_from_another_folder(script, place, tmp_path):
    folder = ROOT if place == "root" else tmp_path
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{script}.py"), "--help"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script}")
    assert HELP[script] in done.stdout


@pytest.mark.parametrize("command", HELP)
def test_help_waits_for_no_heavy_import(command):
    code = (
        f"import sys\nfrom foundation.cli import {command}\n"
        f"try:\n    {command}.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'warp', 'pxr', 'rsl_rl', 'matplotlib', 'viser'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.startswith(f"usage: {command}")
    assert HELP[command] in done.stdout


def test_every_command_is_tested_here_and_every_launcher_runs_its_command(monkeypatch, capsys):
    assert set(COMMANDS) == set(HELP)
    assert {path.stem for path in FOLDER.glob("*.py")} - {"__init__"} == set(LAUNCHERS) <= set(COMMANDS)
    for script in LAUNCHERS:
        monkeypatch.setattr(sys, "argv", [script, "--help"])
        with pytest.raises(SystemExit, match=r"^0$"):
            importlib.import_module(f"foundation.rsl_rl.{script}").main()
        launched = capsys.readouterr().out
        with pytest.raises(SystemExit, match=r"^0$"):
            importlib.import_module(f"foundation.cli.{script}").main(["--help"])
        assert capsys.readouterr().out == launched


def test_no_script_carries_the_name_of_a_standard_module_or_a_dependency():
    names = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    assert not names & taken


def test_importing_the_package_loads_neither_torch_nor_warp():
    code = "import sys, foundation.tasks; foundation.tasks.packaged_teacher(); "
    code += "assert not {'torch', 'warp', 'pxr', 'rsl_rl'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["--version"], 0), ([], 2), (["fly"], 2)])
def test_the_console_command_explains_itself(words, code):
    done = subprocess.run([sys.executable, "-m", "foundation.cli.main", *words], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout if code == 0 else "expected a command" in done.stderr
