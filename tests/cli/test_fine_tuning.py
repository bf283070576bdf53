"""Fine-tuning a distilled student with PPO, as users call it."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from foundation.cli import evaluate, play, train
from foundation.cli.flags import parse
from foundation.cli.prepare import prepare_run
from foundation.distill.checkpoint import load_checkpoint
from foundation.evaluation.policies import load_policy
from foundation.tasks import create_env, load_task
from foundation.tasks.config import compose
from tests.cli.conftest import SHORT, distillation_flags, newest_run
from tests.cli.test_train import fails

FINE_TUNING = ["--task", "point_ctrl", "--num_envs", "8", *SHORT, "agent.save_interval=1"]


def fine_tune(workspace: Path, student: Path, *more: str) -> Path:
    """Fine-tune a student for three iterations, or as the flags say, and return the run's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workspace)
        train.main([*FINE_TUNING, "--max_iterations", "3", "--init_from", str(student), *more])
    return newest_run(workspace, "point_ctrl_direct")


@pytest.fixture(scope="module")
def tuned_run(workspace, student_run) -> Path:
    """Three iterations, of which two warm the critic up."""
    return fine_tune(workspace, student_run, "agent.critic_warmup_iterations=2")


def student_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(run / "model_3.pt")["student_state_dict"]


def weights(run: Path, iteration: int, model: str = "actor") -> dict[str, torch.Tensor]:
    return load_checkpoint(run / f"model_{iteration}.pt")[f"{model}_state_dict"]


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of the entries that are not equal bit for bit."""
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def agent_params(run: Path) -> dict:
    return yaml.safe_load((run / "params" / "agent.yaml").read_text())


def actions(checkpoint: Path, steps: int = 4) -> torch.Tensor:
    """Return a policy's actions on random observations that are the same for every policy."""
    env_cfg, _ = compose(load_task("distillation"), flags={"env.num_envs": 5})
    obs = create_env("distillation", env_cfg, "cpu", 0).get_observations()
    policy = load_policy(checkpoint, obs, 4, "cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        return torch.stack(
            [
                policy(obs.apply(lambda x: torch.randn(x.shape, generator=generator)))  # pyright: ignore
                for _ in range(steps)
            ]
        )


def test_during_the_warm_up_the_critic_learns_and_the_actor_is_the_student_bit_for_bit(tuned_run, student_run):
    student = student_weights(student_run)
    assert changed(student, weights(tuned_run, 0)) == set()
    assert changed(student, weights(tuned_run, 1)) == set()
    first, second = weights(tuned_run, 0, "critic"), weights(tuned_run, 1, "critic")
    assert changed(first, second) == set(first)


def test_after_the_warm_up_weights_noise_and_normaliser_of_the_actor_learn(tuned_run, student_run):
    student = student_weights(student_run)
    assert changed(student, weights(tuned_run, 2)) == set(student)
    # A rollout of ten steps in eight environments.
    assert weights(tuned_run, 2)["obs_normalizer.count"] == student["obs_normalizer.count"] + 80


def test_without_a_warm_up_the_first_iteration_trains_the_actor(workspace, student_run):
    run = fine_tune(workspace, student_run, "--max_iterations", "1", "agent.critic_warmup_iterations=0")
    student = student_weights(student_run)
    assert changed(student, weights(run, 0)) == set(student)


def test_the_actor_has_the_students_network_and_observations_and_the_critic_its_own(tuned_run, student_run):
    student, tuned = agent_params(student_run), agent_params(tuned_run)
    assert tuned["actor"] == student["student"]
    assert tuned["obs_groups"] == {"actor": ["student"], "critic": ["teacher"]}
    assert tuned["critic"]["hidden_dims"] == [128, 128]
    assert weights(tuned_run, 0, "critic")["mlp.0.weight"].shape[1] == 37
    assert student_weights(student_run)["rnn.rnn.weight_ih_l0"].shape[1] == 22


def test_the_actor_begins_with_the_students_actions(tuned_run, student_run):
    expected = actions(student_run / "model_3.pt")
    assert torch.equal(actions(tuned_run / "model_0.pt"), expected)
    assert not torch.equal(actions(tuned_run / "model_2.pt"), expected)


@pytest.mark.parametrize("rnn_type", ["gru", "lstm"])
def test_a_recurrent_student_begins_with_its_own_actions_and_learns(workspace, teacher_run, monkeypatch, rnn_type):
    monkeypatch.chdir(workspace)
    recurrent = [
        "agent.student.class_name=RNNModel", f"agent.student.rnn_type={rnn_type}",
        "agent.student.rnn_hidden_dim=6", "agent.student.rnn_num_layers=1", "agent.student.hidden_dims=[8]",
        "agent.algorithm.gradient_length=5",
    ]  # fmt: skip
    train.main(distillation_flags(teacher_run, *recurrent, "--run_name", rnn_type))
    student = newest_run(workspace, "distillation")
    run = fine_tune(workspace, student, "--max_iterations", "2", "agent.critic_warmup_iterations=1")
    assert changed(student_weights(student), weights(run, 0)) == set()
    assert {"rnn.rnn.weight_hh_l0", "mlp.0.weight"} <= changed(student_weights(student), weights(run, 1))
    expected = actions(student / "model_3.pt")
    assert torch.equal(actions(run / "model_0.pt"), expected)
    shutil.rmtree(student)


def test_init_noise_std_replaces_the_students_noise_and_nothing_else(workspace, student_run):
    flags = ("--max_iterations", "2", "agent.critic_warmup_iterations=1", "agent.init_noise_std=0.3")
    run = fine_tune(workspace, student_run, *flags)
    before, after = student_weights(student_run), weights(run, 0)
    assert changed(before, after) == {"distribution.log_std_param"}
    assert after["distribution.log_std_param"].tolist() == pytest.approx([math.log(0.3)] * 4)


@pytest.mark.parametrize(
    ("flags", "warmup"),
    [
        (["--max_iterations", "800"], 20),
        (["--max_iterations", "50"], 5),
        (["--max_iterations", "9"], 0),
        (["--max_iterations", "800", "agent.critic_warmup_iterations=3"], 3),
        (["--max_iterations", "800", "agent.critic_warmup_iterations=0"], 0),
    ],
)
def test_the_warm_up_is_a_tenth_of_the_run_and_at_most_20_unless_it_is_set(
    tmp_path, monkeypatch, student_run, flags, warmup
):
    monkeypatch.chdir(tmp_path)
    flags = [*FINE_TUNING, "--init_from", str(student_run), *flags]
    runner, run_dir, _ = prepare_run(*parse(train.build_parser(), flags))
    assert runner.cfg["critic_warmup_iterations"] == warmup
    assert agent_params(run_dir)["critic_warmup_iterations"] == warmup


def test_a_teachers_run_has_no_warm_up(teacher_run):
    assert agent_params(teacher_run)["critic_warmup_iterations"] == 0


def test_a_continued_run_does_not_warm_up_again_and_does_not_need_the_student(
    workspace, student_run, monkeypatch, capsys
):
    student = Path(shutil.copytree(student_run, workspace / "gone"))
    tuned = fine_tune(workspace, student, "agent.critic_warmup_iterations=2")
    shutil.rmtree(student)
    assert "Critic Warm-up: 1/2" in capsys.readouterr().out
    monkeypatch.chdir(workspace)
    train.main(["--task", "point_ctrl", "--checkpoint", str(tuned), "--max_iterations", "1"])
    out = capsys.readouterr().out
    assert "Learning iteration 3/4" in out
    assert "Critic Warm-up" not in out
    more = newest_run(workspace, "point_ctrl_direct")
    assert "mlp.0.weight" in changed(weights(tuned, 2), weights(more, 3))
    assert agent_params(more)["actor"] == agent_params(tuned)["actor"]
    assert agent_params(more)["obs_groups"] == agent_params(tuned)["obs_groups"]


def test_a_run_continued_in_its_warm_up_goes_on_with_it(workspace, tuned_run, student_run, monkeypatch):
    monkeypatch.chdir(workspace)
    first = str(tuned_run / "model_0.pt")
    train.main(["--task", "point_ctrl", "--checkpoint", first, "--max_iterations", "2"])
    more = newest_run(workspace, "point_ctrl_direct")
    student = student_weights(student_run)
    assert changed(student, weights(more, 1)) == set()
    assert changed(student, weights(more, 2)) == set(student)


def test_a_run_is_repeated_bit_for_bit_from_its_parameters(workspace, tuned_run, monkeypatch):
    monkeypatch.chdir(workspace)
    train.main(["--task", "point_ctrl", "--params", str(tuned_run)])
    again = newest_run(workspace, "point_ctrl_direct")
    assert agent_params(again) == agent_params(tuned_run)
    for model in ("actor", "critic"):
        assert changed(weights(tuned_run, 2, model), weights(again, 2, model)) == set()


def test_a_fine_tuned_policy_is_evaluated_as_a_student(tuned_run, teacher_run, tmp_path):
    output = tmp_path / "out.json"
    flags = ["--num_envs", "4", "--steps", "10", "--json", str(output)]
    evaluate.main(["--teacher", str(teacher_run), "--student", str(tuned_run), *flags])
    assert set(yaml.safe_load(output.read_text())["policies"]) == {"teacher", "student"}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--teacher", "{tuned}"], "holds a student, expected a teacher; give --student instead"),
        (["--student", "{teacher}"], "holds a teacher, expected a student; give --teacher instead"),
    ],
)
def test_the_wrong_role_is_refused_with_the_right_one(flags, message, tuned_run, teacher_run, capsys):
    with pytest.raises(SystemExit) as caught:
        evaluate.main([flag.format(tuned=tuned_run, teacher=teacher_run) for flag in flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_play_draws_a_fine_tuned_policy(tuned_run, tmp_path):
    output = tmp_path / "flight.png"
    play.main(["--checkpoint", str(tuned_run), "--steps", "10", "--output", str(output)])
    assert output.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_fine_tuned_policy_teaches_from_its_own_observations(workspace, tuned_run, monkeypatch):
    monkeypatch.chdir(workspace)
    train.main(distillation_flags(tuned_run, "--run_name", "pupil"))
    pupil = newest_run(workspace, "distillation")
    agent = agent_params(pupil)
    assert agent["obs_groups"] == {"student": ["student"], "teacher": ["student"]}
    assert agent["teacher"] == agent_params(tuned_run)["actor"]
    teacher = load_checkpoint(pupil / "model_3.pt")["teacher_state_dict"]
    assert changed(load_checkpoint(tuned_run / "best_model.pt")["actor_state_dict"], teacher) == set()
    shutil.rmtree(pupil)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--init_from", "/no/run"], "/no/run does not exist"),
        (["--init_from", "{teacher}"], "is of a PPO run, expected a student's checkpoint; continue it with"),
        (["--init_from", "{student}", "--resume"], "give one of them"),
        (["--init_from", "{student}", "--resume", "--load_run", "x"], "give one of them"),
        (["--init_from", "{student}", "--checkpoint", "{teacher}"], "give one of them"),
        (["agent.init_from={student}", "--checkpoint", "{teacher}"], "give one of them"),
        (["--init_from", "{student}", "--load_run", "x"], "--load_run x has no effect without --resume"),
        (["--init_from", "{bare}"], "has no params/agent.yaml beside it, which describes its network"),
        (["--init_from", "{student}", "agent.actor.hidden_dims=[5]"], "does not fit the configured model"),
        (["--init_from", "{student}", "agent.actor.obs_normalization=False"], "does not fit the configured model"),
        (["--init_from", "{student}", "agent.actor.class_name=RNNModel"], "does not fit the configured model"),
        (["--init_from", "{student}", "agent.obs_groups.actor=[teacher]"], "a student of 22 inputs, but the"),
        (["--init_from", "{student}", "agent.obs_groups.actor=[x]"], "Observation 'x' in observation set 'actor'"),
        (
            ["--init_from", "{student}", "agent.actor.distribution_cfg.init_std=0.3"],
            "set agent.init_noise_std=0.3",
        ),
        (
            ["--init_from", "{student}", "agent.critic_warmup_iterations=7", "--max_iterations", "7"],
            "agent.critic_warmup_iterations=7 leaves no iteration to train the actor, the run ends after 7",
        ),
        (
            ["--checkpoint", "{tuned}/model_0.pt", "--max_iterations", "1"],
            "agent.critic_warmup_iterations=2 leaves no iteration to train the actor, the run ends after 2",
        ),
        (["--init_from", "{student}", "agent.init_noise_std=0"], "init_noise_std must be positive, got 0"),
        (["agent.init_noise_std=0.1"], "has no effect without init_from; set actor.distribution_cfg.init_std"),
        (["agent.critic_warmup_iterations=-1"], "critic_warmup_iterations must be at least 0, got -1"),
        (["--checkpoint", "{student}"], "fine-tunes a student given by --init_from"),
    ],
)
def test_bad_input_is_one_error_with_exit_code_2_and_no_run_folder(
    tmp_path, monkeypatch, capsys, teacher_run, student_run, tuned_run, argv, message
):
    monkeypatch.chdir(tmp_path)
    bare = shutil.copy2(student_run / "model_3.pt", tmp_path / "bare.pt")
    paths = {"teacher": teacher_run, "student": student_run, "tuned": tuned_run, "bare": bare}
    error = fails(capsys, "--task", "point_ctrl", *(word.format(**paths) for word in argv))
    assert message in error
    assert not (tmp_path / "logs").exists()


def test_a_distillation_takes_no_student_to_start_from(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    error = fails(capsys, "--task", "distillation", "--init_from", "x")
    assert "--init_from has no effect on task distillation; it belongs to task point_ctrl" in error
    assert not (tmp_path / "logs").exists()
