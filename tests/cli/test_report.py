"""The report that evaluate writes, in a real browser."""

from __future__ import annotations

import json
import re
import shlex

import pytest

from foundation.cli import evaluate
from foundation.evaluation.curves import phase_switch, read_curves
from tests.browser import DESKTOP, PHONE


@pytest.fixture(scope="module")
def report(tmp_path_factory, teacher_run, student_run):
    folder = tmp_path_factory.mktemp("report")
    flags = ["--teacher", str(teacher_run), "--student", str(student_run), "--num_envs", "32", "--steps", "60"]
    files = ["--json", str(folder / "result.json"), "--report", str(folder / "report.html"), "--num_seeds", "3"]
    evaluate.main([*flags, *files])
    return folder / "report.html"


TITLES = (
    "Loss", "Return", "History and who drives", "Error over time", "Paths, teacher", "Paths, student",
    "Position by axis", "Actions in the same states", "Last positions",
)  # fmt: skip


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_chart_is_drawn_nothing_is_loaded_from_elsewhere_and_nothing_complains(report, size, open_page):
    seen = open_page(report.as_uri(), size)
    assert seen.complaints == []
    assert seen.outside == []
    images = seen.page.locator("figure img")
    assert [images.nth(i).get_attribute("alt") for i in range(images.count())] == list(TITLES)
    widths = seen.page.eval_on_selector_all("figure img", "all => all.map(i => [i.naturalWidth, i.clientWidth])")
    assert all(natural > 100 and shown > 250 for natural, shown in widths)


def test_the_page_is_no_wider_than_a_phone(report, open_page):
    page = open_page(report.as_uri(), PHONE).page
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    # Negative control: the table alone would be.
    assert page.evaluate("document.querySelector('table').scrollWidth") > PHONE["width"]


def test_the_comparison_is_the_results_mean_and_interval(report, open_page):
    result = json.loads((report.parent / "result.json").read_text())
    assert result["seeds"] == [0, 1, 2]
    row = open_page(report.as_uri()).page.locator("tbody tr", has_text="student").first.inner_text().split("\t")
    mean, half = result["policies"]["student"]["mean_return"], result["confidence_95"]["student"]["mean_return"]
    assert row[2] == f"{mean:.2f} ± {half:.2f}"
    seeds = [metrics["mean_return"] for metrics in result["per_seed"]["student"]]
    assert mean == pytest.approx(sum(seeds) / 3)
    assert len(set(seeds)) == 3


def test_the_phase_switch_of_the_run_is_marked_where_it_happened(report, student_run):
    curves = read_curves(student_run)
    assert phase_switch(curves) == 2
    assert list(curves["Loss/behavior"].steps) == [0, 1, 2, 3]


def test_the_command_in_the_report_repeats_it(report, tmp_path, open_page):
    command = open_page(report.as_uri()).page.locator("pre").first.inner_text()
    words = shlex.split(command.replace("result.json", "again.json"))
    assert words[:2] == ["foundation", "evaluate"]
    place = words.index("--report")
    # Its figures are the result's; drawing them again takes longest.
    evaluate.main([*words[2:place], "--no_report", *words[place + 2 :]])
    first, again = (json.loads((report.parent / name).read_text()) for name in ("result.json", "again.json"))
    assert first == again


def test_a_teacher_alone_has_a_report_too_and_the_packaged_one_leaves_it_here(tmp_path, monkeypatch, capsys):
    from foundation.tasks import packaged_teacher

    monkeypatch.chdir(tmp_path)
    evaluate.main(["--teacher", str(packaged_teacher()), "--num_envs", "8", "--steps", "20", "--num_seeds", "1"])
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    text = (tmp_path / "report.html").read_text()
    assert "One seed: there is no interval" in text
    assert not re.search(r"""(?:src|href)=["']https?:""", text)
    assert "wrote report.html" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_seeds", "0"], "--num_seeds must lie in 1 ... 30, got 0"),
        (["--report", "/no/r.html"], "--report /no/r.html: there is no folder /no"),
        (["--report", "/tmp"], "--report /tmp is a folder; give the name of a file"),
        (["--report", "r.html", "--no_report"], "--report r.html has no effect with --no_report"),
    ],
)
def test_bad_input_is_one_error(flags, message, teacher_run, capsys):
    with pytest.raises(SystemExit):
        evaluate.main(["--teacher", str(teacher_run), *flags])
    assert message in capsys.readouterr().err
