"""The examples run, and show what they say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import optuna
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run an example for some iterations, and return the last number of each line that it prints, by its words.

    Of a line of a table it is the first one.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def run_example(name: str, iterations: int) -> dict[str, float]:
        importlib.import_module(name).main(iterations=iterations)
        out = capsys.readouterr().out
        return {
            words.strip(): float(number)
            for words, number in re.findall(r"^(\S.*?) +(-?[\d.]+)(?: ±.*)?$", out, re.M)
        }

    return run_example


def test_the_list_of_examples_is_complete():
    assert sorted(path.stem for path in EXAMPLES.glob("*.py")) == [
        "1_one_class_name",
        "2_your_own_environment",
        "3_recurrent_student",
        "4_several_teachers",
        "5_a_strategy_of_your_own",
        "sweep",
    ]


def test_one_class_name_is_all_that_changes_under_rsl_rls_own_runner(run):
    (words, error), *_ = run("1_one_class_name", 12).items()
    assert words.startswith("38400 transitions")
    assert 0.0 < error < 0.3


def test_a_student_of_ones_own_environment_learns_from_its_teacher(run):
    returns = run("2_your_own_environment", 30)
    assert 20.0 < returns["student"] < returns["teacher"]


def test_a_recurrent_student_does_better_than_one_without_memory(run):
    returns = run("3_recurrent_student", 30)
    assert returns["recurrent"] > returns["feed-forward"] + 5.0


def test_a_student_learns_from_two_teachers(run):
    returns = run("4_several_teachers", 20)
    assert returns["student"] > 0.8 * returns["teachers"] > 10.0


def test_a_strategy_of_ones_own_is_used(run):
    returns = run("5_a_strategy_of_your_own", 10)
    assert set(returns) == {"passes", "5_a_strategy_of_your_own:NewestTwice"}
    assert returns["passes"] != returns["5_a_strategy_of_your_own:NewestTwice"]


def test_a_sweep_goes_on_where_it_was_and_prunes_what_is_worse(run, tmp_path, monkeypatch):
    sweep = importlib.import_module("sweep")
    monkeypatch.setattr(sweep.main, "__defaults__", ("sweep", 6, 4))
    first = run("sweep", 6)
    teacher = (tmp_path / "sweep" / "teacher.pt").stat().st_mtime_ns
    monkeypatch.setattr(sweep.main, "__defaults__", ("sweep", 6, 12))
    second = run("sweep", 6)
    assert (first["trials"], second["trials"]) == (4, 12)
    assert second["return"] >= first["return"]
    assert (tmp_path / "sweep" / "teacher.pt").stat().st_mtime_ns == teacher
    states = [
        trial.state.name
        for trial in optuna.load_study(study_name="phase and updates", storage=storage(tmp_path)).trials
    ]
    assert states.count("PRUNED") > 0
    # Started once more, it has nothing left to do.
    assert run("sweep", 6) == second
    assert len(optuna.load_study(study_name="phase and updates", storage=storage(tmp_path)).trials) == len(states)


def test_a_sweep_that_is_stopped_while_its_teacher_trains_has_no_teacher(run, tmp_path, monkeypatch):
    sweep = importlib.import_module("sweep")

    def stopped(folder):
        Path(folder, "best_model.pt").write_bytes(b"half-trained")
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep.own, "train_teacher", stopped)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sweep.main("sweep", 6, 4)
        assert not list((tmp_path / "sweep").iterdir())


def storage(folder: Path) -> optuna.storages.JournalStorage:
    return optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(folder / "sweep/study.log"))
    )
