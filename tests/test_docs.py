"""Every command and every Python block of the documents runs."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from foundation.cli import compare, dataset, evaluate, export, play, runs, track, train
from foundation.distill import DaggerOptions
from foundation.export.c_library import compile_c
from foundation.sim.usd import CF2X_USD_PATH

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
MAINS = {
    "train": train.main,
    "evaluate": evaluate.main,
    "play": play.main,
    "export": export.main,
    "runs": runs.main,
    "compare": compare.main,
    "dataset": dataset.main,
    "track": track.main,
}
MINARI = "datasets/minari/flights-v0"
# Later flags win, so these shorten whatever a command says.
SHORTER = {
    "train": ["--num_envs", "8", "--max_iterations", "2", "agent.num_steps_per_env=10"],
    "evaluate": ["--num_envs", "8", "--steps", "20", "--num_seeds", "2"],
    "play": ["--num_envs", "2", "--steps", "20"],
    "track": ["--num_envs", "4", "--seeds", "1", "--duration", "2"],
}


def blocks(language: str) -> list:
    found = []
    for path in DOCUMENTS:
        for index, text in enumerate(re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.S | re.M)):
            found.append(pytest.param(text, id=f"{path.name}-{index}"))
    return found


def commands() -> list:
    found = {}
    for parameter in blocks("bash"):
        for line in parameter.values[0].replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                found.setdefault(" ".join(words), words)
    return [pytest.param(words, id=text[:80]) for text, words in found.items()]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A working directory with the runs that the documents speak of."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "foundation").symlink_to(ROOT / "foundation")
    (folder / "benchmarks").symlink_to(ROOT / "benchmarks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main(["--task", "point_ctrl", *SHORTER["train"]])
        move_run("point_ctrl_direct", "2025-12-01_18-51-49")
        train.main(["--task", "distillation", *SHORTER["train"], "agent.student.hidden_dims=[16,16]"])
        move_run("distillation", "2025-12-02_09-00-00")
        exec(authored_vehicle(), {})  # writes quad250.usda
        export.main(["--checkpoint", "logs/rsl_rl/distillation", "--output", "exported"])
        dataset.main(["export", "logs/rsl_rl/distillation", "--format", "minari", "--output", MINARI])
    return folder


def authored_vehicle() -> str:
    """Return the block of docs/VEHICLES.md that writes a vehicle."""
    found = re.search(r"^```python\n(from pxr .*?)^```", (ROOT / "docs" / "VEHICLES.md").read_text(), re.S | re.M)
    assert found is not None
    return found[1]


def move_run(experiment: str, name: str) -> None:
    (run,) = Path("logs/rsl_rl", experiment).iterdir()
    shutil.move(run, run.with_name(name))


@pytest.mark.parametrize("words", commands())
def test_a_command_of_the_documents_works(words, place, monkeypatch):
    monkeypatch.chdir(place)
    words = [word.replace("/path/to/cf2x.usd", CF2X_USD_PATH) for word in words]
    if words[:2] == ["git", "clone"] or words[0] == "cd":
        return
    if words[0] == "make":
        subprocess.run(["make", "--dry-run", *words[1:]], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    elif words[:2] == ["pip", "install"]:
        extras = re.findall(r"\[(\w+)\]", " ".join(words))
        declared = (ROOT / "pyproject.toml").read_text()
        assert all(f"\n{extra} = [" in declared for extra in extras)
    elif words[0] in ("foundation", "python"):
        script = words[1] if words[0] == "foundation" else Path(words[1]).stem
        if script == "dataset":
            shutil.rmtree(words[-1], ignore_errors=True)
        if script in MAINS:
            MAINS[script]([*words[2:], *SHORTER.get(script, [])])
        else:
            subprocess.run([sys.executable, words[1], "--help"], check=True, stdout=subprocess.DEVNULL)
    elif words[0] == "bash":
        assert os.access(ROOT / words[1], os.X_OK)
    else:
        pytest.fail(f"no way to check {words}")


def test_minari_lists_the_folder_that_the_documents_write_to(tmp_path, monkeypatch):
    minari = pytest.importorskip("minari")
    exports = [words for (words,) in (one.values for one in commands()) if words[:2] == ["foundation", "dataset"]]
    kinds = {words[words.index("--format") + 1]: Path(words[-1]) for words in exports}
    assert kinds.keys() == {"minari", "lerobot"}
    assert str(kinds["minari"]) == MINARI
    # Minari takes every folder for one of its own; LeRobot's metadata lie elsewhere.
    (tmp_path / kinds["minari"] / "data").mkdir(parents=True)
    metadata = {"dataset_id": kinds["minari"].name, "minari_version": minari.__version__, "dataset_size": 0.1}
    (tmp_path / kinds["minari"] / "data" / "metadata.json").write_text(json.dumps(metadata))
    (tmp_path / kinds["lerobot"] / "data").mkdir(parents=True)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / kinds["minari"].parent))
    assert list(minari.list_local_datasets()) == [kinds["minari"].name]
    (tmp_path / kinds["minari"].parent / "flights" / "data").mkdir(parents=True)
    with pytest.raises(TypeError):
        minari.list_local_datasets()


@pytest.mark.parametrize("code", blocks("python"))
def test_a_python_block_of_the_documents_runs(code, place, monkeypatch):
    monkeypatch.chdir(place)
    if "integrations.mjlab" in code:
        pytest.importorskip("mjlab", reason="make test-mjlab registers the same task")
    if "integrations.isaaclab" in code:
        pytest.importorskip("isaaclab", reason="make test-isaaclab registers the same task")
    exec(compile(code, "document", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("code", blocks("c"))
def test_a_c_block_of_the_documents_compiles_and_runs(code, place, tmp_path):
    (tmp_path / "main.c").write_text(code)
    compile_c([tmp_path / "main.c"], [place / "exported"], tmp_path / "main.so", "-Wl,--no-undefined")
    assert ctypes.CDLL(str(tmp_path / "main.so")).main() == 0


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target


def test_both_readmes_have_the_same_commands_tables_and_pictures():
    english, chinese = ((ROOT / name).read_text() for name in ("README.md", "README.zh-CN.md"))
    for pattern in (r"^```(?:bash|python)\n.*?^```", r"!\[[^]]*\]\([^)]*\)", r"\d+\.\d+ ?%"):
        strip = re.compile(r"!\[[^]]*\]")
        first, second = (
            [strip.sub("", item) for item in re.findall(pattern, text, re.S | re.M)] for text in (english, chinese)
        )
        assert first == second


def test_the_table_of_options_has_every_option_with_its_default_and_a_test_that_exists():
    text = (ROOT / "docs" / "DAGGER_IMPLEMENTATION.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| `(.*?)` \| .* \| `([\w./]+\.py)::(\w+)` \|$", text, re.M)
    assert [(name, default) for name, default, _, _ in rows] == [
        (field.name, str(field.default)) for field in fields(DaggerOptions)
    ]
    for _, _, file, test in rows:
        assert f"def {test}(" in (ROOT / "tests" / "distill" / file).read_text(), test


def test_the_page_of_settings_is_the_one_that_its_script_writes(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    settings = importlib.import_module("settings")
    assert (ROOT / "docs" / "SETTINGS.md").read_text() == settings.page()


def test_every_fault_of_the_reliability_page_is_proven_by_a_test_that_exists():
    text = (ROOT / "docs" / "RELIABILITY.md").read_text()
    tests = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(tests) >= 15
    for file, test in tests:
        assert f"def {test}(" in (ROOT / file).read_text(), test
