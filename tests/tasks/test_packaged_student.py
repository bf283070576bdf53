"""The packaged foundation policy flies as its provenance note says, and leaves Python without a run."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import yaml

from foundation.cli import evaluate, export, play
from foundation.tasks import packaged_student

FOLDER = packaged_student().parent


def test_it_survives_settles_and_holds_its_position_as_noted(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    flags = [
        "--task",
        "foundation",
        "--num_envs",
        "512",
        "--num_seeds",
        "1",
        "--no_report",
        "--json",
        "result.json",
    ]
    evaluate.main(flags)
    assert "the packaged student flies" in capsys.readouterr().out
    policies = json.loads((tmp_path / "result.json").read_text())["policies"]
    note = (FOLDER / "PROVENANCE.md").read_text().splitlines()
    row = next(line for line in note if line.startswith("| student |")).split("|")
    survival, error = float(row[2].strip().rstrip("%")) / 100.0, float(row[4])
    student = policies["student"]
    # Three standard errors of a share of 512 episodes.
    assert student["survival"] == pytest.approx(survival, abs=3.0 * np.sqrt(survival * (1 - survival) / 512))
    # A few vehicles that do not come to rest make most of it.
    assert student["position_rmse_m"] == pytest.approx(error, rel=0.6)
    assert student["survival"] < policies["teacher"]["survival"]
    assert policies["teacher"]["position_rmse_m"] < 1e-3


def test_it_has_at_most_2100_weights():
    state = torch.load(packaged_student(), weights_only=True)["student_state_dict"]
    names = [name for name in state if not name.startswith(("distribution.", "obs_normalizer."))]
    assert 1500 < sum(state[name].numel() for name in names) <= 2100


def test_its_parameters_name_no_path_of_the_machine_that_made_them():
    for name in ("env", "agent"):
        text = (FOLDER / "params" / f"{name}.yaml").read_text()
        assert "/" not in text
        assert isinstance(yaml.safe_load(text), dict)


def test_it_is_exported_without_a_checkpoint(tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.chdir(tmp_path)
    export.main(["--task", "foundation", "--format", "onnx", "--output", "out"])
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "policy.onnx"))
    assert {tensor.name: tensor.shape[-1] for tensor in session.get_inputs()} == {"obs": 22, "h_in": 16}
    assert {tensor.name: tensor.shape[-1] for tensor in session.get_outputs()} == {"actions": 4, "h_out": 16}
    with pytest.raises(SystemExit):
        export.main(["--task", "foundation", "--checkpoint", "expert", "--output", "out"])


def test_it_flies_where_there_are_no_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    play.main(["--task", "foundation", "--num_envs", "4", "--steps", "20", "--output", "flight.png"])
    assert (tmp_path / "flight.png").stat().st_size > 10_000
