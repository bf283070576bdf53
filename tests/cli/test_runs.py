"""The runs and compare commands as users call them."""

from __future__ import annotations

import shutil

import pytest
import yaml

from foundation.cli import compare, runs


def rows(out: str) -> dict[str, list[str]]:
    lines = [line for line in out.splitlines() if "/" in line and not line.startswith("[")]
    return {line.split()[0]: line.split()[1:] for line in lines}


def test_runs_are_listed_with_what_they_train_and_how_far_they_got(teacher_run, student_run, workspace, capsys):
    runs.main([str(workspace / "logs")])
    found = rows(capsys.readouterr().out)
    assert found[f"point_ctrl_direct/{teacher_run.name}"][:2] == ["teacher", "3"]
    assert found[f"distillation/{student_run.name}"][:2] == ["student", "4"]


def test_a_damaged_event_file_and_a_run_without_any_are_listed_all_the_same(student_run, tmp_path, capsys):
    for name in ("without", "damaged"):
        shutil.copytree(student_run, tmp_path / "e" / name)
        (events,) = (tmp_path / "e" / name).glob("events*")
        events.unlink() if name == "without" else events.write_bytes(events.read_bytes()[:200] + b"\x00" * 50)
    runs.main([str(tmp_path)])
    found = rows(capsys.readouterr().out)
    assert found["e/without"][:2] == ["student", "-"]
    assert "e/damaged" in found


def test_runs_of_other_projects_are_listed_and_one_that_is_damaged_does_not_end_the_list(
    student_run, tmp_path, capsys
):
    foreign = {
        "tuples": "seed: 1\nwidths: !!python/tuple\n- 1\n- 2\nactor: {}\n",
        "slices": "slice: !!python/object/apply:builtins.slice [1, 2]\n",
        "aliases": "a: &a [1]\nb: *a\n",
        "broken": "a: [1,\n",
    }
    for name, text in foreign.items():
        (tmp_path / "e" / name / "params").mkdir(parents=True)
        (tmp_path / "e" / name / "params" / "agent.yaml").write_text(text)
    shutil.copytree(student_run, tmp_path / "e" / "ours")
    runs.main([str(tmp_path)])
    out = capsys.readouterr().out
    assert {"e/ours", "e/tuples", "e/slices", "e/aliases"} <= rows(out).keys()
    assert [line.split(":")[0] for line in out.splitlines() if line.startswith("[Runs] passed over")] == [
        f"[Runs] passed over {tmp_path / 'e' / 'broken'}"
    ]
    assert (
        out.count("passed over values that are not plain, of the tags !!python/object/apply:builtins.slice") == 1
    )


def test_compare_shows_the_settings_that_differ_and_only_those(student_run, tmp_path, capsys, open_page):
    other = tmp_path / "distillation" / "other"
    shutil.copytree(student_run, other)
    file = other / "params" / "agent.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["algorithm"]["learning_rate"] = 0.25
    file.write_text(yaml.safe_dump(settings))
    compare.main([str(student_run), str(other), "--output", str(tmp_path / "c.html")])
    out = capsys.readouterr().out.split("Settings that differ:")[1]
    assert [line.split() for line in out.splitlines() if line.startswith("agent.")] == [
        ["agent.algorithm.learning_rate", "0.001", "0.25"]
    ]
    seen = open_page((tmp_path / "c.html").as_uri())
    assert seen.complaints == seen.outside == []
    assert seen.page.locator("figure img").count() == 3
    assert seen.page.locator("td", has_text="0.25").count() == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{run}"], "there is nothing to compare"),
        (["{run}", "/no"], "/no is no run's folder, which has params/agent.yaml"),
        (["{run}", "{run}"], "which is given twice; compare it with another run"),
        (["{run}", "{run}", "--output", "/no/c.html"], "--output /no/c.html: there is no folder /no"),
    ],
)
def test_bad_input_is_one_error(words, message, student_run, capsys):
    with pytest.raises(SystemExit) as caught:
        compare.main([word.format(run=student_run, parent=student_run.parent) for word in words])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_of_runs_stands_for_its_newest(student_run, tmp_path, capsys):
    for name in ("2026-01-01", "2026-01-02"):
        shutil.copytree(student_run, tmp_path / "e" / name)
    compare.main([str(student_run), str(tmp_path / "e"), "--output", str(tmp_path / "c.html")])
    assert {f"distillation/{student_run.name}", "e/2026-01-02"} == rows(capsys.readouterr().out).keys()


def test_a_folder_without_runs_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        runs.main([str(tmp_path)])
    assert "there are no runs under" in capsys.readouterr().err
