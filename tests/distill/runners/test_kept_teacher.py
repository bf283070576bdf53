"""A run's checkpoint holds its teacher: no file of the teacher's is needed any more."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rsl_rl.runners import DistillationRunner, OnPolicyRunner

from foundation.distill import DaggerRunner
from foundation.distill.checkpoint import CheckpointError
from tests.support.runners import assert_equal, weights
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint

RUNNERS = [DistillationRunner, DaggerRunner]


def build(file: Path | list[Path], runner=DaggerRunner, log_dir: Path | None = None, **options):
    names = [str(path) for path in file] if isinstance(file, list) else str(file)
    cfg = runner_cfg(teacher_checkpoint=names, max_buffer_size=10_000, **options)
    return runner(ToyEnv(), cfg, log_dir and str(log_dir), "cpu")


@pytest.fixture
def file(tmp_path) -> Path:
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")
    return tmp_path / "teacher.pt"


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize(
    "load_cfg", [None, {"student": True, "teacher": True, "optimizer": True, "iteration": True}]
)
def test_a_run_continues_after_its_teachers_file_has_gone(runner_class, load_cfg, file, tmp_path, caplog):
    first = build(file, runner_class, tmp_path / "run")
    first.learn(2)
    path = str(tmp_path / "run" / "model_1.pt")
    continued = build(file, runner_class)
    continued.load(path, load_cfg)
    torch.manual_seed(1)  # rsl_rl's runner does not restore the generator
    continued.learn(1)
    file.unlink()
    without = build(file, runner_class)
    assert f"teacher_checkpoint {file} does not exist: there is no teacher until" in caplog.text
    without.load(path, load_cfg)
    torch.manual_seed(1)
    without.learn(1)
    assert_equal(weights(without), weights(continued))
    teacher = teacher_checkpoint()["actor_state_dict"]
    assert_equal(without.alg.teacher_model.state_dict(), teacher)


@pytest.mark.parametrize("runner_class", RUNNERS)
def test_a_student_alone_is_flown_without_a_teacher(runner_class, file, tmp_path):
    first = build(file, runner_class, tmp_path / "run")
    first.learn(1)
    file.unlink()
    other = build(file, runner_class)
    other.load(str(tmp_path / "run" / "model_0.pt"), {"actor": True})
    assert_equal(weights(other), weights(first))


@pytest.mark.parametrize("runner_class", [*RUNNERS, OnPolicyRunner])
def test_a_run_that_would_begin_without_its_teacher_is_refused_before_any_step(runner_class, tmp_path):
    runner = build(tmp_path / "gone.pt", runner_class)
    reason = r"gone\.pt does not exist; give" if runner_class is not DistillationRunner else "not loaded"
    with pytest.raises(ValueError, match=reason):
        runner.learn(1)
    assert not runner.env.actions
    with pytest.raises(CheckpointError, match=r"gone\.pt does not exist; give"):
        runner.alg.act(runner.env.get_observations())


def test_several_teachers_continue_after_their_files_have_gone(tmp_path):
    from tests.distill.algorithm.test_teachers import TwoTeachersEnv

    files = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for seed, path in enumerate(files):
        torch.save(teacher_checkpoint(seed), path)
    names = [str(path) for path in files]
    cfg = runner_cfg(teacher_checkpoint=names, max_buffer_size=10_000)
    first = DistillationRunner(TwoTeachersEnv("obs"), cfg, None, "cpu")
    first.learn(1)
    saved = first.alg.save()
    files[1].unlink()
    again = DistillationRunner(TwoTeachersEnv("obs"), runner_cfg(**cfg["algorithm"]), None, "cpu")
    assert not again.alg.teacher_loaded
    again.alg.load(saved, None, True)
    assert_equal(again.alg.teacher_model.state_dict(), first.alg.teacher_model.state_dict())
    again.learn(1)
