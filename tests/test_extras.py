"""The plug-in works without what the extras bring, and what needs an extra says which."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT = """
import sys
from importlib.machinery import PathFinder
missing = sys.argv.pop(1).split(",")
found = PathFinder.find_spec
def find(name, path=None, target=None):
    return None if name.partition(".")[0] in missing else found(name, path, target)
PathFinder.find_spec = find
"""
"""Beginning of a program that cannot import what its first argument names."""
OF_EXTRAS = (
    "h5py,hydra,imageio_ffmpeg,matplotlib,minari,omegaconf,onnxruntime,psutil,pxr,pyarrow,rich,scipy,viser,wandb,"
    "warp,yaml"
)
TRAINING = """
from pathlib import Path
from foundation.distill import DaggerRunner
from tests.support.runners import make
runner = make(log_dir="first", runner=DaggerRunner)
runner.learn(3)
again = make(log_dir="second", runner=DaggerRunner)
again.load("first/model_2.pt")
again.learn(2)
print("weights", [float(value.double().sum()) for value in again.alg.get_policy().state_dict().values()])
from foundation.distill.checkpoint.run_network import network_of_run
Path("params").mkdir()
Path("params/agent.yaml").write_text("student: {class_name: MLPModel, hidden_dims: [3]}")
print("network", network_of_run("model_2.pt", "student"))
"""
"""Trains a student, continues it, and reads a run's settings."""


def run(program: str, folder: Path, missing: str) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + program, missing],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def printed(done: subprocess.CompletedProcess[str], word: str) -> str:
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith(word))
    return line


def test_a_student_trains_and_continues_to_the_same_weights_with_the_plug_ins_requirements_alone(tmp_path):
    with_all = run(TRAINING, tmp_path / "all", "nothing")
    alone = run(TRAINING, tmp_path / "alone", OF_EXTRAS)
    assert printed(alone, "weights") == printed(with_all, "weights")
    assert printed(alone, "network") == "network None"
    assert printed(with_all, "network").startswith("network {'class_name': 'MLPModel'")
    assert "psutil is not installed: whether the history fits into memory is not checked" in alone.stdout
    assert "PyYAML is not installed: networks are not read from the folders of runs" in alone.stdout
    assert "not installed" not in with_all.stdout


@pytest.mark.parametrize("command", ["train", "play", "evaluate", "runs", "compare", "export", "dataset"])
def test_a_command_without_the_extra_ends_with_one_line_that_installs_it(command, tmp_path):
    program = f"from foundation.cli.main import main\nmain([{command!r}])"
    done = run(program, tmp_path / "without", OF_EXTRAS)
    assert done.returncode == 2
    line = done.stderr.strip()
    assert line.startswith(f"error: foundation {command} needs ")
    assert line.endswith(" which is not installed; pip install 'foundation-distill[quadrotor]'")
    assert "\n" not in line


@pytest.mark.parametrize("script", ["train", "play", "evaluate"])
def test_a_script_without_the_extra_ends_with_the_same_line(script, tmp_path):
    program = (
        f"import runpy\nrunpy.run_path({str(ROOT / 'foundation/rsl_rl' / script)!r} + '.py', run_name='__main__')"
    )
    done = run(program, tmp_path / "without", OF_EXTRAS)
    assert done.returncode == 2
    assert "pip install 'foundation-distill[quadrotor]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("package", ["hydra", "omegaconf", "pxr", "warp"])
def test_make_env_names_the_extra_of_the_package_that_is_missing(package, tmp_path):
    program = "import foundation\nfoundation.make_env('point_ctrl', 2, overrides=['env.sim.dt=0.01'])"
    done = run(program, tmp_path / "without", package)
    assert f"MissingExtraError: foundation.make_env needs {package}, which is not installed" in done.stderr


def test_gymnasiums_environments_name_the_extra_and_need_no_other(tmp_path):
    program = "from foundation.integrations.gymnasium import GymnasiumVecEnv\n"
    program += "print('envs', GymnasiumVecEnv('Pendulum-v1', 3).num_envs)"
    assert printed(run(program, tmp_path / "alone", OF_EXTRAS), "envs") == "envs 3"
    done = run(program, tmp_path / "without", "gymnasium")
    assert "needs gymnasium, which is not installed; pip install 'foundation-distill[gymnasium]'" in done.stderr


@pytest.mark.parametrize(
    ("host", "package"),
    [("mjlab", "mjlab"), ("isaaclab", "isaaclab_tasks"), ("isaaclab", "gymnasium")],
)
def test_a_host_that_is_missing_is_named_with_its_installation(host, package, tmp_path):
    done = run(f"import foundation.integrations.{host}", tmp_path / "run", package)
    expected = f"foundation.integrations.{host} needs {package}, which is not installed; pip install {host}"
    assert done.stderr.splitlines()[-1].endswith(expected)


def test_a_missing_package_that_no_extra_brings_stays_what_it_is(tmp_path):
    done = run("import foundation\nfoundation.make_env('point_ctrl')", tmp_path / "without", "tensordict")
    assert "ModuleNotFoundError: No module named 'tensordict'" in done.stderr
    assert "MissingExtraError" not in done.stderr


@pytest.mark.parametrize(
    ("form", "package", "more"),
    [("minari", "minari", []), ("minari", "h5py", []), ("lerobot", "pyarrow", ["--fps", "10"])],
)
def test_a_dataset_names_the_extra_of_the_package_that_is_missing(form, package, more, tmp_path):
    program = f"""
from foundation.cli.main import main
from tests.support.recorded import trained
from pathlib import Path
trained("feed-forward", Path("run"))
main(["dataset", "export", "run", "--format", "{form}", "--output", "d-v0", *{more}])
"""
    done = run(program, tmp_path / "without", package)
    assert done.returncode == 2
    assert f"needs {package}, which is not installed; pip install 'foundation-distill[datasets]'" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "without" / "d-v0").exists()
