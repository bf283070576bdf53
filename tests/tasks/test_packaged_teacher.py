"""The packaged teacher flies as its provenance note says, and students distilled from it fly as well."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from foundation.cli import evaluate, train
from foundation.tasks import packaged_teacher
from tests.cli.conftest import newest_run


def flown(tmp_path, *flags: str) -> dict:
    path = tmp_path / "result.json"
    evaluate.main([*flags, "--num_envs", "1024", "--num_seeds", "1", "--no_report", "--json", str(path)])
    return json.loads(path.read_text())["policies"]


def test_the_packaged_teacher_survives_settles_and_holds_its_position(tmp_path):
    metrics = flown(tmp_path, "--teacher", str(packaged_teacher()), "--seed", "0")["teacher"]
    assert metrics["survival"] >= 0.999
    assert metrics["position_rmse_m"] <= 0.002
    assert metrics["settle_time_s"] <= 1.0
    note = (packaged_teacher().parent / "PROVENANCE.md").read_text()
    row = next(line for line in note.splitlines() if line.startswith("| present | 0 |"))
    assert float(row.split("|")[5]) == pytest.approx(metrics["position_rmse_m"], abs=2e-4)


def test_the_packaged_parameters_name_no_path_of_the_machine_that_made_them():
    for name in ("env", "agent"):
        text = (packaged_teacher().parent / "params" / f"{name}.yaml").read_text()
        assert "/" not in text
        assert isinstance(yaml.safe_load(text), dict)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_student_of_the_demo_flies_as_well_as_the_teacher(tmp_path, monkeypatch, seed):
    demo = re.search(r"^DEMO := ((?:.*\\\n)*.*)$", Path("Makefile").read_text(), re.MULTILINE)
    assert demo is not None
    monkeypatch.chdir(tmp_path)
    train.main(["--task", "distillation", "--seed", str(seed), *demo.group(1).replace("\\\n", " ").split()])
    run = newest_run(tmp_path, "distillation")
    policies = flown(
        tmp_path, "--teacher", str(packaged_teacher()), "--student", str(run), "--seed", str(100 + seed)
    )
    teacher, student = policies["teacher"], policies["student"]
    assert student["mean_return"] >= 0.993 * teacher["mean_return"]
    assert student["survival"] >= teacher["survival"] - 0.001
    assert student["position_rmse_m"] <= 0.006
