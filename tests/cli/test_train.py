"""The train command as users call it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from foundation.cli import prepare, run_folder, train
from foundation.cli.flags import parse
from foundation.distill.checkpoint import load_checkpoint
from foundation.sim.usd import CF2X_USD_PATH
from tests.cli.conftest import newest_run

ROOT = Path(__file__).parents[2]


def fails(capsys, *argv: str) -> str:
    """Assert exit code 2 and one line of error, and return it."""
    with pytest.raises(SystemExit) as caught:
        train.main(list(argv))
    assert caught.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    return lines[0]


@pytest.fixture
def empty(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_documented_command_runs_and_prints_the_documented_lines(teacher_run, tmp_path):
    command = [
        sys.executable, str(ROOT / "foundation/rsl_rl/train.py"),
        "--num_envs", "100", "--task", "distillation", "--checkpoint", str(teacher_run / "best_model.pt"),
        "--logger", "wandb", "--log_project_name", "Foundation",
        f"env.robot.spawn.usd_path={CF2X_USD_PATH}",
        "agent.max_iterations=4", "agent.algorithm.phase1_iterations=2",
        "agent.algorithm.max_updates_per_iteration=2",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    out = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)
    rule = "=" * 80
    for text in (
        "[DAgger] Initialized aggregated buffer with capacity: 100000 transitions\n",
        "[DAgger] Maximum buffer size: 1000000 transitions\n",
        "Learning iteration 1/4",
        "Training Phase: Phase 1 (teacher actions)\nPhase Iteration: 1/2 (Phase 1)\n\n"
        "[DAgger] Aggregated 10000 transitions. Total buffer size: 20000/1000000\n",
        f"{rule}\n{rule}\n  SWITCHING TO PHASE 2: Now using STUDENT actions to update environment\n"
        f"  Iteration: 2\n{rule}\n{rule}\n",
        "Training Phase: Phase 2 (student actions)\nPhase Iteration: 1/2 (Phase 2)\n",
    ):
        assert out.count(text) == 1, text
    run = newest_run(tmp_path, "distillation")
    assert (run / "best_model.pt").exists()
    logged = next((tmp_path / "wandb").glob("offline-run-*/*.wandb")).read_bytes()
    for tag in (b"Distillation/training_phase", b"Loss/behavior", b"Distillation/buffer_size"):
        assert tag in logged


def test_metrics_have_their_documented_names(student_run):
    events = EventAccumulator(str(student_run))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {
        "Distillation/training_phase",
        "Distillation/buffer_size",
        "Distillation/buffer_capacity",
        "Loss/behavior",
    } <= tags
    assert [e.value for e in events.Scalars("Distillation/training_phase")] == [1, 1, 2, 2]


def test_the_teachers_network_is_taken_from_its_run(student_run):
    agent = yaml.safe_load((student_run / "params" / "agent.yaml").read_text())
    assert agent["teacher"]["hidden_dims"] == [16, 8]


def test_a_run_is_repeated_bit_for_bit_from_its_parameters(workspace, student_run, monkeypatch):
    monkeypatch.chdir(workspace)
    train.main(["--task", "distillation", "--params", str(student_run), "--run_name", "again"])
    again = newest_run(workspace, "distillation")
    assert again.name.endswith("_again")
    first, second = (load_checkpoint(run / "model_3.pt")["student_state_dict"] for run in (student_run, again))
    assert all(torch.equal(first[name], second[name]) for name in first)
    train.main(["--task", "distillation", "--params", str(student_run), "--seed", "5"])
    other = load_checkpoint(newest_run(workspace, "distillation") / "model_3.pt")["student_state_dict"]
    assert not torch.equal(first["mlp.0.weight"], other["mlp.0.weight"])


def test_a_student_checkpoint_continues_its_run(workspace, teacher_run, student_run, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    # Everything else comes from the run's own parameters.
    train.main(["--task", "distillation", "--checkpoint", str(student_run), "--run_name", "more"])
    out = capsys.readouterr().out
    assert "Learning iteration 4/8" in out
    assert "Phase Iteration: 2/6 (Phase 2)" in out
    assert "Total buffer size: 400/1000000" in out  # 320 from before
    assert "SWITCHING" not in out
    more = newest_run(workspace, "distillation")
    agent = yaml.safe_load((more / "params" / "agent.yaml").read_text())
    assert agent["algorithm"]["teacher_checkpoint"] == str(teacher_run / "best_model.pt")
    assert load_checkpoint(newest_run(workspace, "distillation") / "model_7.pt")["iter"] == 7


def test_resume_finds_a_run_by_name(workspace, teacher_run, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    flags = ["--task", "point_ctrl", "--max_iterations", "1", "--resume"]
    train.main([*flags, "--load_run", teacher_run.name, "--checkpoint", "model_2.pt"])
    assert "Learning iteration 3/4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("path", "found"),
    [("/nowhere/cf2x.usd", "found no such file"), (str(ROOT / "LICENSE"), "found a file that USD cannot open")],
)
def test_a_bad_usd_file_is_one_error_with_exit_code_2_and_no_run_folder(empty, capsys, path, found):
    error = fails(capsys, "--task", "point_ctrl", f"env.robot.spawn.usd_path={path}")
    assert path in error
    assert found in error
    assert not (empty / "logs").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--task", "distilation"],
            "expected one of point_ctrl, distillation, foundation, tracking; did you mean",
        ),
        (["--task", "distillation", "env.sim.dtt=1"], "unknown setting env.sim.dtt; did you mean env.sim.dt?"),
        (["--task", "distillation", "--num_envs", "x"], "argument --num_envs: invalid int value"),
        (["--task", "distillation", "--num_envs", "0"], "num_envs must be at least 1, got 0"),
        (["--task", "distillation", "--max_iterations", "0"], "max_iterations must be at least 1, got 0"),
        (["--task", "distillation", "--num_env", "4"], "unrecognized argument '--num_env'"),
        (["--task", "distillation", "--run_name", "a/b"], "run_name='a/b' is to be part of a folder's name"),
        (["--task", "distillation", "--run_name", "..\\x"], "is to be part of a folder's name"),
        (
            ["--task", "point_ctrl", "--experiment_name", ".."],
            "experiment_name='..' is to be part",
        ),
        (["--task", "point_ctrl", "--run_name", "x" * 101], "at most 100 characters"),
        (["--task", "distillation", "--foo"], "unrecognized argument '--foo'"),
        (["--task", "distillation", "--checkpoint", "/no/model.pt"], "/no/model.pt does not exist"),
        (["--task", "distillation", "--resume"], "there are no runs under logs/rsl_rl/distillation"),
        (["--task", "distillation", "--load_run", "x"], "--load_run x has no effect without --resume"),
        (["--task", "point_ctrl", "--teacher", "x.pt"], "--teacher has no effect on task point_ctrl"),
        (["--task", "distillation", "--device", "cuda:99"], "--device cuda:99 cannot be used"),
        (["--task", "point_ctrl", "--params", "/no"], "/no/params/env.yaml does not exist"),
        (["--task", "point_ctrl", "agent.anneal_from=0.5", "agent.algorithm.schedule=adaptive"], "schedule=fixed"),
        (["--task", "distillation", "agent.algorithm.max_buffer_size=100"], "at least one rollout (10500"),
        (
            ["--task", "distillation", "agent.algorithm.num_mini_batches=4", "agent.algorithm.mini_batch_size=9"],
            "exclude",
        ),
        (["--task", "distillation", "--seed", "-1"], "seed must be at least 0, got -1"),
        (["--task", "point_ctrl", "env.init.rotor=[0.8]"], "must have 2 values, got 1"),
        (["--task", "point_ctrl", "env.randomization.cf2x.min_thrust_to_weight=3"], "asks for more than 3.0"),
        (["--task", "distillation", "agent.logger=neptune"], "agent.logger must be tensorboard or wandb"),
    ],
)
def test_bad_input_is_one_error_with_exit_code_2_and_no_run_folder(empty, capsys, argv, message):
    assert message in fails(capsys, *argv)
    assert not (empty / "logs").exists()


def test_wrong_kinds_of_checkpoints_are_refused(empty, capsys, teacher_run, student_run):
    teacher, student = str(teacher_run / "best_model.pt"), str(student_run / "best_model.pt")
    assert "holds a student; task point_ctrl" in fails(capsys, "--task", "point_ctrl", "--checkpoint", student)
    assert "holds a student, not" in fails(capsys, "--task", "distillation", "--teacher", student)
    assert "has no effect" in fails(
        capsys, "--task", "distillation", "--checkpoint", student, "--teacher", teacher
    )
    assert "drop --resume" in fails(capsys, "--task", "distillation", "--checkpoint", teacher, "--resume")
    assert not (empty / "logs").exists()


def test_wandb_without_credentials_is_refused_before_the_run(tmp_path):
    # In a process of its own: W&B remembers the first mode that it saw.
    bare = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-m", "foundation.cli.main", "train", "--task", "point_ctrl", "--logger", "wandb"],
        cwd=tmp_path,
        env={**bare, "NETRC": str(tmp_path / "netrc"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert "run wandb login, or set WANDB_MODE=offline" in done.stderr
    assert not (tmp_path / "logs").exists()


def test_a_missing_wandb_gives_the_install_hint(empty, capsys, monkeypatch):
    monkeypatch.setattr(prepare.importlib.util, "find_spec", lambda name: None)
    error = fails(capsys, "--task", "point_ctrl", "--logger", "wandb")
    assert "pip install 'foundation-distill[wandb]'" in error
    assert not (empty / "logs").exists()


@pytest.mark.parametrize("value", ["it's", "a b", "x=1,y", "${oops}", "back\\slash"])
def test_any_text_survives_the_way_from_flag_to_setting(value):
    from foundation.tasks import load_task
    from foundation.tasks.config import compose

    args, _ = parse(train.build_parser(), ["--task", "point_ctrl", f"--run_name={value}"])
    _, agent = compose(load_task("point_ctrl"), flags=prepare.flag_settings(args))
    assert agent.run_name == value


def test_several_teachers_need_an_environment_that_assigns_them(empty, capsys):
    from foundation.tasks import packaged_teacher

    with pytest.raises(ValueError, match="2 teachers are configured, but neither observations nor extras"):
        train.main(
            ["--task", "distillation", "--num_envs", "4", "--max_iterations", "1"]
            + [f"agent.algorithm.teacher_checkpoint=[{packaged_teacher()},{packaged_teacher()}]"]
        )


@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_three_settings_make_the_student_recurrent_and_it_can_be_evaluated(empty, capsys, rnn_type):
    from foundation.cli.evaluate import main as evaluate

    train.main(
        ["--task", "distillation", "--num_envs", "4", "--max_iterations", "2", "agent.num_steps_per_env=20"]
        + [
            "agent.student.class_name=RNNModel",
            f"agent.student.rnn_type={rnn_type}",
            "agent.student.rnn_hidden_dim=32",
        ]
    )
    (run,) = (empty / "logs" / "rsl_rl" / "distillation").iterdir()
    weights = torch.load(run / "best_model.pt")["student_state_dict"]
    assert weights["rnn.rnn.weight_hh_l0"].shape == ({"gru": 3, "lstm": 4}[rnn_type] * 32, 32)
    evaluate(["--student", str(run), "--num_envs", "4"])
    assert "student" in capsys.readouterr().out


def test_the_learning_rate_falls_over_the_whole_run_without_a_setting_of_its_length(empty):
    train.main(
        ["--task", "distillation", "--num_envs", "4", "--max_iterations", "2", "agent.num_steps_per_env=20"]
        + ["agent.algorithm.learning_rate_schedule=linear"]
    )
    (run,) = (empty / "logs" / "rsl_rl" / "distillation").iterdir()
    state = torch.load(run / "model_1.pt")
    assert state["optimizer_state_dict"]["param_groups"][0]["lr"] == pytest.approx(0.5e-3)


def test_settings_of_a_continued_run_are_checked_against_its_own_and_not_the_defaults(empty, capsys):
    short = ["--task", "distillation", "--num_envs", "4", "--max_iterations", "2", "agent.num_steps_per_env=20"]
    gru = ["agent.student.class_name=RNNModel", "agent.student.rnn_type=gru"]
    train.main([*short, *gru, "agent.algorithm.learning_rate_schedule=cosine"])
    (run,) = (empty / "logs" / "rsl_rl" / "distillation").iterdir()
    again = ["--task", "distillation", "--checkpoint", str(run), "--max_iterations", "2"]
    assert "raise learning_rate_iterations, which is 2" in fails(capsys, *again)
    train.main([*again, "agent.algorithm.learning_rate_iterations=4", "agent.student.rnn_num_layers=1"])
    newest = max((empty / "logs" / "rsl_rl" / "distillation").iterdir())
    state = torch.load(newest / "model_3.pt")
    # Cosine at three quarters.
    assert state["optimizer_state_dict"]["param_groups"][0]["lr"] == pytest.approx(1e-3 * (0.5 - 0.5**1.5))


def test_a_runs_folder_is_never_used_twice_and_one_that_appears_meanwhile_is_refused(empty, monkeypatch):
    class Stopped(run_folder.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 2, 3, 4, 5)

    monkeypatch.setattr(run_folder, "datetime", Stopped)
    short = ["--task", "point_ctrl", "--num_envs", "2", "--max_iterations", "1", "agent.num_steps_per_env=4"]
    train.main(short)
    train.main(short)
    folder = empty / "logs" / "rsl_rl" / "point_ctrl_direct"
    assert sorted(path.name for path in folder.iterdir()) == ["2026-01-02_03-04-05", "2026-01-02_03-04-05_2"]
    # As if another run had created its folder between the choice of a name and the first file.
    assert run_folder.claim(folder / "2026-01-02_03-04-05") == folder / "2026-01-02_03-04-05_3"
