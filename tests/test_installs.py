"""The built package in environments that have nothing else, and beside its hosts; `make test-installs` runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import foundation

ROOT = Path(__file__).parents[1]
if "INSTALLS" not in os.environ:
    pytest.skip("needs the package index and minutes: make test-installs", allow_module_level=True)
FOLDER = Path(os.environ["INSTALLS"])
pytestmark = pytest.mark.timeout(1200)


def done(*words: object, folder: Path = FOLDER, fails: bool = False) -> str:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run([str(word) for word in words], cwd=folder, env=env, capture_output=True, text=True)
    assert (ended.returncode != 0) == fails, ended.stdout + ended.stderr
    return ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def wheel() -> Path:
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("foundation_distill-*"):
        old.unlink()
    done(sys.executable, "-m", "build", "--outdir", FOLDER, ROOT)
    (sdist,) = FOLDER.glob("foundation_distill-*.tar.gz")
    (found,) = FOLDER.glob("foundation_distill-*.whl")
    assert sdist.name == f"foundation_distill-{foundation.__version__}.tar.gz"
    return found


def environment(name: str, requirement: str) -> Path:
    """Return the Python of a new environment with the pinned torch and a requirement."""
    folder = FOLDER / name
    done(sys.executable, "-m", "venv", "--clear", folder)
    python = folder / "bin" / "python"
    install = (python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt")
    done(*install, "torch")
    done(*install, requirement)
    return python


def test_the_wheel_holds_every_file_of_the_package_that_git_tracks(wheel):
    tracked = done("git", "ls-files", "foundation", folder=ROOT).split()
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    assert len(tracked) > 200
    assert not set(tracked) - packed


TRAINING = f"""
import importlib, sys
sys.path.insert(0, {str(ROOT / "examples")!r})
example = importlib.import_module("2_your_own_environment")
teacher = example.train_teacher("teacher", iterations=2)
example.DaggerRunner(example.PointMass(32), example.student_cfg(teacher), "student").learn(2)
"""


def test_the_plug_in_alone_brings_three_packages_of_ours_and_trains(wheel, tmp_path):
    python = environment("plug-in", str(wheel))
    listed = done(python, "-m", "pip", "list", "--format=freeze").lower()
    assert "rsl-rl-lib==" in listed
    for package in ("warp-lang", "usd-core", "hydra-core", "matplotlib", "rich", "psutil", "viser", "onnxruntime"):
        assert f"{package}==" not in listed
    assert "[DAgger] Aggregated" in done(python, "-c", TRAINING, folder=tmp_path)
    assert (tmp_path / "student" / "model_1.pt").is_file()
    out = done(python.parent / "foundation", "train", "--task", "distillation", folder=tmp_path, fails=True)
    assert "pip install 'foundation-distill[quadrotor]'" in out


def test_the_wheel_with_the_simulator_trains_and_flies_in_an_empty_folder(wheel, tmp_path):
    python = environment("quadrotor", f"{wheel}[quadrotor]")
    command = python.parent / "foundation"
    done(command, "train", "--task", "distillation", "--max_iterations", "2", folder=tmp_path)
    student = tmp_path / "logs" / "rsl_rl" / "distillation"
    flags = ("--num_seeds", "1", "--json", tmp_path / "result.json")
    done(command, "evaluate", "--student", student, *flags, folder=tmp_path)
    assert (tmp_path / "result.json").is_file()
    assert done(command, "--version", folder=tmp_path).strip() == foundation.__version__


@pytest.mark.parametrize("extra", ["", "[quadrotor]"])
@pytest.mark.parametrize(
    ("host", "python", "pins"),
    [
        ("isaaclab==3.0.0", "3.12", ["rsl-rl-lib==5.5.1", "warp-lang==1.17.0", "torch==2.11.0"]),
        ("mjlab==1.6.0", "3.12", ["rsl-rl-lib==5.4.2"]),
        ("mjlab==1.6.0", "3.11", ["rsl-rl-lib==5.4.2"]),
        ("rsl-rl-lib==5.4.1", "3.10", []),
        ("rsl-rl-lib==5.5.1", "3.13", []),
    ],
)
def test_a_host_and_this_package_can_be_installed_together(host, python, pins, extra, wheel, tmp_path):
    (tmp_path / "wanted.in").write_text(f"foundation-distill{extra} @ {wheel.as_uri()}\n{host}\n")
    resolved = done(
        sys.executable, "-m", "uv", "pip", "compile", "--python-version", python, tmp_path / "wanted.in"
    )
    assert all(f"{pin}\n" in resolved for pin in [host, *pins])


def test_a_host_that_does_not_fit_would_be_seen(wheel, tmp_path):
    (tmp_path / "wanted.in").write_text(f"foundation-distill @ {wheel.as_uri()}\nrsl-rl-lib==4.0.1\n")
    out = done(sys.executable, "-m", "uv", "pip", "compile", tmp_path / "wanted.in", fails=True)
    assert "No solution found" in out
