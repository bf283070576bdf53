"""Checkpoints that earlier versions of rsl_rl have written themselves; run with `make test-old-checkpoints`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from rsl_rl.runners import DistillationRunner
from tensordict import TensorDict

from foundation.distill import DaggerRunner
from foundation.distill.checkpoint import CheckpointError
from tests.support.runners import assert_equal, weights
from tests.support.toy import ToyEnv, runner_cfg

FOLDER = Path(os.environ.get("OLD_RSL_RL_CHECKPOINTS", "/nowhere"))
CASES = sorted(FOLDER.glob("*/*.expected"))

pytestmark = pytest.mark.skipif(not CASES, reason="written by make test-old-checkpoints")


STUDENTS = [path for path in CASES if path.stem.startswith("student_of_")]
GAUSSIANS = [path for path in CASES if path not in STUDENTS and "_hetero_" not in path.stem]


def of(cases):
    return pytest.mark.parametrize(
        "case", cases, indirect=True, ids=[f"{path.parent.name}-{path.stem}" for path in cases]
    )


@pytest.fixture
def case(request) -> tuple[Path, dict]:
    return request.param.with_suffix(".pt"), torch.load(request.param)


def actions(model, obs: torch.Tensor, group: str) -> torch.Tensor:
    model.eval()
    model.reset()
    with torch.no_grad():
        return torch.stack([model(TensorDict({group: step}, batch_size=[len(step)])) for step in obs])


def build(expected: dict, runner=DistillationRunner, **options):
    cfg = runner_cfg(teacher=expected["teacher"], student=expected.get("student"), **options)
    return runner(ToyEnv(), cfg, None, "cpu")


@of(CASES)
def test_the_teacher_acts_as_under_the_version_that_saved_it(case, caplog):
    path, expected = case
    alg = build(expected, teacher_checkpoint=str(path)).alg
    assert torch.equal(actions(alg.teacher_model, expected["obs"], "teacher"), expected["actions"])
    major, noise = path.parent.name.split(".")[0], expected["teacher"]["distribution_cfg"]["class_name"]
    # Without a normaliser 2.x saves what 3.x does, and 4.x what 5.x does where the network computes the noise.
    versions = ("3.x or older", "2.x") if major == "2" else (f"{major}.x",)
    said = any(f"teacher_checkpoint {path} was saved by rsl_rl {one}" in caplog.text for one in versions)
    assert said == (major != "4" or noise == "GaussianDistribution")
    moved = actions(alg.teacher_model, expected["obs"] + 0.1, "teacher")
    assert not torch.allclose(moved, expected["actions"], atol=1e-4)


@of(CASES)
def test_loading_the_checkpoint_into_the_runner_gives_the_same_teacher(case):
    path, expected = case
    parts = {"student": True, "teacher": True} if "student" in expected else None
    for kind in (DistillationRunner, DaggerRunner):
        runner = build(expected, kind)
        runner.load(str(path), parts)
        assert torch.equal(actions(runner.alg.teacher_model, expected["obs"], "teacher"), expected["actions"])
        if "student" in expected:
            done = actions(runner.alg.student_model, expected["student_obs"], "student")
            assert torch.equal(done, expected["student_actions"])


@of(STUDENTS)
def test_a_distillation_run_is_continued_only_where_the_optimiser_is_the_same(case):
    path, expected = case
    runner = build(expected, DaggerRunner)
    before = weights(runner)
    if path.parent.name.startswith("4."):
        runner.load(str(path))
        moments = runner.alg.optimizer.state
        assert len(moments) >= 4
        assert all(state["exp_avg"].shape == parameter.shape for parameter, state in moments.items())
        return
    with pytest.raises(
        CheckpointError, match=r"holds no optimiser .* load_cfg=\{'student': True, 'teacher': True\}"
    ):
        runner.load(str(path))
    assert_equal(weights(runner), before)


@of(GAUSSIANS)
def test_the_standard_deviation_is_the_saved_one(case):
    path, expected = case
    noise = expected["teacher"]["distribution_cfg"]
    alg = build(expected, teacher_checkpoint=str(path), loss_type="kl").alg
    saved = torch.load(path)
    saved = saved.get("model_state_dict", saved.get("actor_state_dict"))
    alg.teacher_model.distribution.update(torch.zeros(1, 2))
    std = saved["std"] if noise["std_type"] == "scalar" else saved["log_std"].exp()
    assert torch.equal(alg.teacher_model.output_std[0], std)
