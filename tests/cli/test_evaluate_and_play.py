"""The evaluate and play commands as users call them."""

from __future__ import annotations

import json

import pytest

from foundation.cli import evaluate, play


def run_evaluate(tmp_path, *flags: str) -> dict:
    path = tmp_path / "out.json"
    evaluate.main(
        [*flags, "--num_envs", "16", "--steps", "40", "--num_seeds", "1", "--json", str(path), "--no_report"]
    )
    return json.loads(path.read_text())


def test_the_result_has_the_documented_form(tmp_path, teacher_run, student_run, capsys):
    flags = [
        "--task",
        "distillation",
        "--teacher",
        str(teacher_run),
        "--student",
        str(student_run / "best_model.pt"),
    ]
    result = run_evaluate(tmp_path, *flags, "--seed", "3")
    assert {key: result[key] for key in ("task", "episodes", "steps", "seed")} == {
        "task": "distillation",
        "episodes": 16,
        "steps": 40,
        "seed": 3,
    }
    keys = {"survival", "mean_return", "position_rmse_m", "settle_time_s", "settled", "command_rate", "checkpoint"}
    assert set(result["policies"]) == {"teacher", "student"}
    assert all(set(metrics) == keys for metrics in result["policies"].values())
    out = capsys.readouterr().out
    assert "16 episodes of 40 steps, seed 3" in out
    share = result["policies"]["student"]["mean_return"] / result["policies"]["teacher"]["mean_return"]
    assert f"The student reaches {share:.2%} of the teacher's mean return." in out


def test_the_same_seed_gives_the_same_result_and_another_does_not(tmp_path, teacher_run):
    first, again, other = (
        run_evaluate(tmp_path, "--teacher", str(teacher_run), "--seed", seed) for seed in ("1", "1", "2")
    )
    assert first["policies"] == again["policies"]
    assert first["policies"] != other["policies"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "nothing to evaluate; give --teacher, --student, or both"),
        (["--teacher", "/no.pt"], "/no.pt does not exist"),
        (["--teacher", "{student}"], "holds a student, expected a teacher; give --student instead"),
        (["--teacher", "{teacher}", "--json", "/no/x.json"], "there is no folder /no"),
        (["--teacher", "{teacher}", "agent.seed=1"], "must begin with env."),
    ],
)
def test_bad_input_is_one_error_with_exit_code_2(flags, message, teacher_run, student_run, capsys):
    flags = [flag.format(teacher=teacher_run, student=student_run) for flag in flags]
    with pytest.raises(SystemExit) as caught:
        evaluate.main(flags)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("run", ["teacher_run", "student_run"])
def test_play_writes_a_picture(run, request, tmp_path):
    output = tmp_path / "flight.png"
    play.main(["--checkpoint", str(request.getfixturevalue(run)), "--steps", "30", "--output", str(output)])
    assert output.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert output.stat().st_size > 20_000


def test_play_refuses_more_steps_than_an_episode(teacher_run, capsys):
    with pytest.raises(SystemExit):
        play.main(["--checkpoint", str(teacher_run), "--steps", "501"])
    assert "--steps must lie in 1 ... 500 (env.episode_steps), got 501" in capsys.readouterr().err
