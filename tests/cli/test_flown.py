"""A run is flown, continued and repeated with what it was trained on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from foundation.cli import evaluate, export, play, train
from foundation.cli.flags import ISAAC_LAB
from foundation.cli.flown import flown_environment
from foundation.sim.usd import CF2X_USD_PATH, load_quad
from foundation.sim.usd_copy import flattened
from foundation.tasks import load_task, packaged_student, packaged_teacher
from foundation.tasks.run_vehicle import changed_vehicle, vehicle_name
from foundation.tasks.saved_params import load_params
from tests.cli.conftest import newest_run

TEACHER = str(packaged_teacher())
OWN = ["env.randomization.family=none", "env.sim.dt=0.02", "env.robot.motor.thrust_curve=[0.0,0.0,0.4]"]
ROOT_LAYER = """#usda 1.0
(
    defaultPrim = "crazyflie"
    metersPerUnit = 1
    upAxis = "Z"
    subLayers = [@./body.usda@]
)
"""
SHORT = ["--num_envs", "4", "--max_iterations", "2", "agent.num_steps_per_env=5"]


@pytest.fixture(scope="module")
def vehicle(tmp_path_factory) -> Path:
    """A vehicle of twice the packaged one's mass, in two layers: the mass is in a sublayer."""
    folder = tmp_path_factory.mktemp("vehicle")
    text = Path(CF2X_USD_PATH).read_text()
    (folder / "body.usda").write_text(text.replace("physics:mass = 0.025", "physics:mass = 0.05"))
    (folder / "my quad.usda").write_text(ROOT_LAYER)
    assert load_quad(str(folder / "my quad.usda")).mass[0] == pytest.approx(load_quad().mass[0] + 0.025)
    return folder / "my quad.usda"


@pytest.fixture(scope="module")
def teacher(vehicle, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        train.main(["--task", "point_ctrl", *SHORT, *OWN, f'env.robot.spawn.usd_path="{vehicle}"'])
    return newest_run(root, "point_ctrl_direct")


@pytest.fixture(scope="module")
def student(teacher) -> Path:
    root = teacher.parents[3]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        train.main(["--task", "distillation", *SHORT, "--checkpoint", str(teacher)])
    return newest_run(root, "distillation")


def flown(tmp_path, *words) -> dict:
    evaluate.main(
        [
            *words,
            "--num_envs",
            "3",
            "--steps",
            "4",
            "--num_seeds",
            "1",
            "--no_report",
            "--json",
            str(tmp_path / "r.json"),
        ]
    )
    return json.loads((tmp_path / "r.json").read_text())


def test_evaluation_flies_the_vehicle_family_and_rate_of_the_run(teacher, tmp_path, capsys):
    result = flown(tmp_path, "--teacher", str(teacher))
    environment = result["environment"]
    assert environment["randomization"]["family"] == "none"
    assert environment["sim"]["dt"] == 0.02
    assert load_quad(environment["robot"]["spawn"]["usd_path"]).mass[0] == pytest.approx(0.0532, abs=1e-4)
    assert result["overrides"] == []
    assert Path(result["policies"]["teacher"]["checkpoint"]).parent == teacher
    out = capsys.readouterr().out
    assert "vehicle my quad: mass 53.2 g, arm 43.84 mm, inertia " in out
    assert "thrust-to-weight 3.07; family none, 50 Hz" in out
    assert "warning" not in out


def test_overrides_come_on_top_and_one_warning_names_what_differs(teacher, tmp_path, capsys):
    overrides = ["env.sim.dt=0.01", "env.robot.spawn.usd_path=cf2x"]
    result = flown(tmp_path, "--teacher", str(teacher), *overrides)
    assert result["environment"]["sim"]["dt"] == 0.01
    assert result["overrides"] == overrides
    warnings = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert warnings == [
        "warning: flown with other settings than trained with, teacher: env.robot.spawn.usd_path, now cf2x, "
        "env.sim.dt 0.02 -> 0.01"
    ]


def test_distillation_takes_the_teachers_vehicle_family_and_rate_unless_told_otherwise(student, teacher, capsys):
    env = yaml.safe_load((student / "params" / "env.yaml").read_text())
    assert (env["sim"]["dt"], env["randomization"]["family"]) == (0.02, "none")
    assert flattened(str(student / "params" / "vehicle.usda")) == flattened(
        str(teacher / "params" / "vehicle.usda")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(student.parents[3])
        train.main(["--task", "distillation", *SHORT, "--checkpoint", str(teacher), "env.sim.dt=0.01"])
    run = newest_run(student.parents[3], "distillation")
    assert yaml.safe_load((run / "params" / "env.yaml").read_text())["sim"]["dt"] == 0.01
    assert (
        "vehicle, family and rate are those of the teacher's run, unless set otherwise" in capsys.readouterr().out
    )


def test_play_flies_the_runs_vehicle(student, tmp_path, capsys):
    play.main(
        ["--checkpoint", str(student), "--num_envs", "2", "--steps", "3", "--output", str(tmp_path / "f.png")]
    )
    assert "vehicle my quad: mass 53.2 g" in capsys.readouterr().out


class TestWithoutTheOriginal:
    @pytest.fixture
    def moved(self, teacher, vehicle):
        """Change the original while a test runs."""
        body = vehicle.with_name("body.usda")
        text = body.read_text()
        body.write_text(text.replace("physics:mass = 0.05", "physics:mass = 0.06"))
        yield
        body.write_text(text)

    def test_a_changed_original_is_said_and_the_runs_own_vehicle_flies(self, moved, teacher, tmp_path, capsys):
        result = flown(tmp_path, "--teacher", str(teacher))
        assert load_quad(result["environment"]["robot"]["spawn"]["usd_path"]).mass[0] == pytest.approx(
            0.0532, abs=1e-4
        )
        assert "my quad.usda has changed since this run" in capsys.readouterr().out

    def test_an_export_says_so_too_and_what_it_flies(self, moved, teacher, tmp_path, capsys):
        export.main(["--checkpoint", str(teacher), "--format", "torchscript", "--output", str(tmp_path)])
        out = capsys.readouterr().out
        assert "my quad.usda has changed since this run" in out
        assert "[Export] vehicle my quad: mass 53.2 g" in out

    def test_an_unchanged_original_is_not_mentioned(self, teacher):
        assert changed_vehicle(teacher / "params") is None

    @pytest.mark.parametrize("note", ["", "{", "[]", '{"path": "x"}', "\0"])
    def test_a_damaged_note_of_the_original_is_said_and_the_runs_own_vehicle_flies(self, note, teacher, tmp_path):
        shutil.copytree(teacher / "params", tmp_path / "params")
        (tmp_path / "params" / "vehicle.json").write_text(note)
        assert "vehicle.json is damaged; flown is" in str(changed_vehicle(tmp_path / "params"))
        copy = tmp_path / "params" / "vehicle.usda"
        assert load_params(tmp_path, "env")["robot"]["spawn"]["usd_path"] == str(copy.resolve())
        assert vehicle_name(str(copy)) == "vehicle"

    def test_a_run_is_repeated_bit_for_bit_after_the_original_is_gone(self, teacher, vehicle, monkeypatch):
        root = teacher.parents[3]
        monkeypatch.chdir(root)
        hidden = vehicle.rename(vehicle.with_suffix(".hidden"))
        try:
            train.main(["--task", "point_ctrl", "--params", str(teacher)])
        finally:
            hidden.rename(vehicle)
        again = newest_run(root, "point_ctrl_direct")
        assert again != teacher
        weights = [
            torch.load(run / "model_1.pt", weights_only=True)["actor_state_dict"] for run in (teacher, again)
        ]
        for name, value in weights[0].items():
            assert torch.equal(value, weights[1][name])

    def test_continuing_at_another_rate_is_announced(self, teacher, monkeypatch, capsys):
        monkeypatch.chdir(teacher.parents[3])
        train.main(
            ["--task", "point_ctrl", "--checkpoint", str(teacher), "--max_iterations", "1", "env.sim.dt=0.01"]
        )
        assert "other settings of the environment" in (out := capsys.readouterr().out)
        assert "env.sim.dt 0.02 -> 0.01" in out


def test_the_newest_run_of_all_experiments_stands_for_their_folder(student, tmp_path):
    root = student.parents[1]
    newest = max(root.glob("*/*"), key=lambda run: (run.name, str(run)))
    role = "student" if newest.parent.name == "distillation" else "teacher"
    result = flown(tmp_path, f"--{role}", str(root))
    assert Path(result["policies"][role]["checkpoint"]).parent == newest


def test_ctrl_c_while_modules_are_imported_ends_with_one_line_and_130(tmp_path):
    # Stands for a slow import: interrupts the process from within it. A process that was started in the background
    # ignores the signal, unless it has a handler.
    lines = [
        "import os, signal, time",
        "signal.signal(signal.SIGINT, signal.default_int_handler)",
        "os.kill(os.getpid(), signal.SIGINT)",
        "time.sleep(9)",
    ]
    (tmp_path / "torch.py").write_text("\n".join(lines))
    words = [sys.executable, "-m", "foundation.cli.main", "train", "--task", "point_ctrl"]
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), root])}
    done = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr.strip() == "interrupted"


@pytest.mark.parametrize("flag", [*sorted(ISAAC_LAB.keys() - {"--headless"}), "--video_length=200"])
def test_flags_of_isaac_lab_that_mean_nothing_here_are_explained(flag, capsys):
    with pytest.raises(SystemExit):
        train.main(["--task", "point_ctrl", flag])
    assert f"{flag.partition('=')[0]} has no effect: " in capsys.readouterr().err


def test_a_command_without_the_flag_explains_headless(capsys):
    with pytest.raises(SystemExit):
        export.main(["--checkpoint", "nowhere", "--headless"])
    assert "--headless has no effect: this command opens no window" in capsys.readouterr().err


def test_a_path_with_blanks_says_how_to_quote_it(capsys):
    with pytest.raises(SystemExit):
        train.main(["--task", "point_ctrl", "env.robot.spawn.usd_path=/my quads/drü.usda)"])
    assert "quote a value with blanks or special characters twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--task", "distillation", "--num_env", "4"],
            "unrecognized argument '--num_env'; did you mean --num_envs?",
        ),
        (["--task", "distillation", "--distributed"], "--distributed needs torchrun: torchrun --nproc_per_node 2"),
        (["--num_envs", "4"], "the following arguments are required: --task"),
        (["--task", "distillation", "--num_envs", "four"], "argument --num_envs: invalid int value: 'four'"),
    ],
)
def test_errors_of_flags_are_one_line(words, message, capsys):
    with pytest.raises(SystemExit) as caught:
        train.main(words)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["--task", "foundation"]])
def test_the_packaged_foundation_student_given_by_its_path_flies_what_it_was_trained_on(words, tmp_path, capsys):
    flags = ["--num_envs", "2", "--steps", "3", "--num_seeds", "1", "--no_report", "env.expert=null", *words]
    evaluate.main(["--student", str(packaged_student()), *([] if not words else ["--teacher", TEACHER]), *flags])
    out = capsys.readouterr().out
    assert "65536 vehicles of 0.02" in out
    assert "family raptor" in out


def test_a_vehicle_of_family_foundation_is_not_described_as_the_nominal_one(capsys):
    flags = ["--num_envs", "2", "--steps", "3", "--num_seeds", "1", "--no_report", "--teacher", TEACHER]
    evaluate.main([*flags, "env.randomization.family=foundation", "env.randomization.num_vehicles=64"])
    assert re.search(r"64 vehicles of [\d.]+ to [\d.]+ kg, .*; family foundation", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("env.randomization.raptor.force=0.1", "no effect; leave it out, or set env.randomization.family=raptor"),
        ("env.randomization.foundation.mass=[0.1,0.2]", "or set env.randomization.family=foundation"),
        ("env.randomization.raptor={force:0.1}", "or set env.randomization.family=raptor"),
        ("env.noise.delayed_share=0.5", "no effect; leave it out, or set env.noise.delay"),
    ],
)
def test_a_setting_that_another_one_silences_is_refused(setting, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        evaluate.main(["--teacher", TEACHER, "--num_envs", "2", "--steps", "3", setting])
    assert message in capsys.readouterr().err


def test_the_expert_is_computed_where_it_flies_or_may_be_exchanged_and_nowhere_else():
    few = ["env.randomization.num_vehicles=16"]
    task, student, expert = load_task("foundation"), {"policy": packaged_student()}, {"teacher": Path("expert")}
    assert flown_environment(task, student, few, {}).expert is None
    assert flown_environment(task, student | expert, few, {}).expert is not None
    assert flown_environment(task, student, few, {}, is_live=True).expert is not None
    assert flown_environment(task, student, [*few, "env.expert.tilt=0.001"], {}).expert.tilt == 0.001
