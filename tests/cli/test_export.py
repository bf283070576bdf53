"""The export command as users call it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

import foundation
from foundation.cli import export, train
from foundation.tasks import packaged_student, packaged_teacher
from tests.cli.conftest import distillation_flags, newest_run
from tests.export.conftest import compiler  # noqa: F401 (a fixture)

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def feed_forward_run(workspace, teacher_run) -> Path:
    """A run like ``student_run``, of a student of 128 x 128."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        flags = ["--experiment_name", "feed_forward", "agent.student.class_name=MLPModel"]
        train.main(distillation_flags(teacher_run, *flags))
    return newest_run(workspace, "feed_forward")


def test_all_writes_the_three_formats_into_the_runs_folder_and_prints_what_was_checked(feed_forward_run, capsys):
    export.main(["--checkpoint", str(feed_forward_run)])
    folder = feed_forward_run / "exported"
    assert {path.name for path in folder.iterdir()} == {"policy.onnx", "policy.pt", "policy.h"}
    out = capsys.readouterr().out
    assert out.count("1000 steps of 8 vehicles: on the same observations actions differ by at most") == 3
    assert re.search(
        r"policy.h: .*22 - normaliser - 128 tanh - 128 tanh - 4: \d+ bytes of weights, 19734 multiplications", out
    )


def test_a_recurrent_student_of_a_vehicle_of_its_own_becomes_a_controller_with_that_vehicles_numbers(
    tmp_path, teacher_run, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    options = [
        "agent.student.class_name=RNNModel",
        "agent.student.rnn_type=gru",
        "agent.student.rnn_hidden_dim=8",
        "agent.student.hidden_dims=[16]",
    ]
    train.main(
        distillation_flags(teacher_run, *options, "env.termination.velocity=4.5", "env.robot.motor.tau_up=0.05")
    )
    run = newest_run(tmp_path, "distillation")
    export.main(["--checkpoint", str(run), "--format", "crazyflie", "--output", str(tmp_path / "out")])
    source = tmp_path / "out" / "crazyflie" / "src"
    assert "#define FOUNDATION_MAX_VELOCITY 4.5f" in (source / "vehicle.h").read_text()
    assert "GRU 8" in (source / "policy.h").read_text()
    assert (
        f"Made by foundation {foundation.__version__} from {run.name}/model_3.pt"
        in (source / "policy.h").read_text()
    )


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--checkpoint", "/no.pt"], 2, "/no.pt does not exist"),
        (["--checkpoint", "{student}", "--output", "{file}"], 2, "is a file; give a folder"),
        (["--checkpoint", "{student}", "agent.seed=1"], 2, "must begin with env."),
        (
            ["--checkpoint", "{student}", "--tolerance", "0"],
            2,
            "--tolerance: a tolerance of 0.0 cannot tell a wrong",
        ),
        (["--checkpoint", "{student}", "--tolerance", "nan"], 2, "give a share of the actions' scale above 0"),
        (
            ["--checkpoint", "{feed_forward}", "--format", "crazyflie", "--output", "{folder}"],
            1,
            "a step of this policy would take about 1.17 ms on the vehicle",
        ),
        (
            ["--checkpoint", "{student}", "--format", "c", "--output", "/proc/no"],
            1,
            "/proc/no/policy.h cannot be written",
        ),
        (
            ["--checkpoint", "{teacher}", "--format", "crazyflie", "--output", "{folder}"],
            1,
            "a Crazyflie's controller needs a student of 22 observations and 4 actions, this policy has 37 and 4",
        ),
    ],
)
def test_bad_input_is_one_error(
    flags, code, message, teacher_run, student_run, feed_forward_run, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.touch()
    names = {
        "teacher": teacher_run,
        "student": student_run,
        "feed_forward": feed_forward_run,
        "file": file,
        "folder": tmp_path / "folder",
    }
    with pytest.raises(SystemExit) as caught:
        export.main([flag.format(**names) for flag in flags])
    assert caught.value.code == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_all_leaves_c_out_and_says_so_where_the_network_cannot_be_written_in_c(feed_forward_run, tmp_path, capsys):
    run = shutil.copytree(feed_forward_run, tmp_path / "run", ignore=shutil.ignore_patterns("exported"))
    params = run / "params" / "agent.yaml"
    changed = re.sub(
        r"(student:\n(?:  .*\n)*?  class_name: )MLPModel", r"\1tests.export.models:OwnModel", params.read_text()
    )
    assert changed != params.read_text()
    params.write_text(changed)
    export.main(["--checkpoint", str(run), "--output", str(tmp_path / "out")])
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"policy.onnx", "policy.pt"}
    assert "no policy.h: OwnModel cannot be written as C" in capsys.readouterr().out
    # Asked for by name, it is an error.
    with pytest.raises(SystemExit) as caught:
        export.main(["--checkpoint", str(run), "--output", str(tmp_path / "out"), "--format", "c"])
    assert caught.value.code == 1
    assert (
        "cannot be written as C, only MLPModel, RNNModel and EncoderRnnModel; use onnx or torchscript"
        in capsys.readouterr().err
    )


def test_the_packaged_teacher_is_exported_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export.main(["--checkpoint", str(packaged_teacher()), "--format", "torchscript"])
    assert (tmp_path / "exported" / "policy.pt").is_file()
    assert not (packaged_teacher().parent / "exported").exists()


def test_a_missing_compiler_is_noticed_before_anything_is_written(student_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(SystemExit):
        export.main(["--checkpoint", str(student_run), "--output", str(tmp_path / "out")])
    assert "there is no compiler 'no-such-compiler'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("student", ["student", "student_32"])
def test_a_foundation_student_becomes_a_controller_that_flies_the_nominal_vehicle(student, tmp_path, capsys):
    path = packaged_student().parent.with_name(student)
    export.main(["--checkpoint", str(path), "--format", "crazyflie", "--output", str(tmp_path)])
    out = capsys.readouterr().out
    assert "family raptor" in out
    assert re.search(r"crazyflie: .*\n.*checked: 1000 steps of 8 vehicles: on the same observations", out)
