"""The scripts start from anywhere and shadow nobody."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.rsl_rl.main import COMMANDS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "foundation" / "rsl_rl"
SCRIPTS = {
    "train": "--task",
    "play": "--task",
    "evaluate": "--task",
    "export": "--format",
    "runs": "folder",
    "compare": "RUN",
}
"""Each with what its help has to name."""


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("place", ["root", "elsewhere"])
def test_help_is_printed_from_the_root_and_from_another_folder(script, place, tmp_path):
    folder = ROOT if place == "root" else tmp_path
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{script}.py"), "--help"], cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {script}")
    assert SCRIPTS[script] in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_waits_for_no_heavy_import(script):
    code = (
        f"import sys\nfrom foundation.rsl_rl import {script}\n"
        f"try:\n    {script}.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'warp', 'pxr', 'rsl_rl', 'matplotlib', 'viser'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_every_script_is_a_subcommand_and_is_tested_here():
    scripts = {path.stem for path in FOLDER.glob("*.py")} - {"__init__", "cli", "main"}
    assert scripts == set(COMMANDS) == set(SCRIPTS)


def test_no_script_carries_the_name_of_a_standard_module_or_a_dependency():
    names = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    taken = set(sys.stdlib_module_names) | set(importlib.metadata.packages_distributions())
    assert not names & taken


def test_importing_the_package_loads_neither_torch_nor_warp():
    code = "import sys, foundation; assert not {'torch', 'warp', 'pxr', 'rsl_rl'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("words", "code"), [(["--help"], 0), (["--version"], 0), ([], 2), (["fly"], 2)])
def test_the_console_command_explains_itself(words, code):
    done = subprocess.run([sys.executable, "-m", "foundation.rsl_rl.main", *words], capture_output=True, text=True)
    assert done.returncode == code
    assert done.stdout if code == 0 else "expected a command" in done.stderr
