"""Teachers on the command line: exported policies, files that have gone, networks of other runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import foundation
from foundation.cli import evaluate, export, play, train
from foundation.distill.checkpoint import load_checkpoint
from tests.cli.conftest import newest_run

SHORT = ["--num_envs", "8", "--max_iterations", "2", "agent.num_steps_per_env=10"]


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def distil(*arguments: str) -> Path:
    train.main(["--task", "distillation", *arguments, *SHORT])
    return newest_run(Path.cwd(), "distillation")


def refused(capsys, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        train.main(["--task", "distillation", *arguments, *SHORT])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert not Path("logs").exists()
    return error


@pytest.mark.parametrize(("name", "flag"), [("policy.onnx", "--checkpoint"), ("policy.pt", "setting")])
def test_an_exported_policy_is_a_teacher_and_its_run_needs_no_other_file(name, flag, teacher_run, here, capsys):
    teacher, form = str(teacher_run / "best_model.pt"), "onnx" if name.endswith("onnx") else "torchscript"
    export.main(["--checkpoint", teacher, "--format", form, "--output", "exported"])
    file = here / "exported" / name
    named = [f"agent.algorithm.teacher_checkpoint={file}"] if flag == "setting" else [flag, str(file)]
    run = distil(*named)
    contents = file.read_bytes()
    shutil.rmtree(here / "exported")
    again = distil("--checkpoint", str(run / "model_1.pt"))
    kept = load_checkpoint(again / "model_3.pt")["teacher_state_dict"]["_extra_state"]
    assert contents in kept.numpy().tobytes()


def test_a_student_is_used_after_its_teachers_run_has_gone(teacher_run, here, capsys):
    shutil.copytree(teacher_run, here / "teacher")
    run = distil("--teacher", "teacher")
    shutil.rmtree(here / "teacher")
    again = distil("--checkpoint", str(run))
    short = ["--num_envs", "8", "--steps", "20", "--num_seeds", "2"]
    evaluate.main(["--student", str(run), *short, "--json", "result.json"])
    assert "student" in json.loads(Path("result.json").read_text())["policies"]
    play.main(["--checkpoint", str(again), "--num_envs", "2", "--steps", "20"])
    export.main(["--checkpoint", str(again), "--format", "torchscript", "--output", "exported"])


@pytest.mark.parametrize("name", ["gone.pt", "gone.onnx"])
def test_a_teacher_that_is_not_there_is_refused_and_no_run_begins(name, here, capsys):
    assert "does not exist" in refused(capsys, "--teacher", name)
    assert f"teacher_checkpoint {here / name} does not exist" in refused(
        capsys, f"agent.algorithm.teacher_checkpoint={name}"
    )


def test_an_exported_policy_is_nothing_but_a_teacher(teacher_run, here, capsys):
    export.main(["--checkpoint", str(teacher_run / "best_model.pt"), "--format", "torchscript", "--output", "out"])
    error = "is an exported policy, which can only be a teacher"
    assert error in refused(capsys, "--task", "point_ctrl", "--checkpoint", "out/policy.pt")
    with pytest.raises(SystemExit):
        evaluate.main(["--teacher", "out/policy.pt", "--student", "out/policy.pt"])
    assert error in capsys.readouterr().err


def test_a_teacher_of_rsl_rl_4_has_the_network_that_its_run_saved(teacher_run, here, capsys):
    state = torch.load(teacher_run / "best_model.pt")
    (here / "old" / "params").mkdir(parents=True)
    agent = yaml.safe_load((teacher_run / "params" / "agent.yaml").read_text())
    noise = agent["actor"].pop("distribution_cfg")
    old = {"stochastic": True, "init_noise_std": noise["init_std"], "noise_std_type": noise["std_type"]}
    (here / "old" / "params" / "agent.yaml").write_text(yaml.dump({"actor": agent["actor"] | old}))
    names = {"distribution.std_param": "std", "distribution.log_std_param": "log_std"}
    renamed = {names.get(name, name): value for name, value in state["actor_state_dict"].items()}
    torch.save({"actor_state_dict": renamed, "iter": 0, "infos": None}, here / "old" / "model_0.pt")
    first, second = distil("--teacher", "old/model_0.pt"), distil("--teacher", str(teacher_run))
    out = capsys.readouterr().out
    assert "was saved by rsl_rl 4.x: read actor (network, normaliser, standard deviation)" in out
    assert out.count("[Run] the teacher's network and observations are those of its run") == 2
    weights = [load_checkpoint(run / "model_1.pt")["teacher_state_dict"] for run in (first, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


BY_HAND = [
    "env.expert={}",
    "agent.teacher.class_name=foundation.distill:ObservedActions",
    "agent.obs_groups.teacher=[expert]",
]


def student_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "model_1.pt")["student_state_dict"]


def test_the_expert_teaches_without_a_checkpoint_as_if_it_were_configured_by_hand(here):
    weights = [student_weights(distil(*flags)) for flags in (["--teacher", "expert"], BY_HAND, [])]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not all(torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["agent.algorithm.teacher_checkpoint=x.pt"],
            "--teacher expert and agent.algorithm.teacher_checkpoint=x.pt",
        ),
        (["--checkpoint", "{teacher}"], "holds a teacher; drop --resume and --teacher to distil from it"),
    ],
)
def test_the_expert_beside_another_teacher_is_refused(flags, message, teacher_run, here, capsys):
    flags = [flag.format(teacher=teacher_run) for flag in flags]
    assert message in refused(capsys, "--teacher", "expert", *flags)


def test_ppo_starts_from_a_privileged_policy_that_was_distilled_from_the_expert(here):
    privileged = ["agent.obs_groups.student=[teacher]", "agent.student.class_name=MLPModel"]
    flier = distil("--teacher", "expert", *privileged, "agent.student.hidden_dims=[8]")
    train.main(["--task", "point_ctrl", "--init_from", str(flier), *SHORT])
    tuned = newest_run(here, "point_ctrl_direct")
    assert yaml.safe_load((tuned / "params" / "agent.yaml").read_text())["obs_groups"]["actor"] == ["teacher"]
    last = max(tuned.glob("model_*.pt"), key=lambda path: path.stat().st_mtime)
    actor, student = load_checkpoint(last)["actor_state_dict"], student_weights(flier)
    moved = max((actor[name] - student[name]).abs().max() for name in student if name.startswith("mlp."))
    assert 0.0 < moved < 0.02
    assert max(student[name].abs().max() for name in student if name.startswith("mlp.")) > 0.2


def test_ppo_tells_how_many_observations_the_encoder_of_a_student_reads(here, capsys):
    encoder = ["agent.student.class_name=foundation.distill:EncoderRnnModel", "agent.student.encoder_dims=[5]"]
    student = distil("--teacher", "expert", *encoder)
    with pytest.raises(SystemExit):
        train.main(
            ["--task", "point_ctrl", "--init_from", str(student), *SHORT, "agent.obs_groups.actor=[teacher]"]
        )
    assert "holds a student of 22 inputs" in capsys.readouterr().err


# A class of the user's, in a module of the working directory.

CONTROLLER = """
import torch
from rsl_rl.models import MLPModel


class Controller(MLPModel):
    needs_checkpoint = False

    def forward(self, obs, masks=None, hidden_state=None, stochastic_output=False):
        return torch.tanh(-obs["teacher"][:, :4])
"""


def foundation_command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "my_controllers.py").write_text(CONTROLLER)
    command = [sys.executable, "-m", "foundation.cli.main", "train", *words, "--num_envs", "8", "--max_iterations"]
    env = os.environ | {"PYTHONPATH": str(Path(foundation.__file__).parents[1]), "PYTHONSAFEPATH": "1"}
    return subprocess.run([*command, "2"], cwd=folder, env=env, capture_output=True, text=True, timeout=170)


def test_a_class_in_the_working_directory_teaches(here):
    words = ["agent.teacher.class_name=my_controllers:Controller", "agent.algorithm.phase1_iterations=1"]
    done = foundation_command(here, "--task", "distillation", "agent.num_steps_per_env=10", *words)
    assert done.returncode == 0, done.stderr
    assert "Teacher Model: Controller(" in done.stdout


def test_a_class_that_reads_a_group_that_it_is_not_given_is_refused_by_that_groups_name(here):
    few = ["env.randomization.num_vehicles=16", "agent.num_steps_per_env=10"]
    words = ["--task", "foundation", "agent.teacher.class_name=my_controllers:Controller", *few]
    done = foundation_command(here, *words)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith(
        "error: agent: the teacher, Controller, reads an observation group that it is not given"
    )
    assert '"teacher" not found' in line
    assert line.endswith("name every group that it reads in obs_groups['teacher']")
    done = foundation_command(here, *words, "agent.obs_groups.teacher=[teacher]")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("given", "way_out"),
    [
        ("mine:Controller", "is no file; a class that computes its actions is given by agent.teacher.class_name="),
        ("C:/runs/model.pt", "does not exist; give a .pt file or a run folder"),
        ("expertt", "does not exist; give a .pt file or a run folder"),
    ],
)
def test_a_class_given_as_a_file_says_how_to_give_it_and_a_path_with_a_colon_is_a_path(
    given, way_out, here, capsys
):
    assert f"{given} {way_out}" in refused(capsys, "--teacher", given)


def test_the_expert_is_refused_for_a_task_that_has_no_teacher(here, capsys):
    with pytest.raises(SystemExit, match="2"):
        train.main(["--task", "point_ctrl", "--teacher", "expert", *SHORT])
    assert (
        "--teacher has no effect on task point_ctrl; it belongs to tasks distillation" in capsys.readouterr().err
    )
