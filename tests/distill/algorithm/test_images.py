"""Convolutional students: images stay bytes until the model reads them."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerRunner
from tests.support.runners import RightTeacher
from tests.support.toy import CNN, ImageEnv, runner_cfg


def build(log_dir=None, runner=DistillationRunner, **options) -> DistillationRunner:
    torch.manual_seed(0)
    student = {"class_name": "CNNModel", "cnn_cfg": dict(CNN), "hidden_dims": [16]}
    cfg = runner_cfg(student=student, max_buffer_size=10_000, learning_rate=5e-3, gradient_length=5, **options)
    cfg["obs_groups"]["student"] = ["camera"]
    made = runner(ImageEnv(), cfg, log_dir and str(log_dir), "cpu")
    made.alg.teacher = made.alg._raw_teacher = RightTeacher()
    made.alg.teacher_loaded = True
    return made


@pytest.mark.parametrize("use_dagger", [True, False])
@pytest.mark.parametrize("use_two_stage", [True, False])
def test_a_convolutional_student_learns_to_read_an_image_in_every_mode(tmp_path, use_dagger, use_two_stage):
    runner = build(
        tmp_path, DaggerRunner, use_dagger=use_dagger, use_two_stage_training=use_two_stage, phase1_iterations=10
    )
    runner.learn(40)
    env = ImageEnv(200, seed=4)
    with torch.inference_mode():
        # What rsl_rl's play scripts call.
        policy = runner.get_inference_policy()
        error = (policy(env.get_observations()) - env.place).abs().mean()
    assert error < 0.1
    assert (0.0 - env.place).abs().mean() > 0.4  # what a blind student reaches


def test_images_stay_bytes_in_the_history_and_reach_the_model_as_values_from_0_to_1():
    runner = build()
    runner.learn(1)
    stored = runner.alg.history[:]
    assert stored["obs/camera"].dtype == torch.uint8
    assert set(stored["obs/camera"].unique().tolist()) == {0, 255}
    model = runner.alg.get_policy()
    obs = ImageEnv().get_observations()
    as_floats = obs.clone()
    as_floats["camera"] = obs["camera"].float() / 255
    model._forward_pre_hooks.clear()
    expected = model(as_floats)
    torch.testing.assert_close(build_same(runner)(obs), expected)


def build_same(runner):
    other = build().alg.get_policy()
    other.load_state_dict(runner.alg.get_policy().state_dict())
    return other


def test_rsl_rls_own_model_cannot_read_bytes():
    runner = build()
    runner.alg.get_policy()._forward_pre_hooks.clear()
    with pytest.raises(RuntimeError):
        runner.alg.get_policy()(ImageEnv().get_observations())
