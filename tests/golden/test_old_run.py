"""A run's folder of an earlier release continues."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from foundation.cli import train

HERE = Path(__file__).parent


def test_a_run_saved_by_an_earlier_release_goes_on_to_the_weights_that_it_would_have_had(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(HERE / "run", "run")
    train.main(["--task", "distillation", "--checkpoint", "run", "--max_iterations", "3"])
    (resumed,) = Path("logs/rsl_rl/distillation").glob("*/model_6.pt")
    got = torch.load(resumed, weights_only=True)["student_state_dict"]
    expected = torch.load(HERE / "run_resumed.pt", weights_only=True)["student_state_dict"]
    before = torch.load("run/model_3.pt", weights_only=True)["student_state_dict"]
    for name, value in expected.items():
        torch.testing.assert_close(got[name], value, rtol=0, atol=1e-4, msg=name)
    assert any((expected[name] - before[name]).abs().max() > 0.01 for name in expected)
