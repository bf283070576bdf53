"""The dataset command as users call it, and runs that begin with what it wrote."""

from __future__ import annotations

import json

import pytest
import torch

from foundation.cli import dataset, train
from tests.cli.conftest import SHORT, distillation_flags, newest_run

FLAGS = {"minari": ["--output", "flights-v0"], "lerobot": ["--output", "flights"]}


@pytest.mark.parametrize("form", FLAGS)
def test_a_runs_history_begins_another_run_which_continues(
    form, student_run, teacher_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    dataset.main(["export", str(student_run), "--format", form, *FLAGS[form]])
    out = capsys.readouterr().out
    assert "[Dataset] writing 320 steps, " in out
    assert "of iterations 0 to 3\n" in out
    assert out.endswith(f"[Dataset] finished: {FLAGS[form][1]}\n")
    if form == "lerobot":
        assert json.loads((tmp_path / "flights/meta/info.json").read_text())["fps"] == 100
    begin = ["--init_dataset", FLAGS[form][1], "--max_iterations", "1"]
    train.main([*distillation_flags(teacher_run), *begin])
    assert f"The history begins with 320 transitions of {tmp_path / FLAGS[form][1]}" in capsys.readouterr().out
    run = newest_run(tmp_path, "distillation")
    assert saved_windows(run, 0) == 40
    (tmp_path / FLAGS[form][1]).rename(tmp_path / "gone")
    train.main(["--task", "distillation", "--resume", "--max_iterations", "1", "--num_envs", "8"])
    assert saved_windows(newest_run(tmp_path, "distillation"), 1) == 48


def saved_windows(run, iteration: int) -> int:
    """Return the size of a history; gradient_length is 15, so that a rollout of 10 steps is a window."""
    state = torch.load(run / "resume" / f"state_{iteration}.pt", weights_only=True)
    return state["algorithm"]["aggregation"]["history"]["size"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "/no/run", "--format", "minari", "--output", "d-v0"], "/no/run does not exist"),
        (["export", "{run}", "--format", "minari", "--output", "d"], "name the folder d-v0, for example"),
        (["export", "{run}", "--format", "minari", "--output", "d-v0", "--fps", "10"], "fps=10 has no effect"),
        (["export", "{run}", "--format", "lerobot", "--output", "{run}"], "exists already"),
        (["export", "{run}", "--format", "lerobot", "--output", "d", "--fps", "-1"], "fps > 0; got -1.0"),
        (["export", "{run}/best_model.pt", "--format", "minari", "--output", "d-v0"], "holds weights only"),
        (["export", "{teacher}", "--format", "minari", "--output", "d-v0"], "is of a PPO run, which keeps no"),
        (["export", "{run}", "--format", "csv", "--output", "d"], "invalid choice: 'csv'"),
        (["import", "{run}", "--format", "minari", "--output", "d-v0"], "invalid choice: 'import'"),
    ],
)
def test_an_export_that_cannot_work_is_one_line_and_writes_nothing(
    words, message, student_run, teacher_run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        dataset.main([word.format(run=student_run, teacher=teacher_run) for word in words])
    error = capsys.readouterr().err.strip()
    assert caught.value.code == 2
    assert error.startswith("error: ")
    assert message in error
    assert "\n" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "distillation", "--init_dataset", "/no/data"], "--init_dataset /no/data does not exist"),
        (["--task", "distillation", "--init_dataset", "{run}"], "is no dataset: it has neither"),
        (["--task", "point_ctrl", "--init_dataset", "x"], "--init_dataset has no effect on task point_ctrl"),
        (["--task", "distillation", "--init_dataset", "x", "--checkpoint", "{run}"], "give one of them"),
        (
            ["--task", "distillation", "agent.algorithm.init_dataset=x", "--checkpoint", "{run}"],
            "--init_dataset x begins the history of a new run",
        ),
    ],
)
def test_a_run_that_cannot_begin_with_it_is_one_line(words, message, student_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        train.main([*(word.format(run=student_run) for word in words), *SHORT])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "logs").exists()


def test_a_dataset_of_another_students_observations_is_refused_by_name(student_run, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    dataset.main(["export", str(student_run), "--format", "minari", "--output", "d-v0"])
    words = ["--task", "distillation", "--num_envs", "8", "--init_dataset", "d-v0", *SHORT]
    with pytest.raises(SystemExit):
        train.main([*words, "agent.obs_groups.student=[teacher]"])
    assert "d-v0 lacks observation group teacher; it has the groups student" in capsys.readouterr().err
