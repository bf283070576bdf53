"""Exported policies as teachers: TorchScript and ONNX files as this project and rsl_rl write them.

The TorchScript files of both are the same.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from rsl_rl.runners import DistillationRunner
from tensordict import TensorDict

from foundation.distill import DaggerRunner
from foundation.distill.checkpoint import CheckpointError, load_checkpoint
from foundation.distill.checkpoint.policy_files import PolicyFile
from foundation.export.onnx_file import write_onnx
from foundation.export.torchscript_file import write_torchscript
from tests.distill.checkpoint.test_foreign import model
from tests.support.runners import assert_equal, weights
from tests.support.runners import student as rnn
from tests.support.toy import ToyEnv, runner_cfg

RUNNERS = [DistillationRunner, DaggerRunner]


def export(actor, folder: Path, form: str) -> Path:
    """Export an actor as this project does, or ("rsl_rl onnx") as rsl_rl's runner does."""
    path = folder / ("policy.pt" if "torchscript" in form else "policy.onnx")
    if form == "onnx":
        write_onnx(actor, path)
    elif form == "torchscript":
        write_torchscript(actor, path)
    else:
        policy = actor.as_onnx(verbose=False).eval()
        names = {"input_names": policy.input_names, "output_names": policy.output_names}
        # Weights go to policy.onnx.data, and the file is for one environment.
        torch.onnx.export(policy, policy.get_dummy_inputs(), str(path), opset_version=18, verbose=False, **names)
        assert path.with_name("policy.onnx.data").is_file()
    return path


FORMS = ["torchscript", "onnx", "rsl_rl onnx"]
QUICK = ["torchscript", "onnx"]


@pytest.fixture(scope="module")
def actor():
    return model("actor")


@pytest.fixture(scope="module", params=FORMS)
def file(request, actor, tmp_path_factory) -> Path:
    return export(actor, tmp_path_factory.mktemp("policy"), request.param)


def build(path: Path | None, runner=DistillationRunner, log_dir: Path | None = None, **options):
    torch.manual_seed(0)
    cfg = runner_cfg(teacher_checkpoint=path and str(path), max_buffer_size=10_000, **options)
    return runner(ToyEnv(), cfg, log_dir and str(log_dir), "cpu")


def test_the_file_acts_as_the_network_that_it_was_exported_from(file, actor):
    alg = build(file).alg
    assert isinstance(alg.teacher_model, PolicyFile)
    for count in (1, 6, 50):
        obs = TensorDict({"teacher": torch.randn(count, 2), "student": torch.zeros(count, 3)}, batch_size=[count])
        with torch.no_grad():
            torch.testing.assert_close(alg.teacher_model(obs), actor(obs), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize("options", [{"phase1_iterations": 1}, {"use_dagger": False}, {"store_teacher_obs": True}])
def test_the_student_learns_what_it_learns_from_the_network(file, actor, runner_class, options, tmp_path):
    torch.save({"actor_state_dict": actor.state_dict()}, tmp_path / "t.pt")
    students = []
    for path in (file, tmp_path / "t.pt"):
        runner = build(path, runner_class, use_fast_paths=False, **options)
        torch.manual_seed(1)
        runner.learn(2)
        students.append(weights(runner))
    for name, value in students[0].items():
        torch.testing.assert_close(value, students[1][name], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("runner_class", RUNNERS)
def test_its_run_is_continued_without_the_file(file, actor, runner_class, tmp_path):
    gone = tmp_path / file.name
    for part in file.parent.iterdir():
        (tmp_path / part.name).write_bytes(part.read_bytes())
    runner = build(gone, runner_class, tmp_path / "run")
    runner.learn(2)
    for part in file.parent.iterdir():
        (tmp_path / part.name).unlink()
    path = str(tmp_path / "run" / "model_1.pt")
    continued = []
    for named in (file, gone, None):
        again = build(named, runner_class)
        again.load(path)
        assert isinstance(again.alg.teacher_model, PolicyFile)
        torch.manual_seed(1)
        again.learn(1)
        continued.append(weights(again))
    assert_equal(continued[0], continued[1])
    assert_equal(continued[0], continued[2])
    obs = ToyEnv().get_observations()
    with torch.no_grad():
        torch.testing.assert_close(again.alg.teacher_model(obs), actor(obs), atol=1e-6, rtol=1e-5)
    assert load_checkpoint(path)["teacher_state_dict"].keys() == {"_extra_state"}


def test_a_compiled_run_leaves_the_file_as_it_is(actor, tmp_path):
    file = str(export(actor, tmp_path, "onnx"))
    cfg = runner_cfg(teacher_checkpoint=file) | {"torch_compile_mode": "default"}
    alg = DistillationRunner(ToyEnv(), cfg, None, "cpu").alg
    assert alg.teacher is alg.teacher_model


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"loss_type": "kl"}, "loss_type=kl needs a Gaussian teacher, and this one has no standard deviation"),
            (
                {"latent_matching": {"student": "mlp.0", "teacher": "mlp.0", "weight": 1.0}},
                "latent_matching.teacher='mlp.0' is no module of the teacher",
            ),
        ],
    )
    def test_what_needs_more_than_actions(self, file, options, message):
        with pytest.raises(ValueError, match=message):
            build(file, **options)

    @pytest.mark.parametrize("form", QUICK)
    def test_other_observations(self, form, tmp_path):
        path = export(model("student"), tmp_path, form)
        with pytest.raises(
            CheckpointError, match="cannot read the 2 numbers of the observation groups teacher; set obs_groups"
        ) as caught:
            build(path)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("form", QUICK)
    def test_another_number_of_actions(self, form, tmp_path):
        path = export(model("critic", noise=None), tmp_path, form)
        with pytest.raises(
            CheckpointError, match=r"returns \[2, 1\] for two observations, expected actions \[2, 2\]"
        ):
            build(path)

    @pytest.mark.parametrize("form", QUICK)
    @pytest.mark.parametrize("kind", ["gru", "lstm"])
    def test_a_recurrent_policy(self, form, kind, tmp_path):
        path = export(model("actor", **rnn(kind)), tmp_path, form)
        with pytest.raises(
            CheckpointError, match=r"is an exported recurrent policy, .* give the checkpoint of its run instead"
        ):
            build(path)

    def test_one_of_several_teachers_and_a_relabelling(self, file, actor, tmp_path):
        torch.save({"actor_state_dict": actor.state_dict()}, tmp_path / "t.pt")
        cfg = runner_cfg(teacher_checkpoint=[str(tmp_path / "t.pt"), str(file)])
        with pytest.raises(CheckpointError, match="can only be the one teacher of a whole run; give the"):
            DistillationRunner(ToyEnv(), cfg, None, "cpu")
        runner = build(tmp_path / "t.pt", store_teacher_obs=True)
        with pytest.raises(CheckpointError, match="can only be the one teacher"):
            runner.alg.relabel(file)

    @pytest.mark.parametrize("name", ["policy.onnx", "policy.pt"])
    @pytest.mark.parametrize("damage", [b"junk", b"", None])
    def test_a_damaged_file(self, name, damage, actor, tmp_path):
        path = export(actor, tmp_path, "onnx" if name.endswith("onnx") else "torchscript")
        path.write_bytes(path.read_bytes()[:-200] if damage is None else damage)
        with pytest.raises(CheckpointError, match=f"checkpoint {path} is damaged"):
            build(path)

    def test_onnx_without_onnxruntime(self, actor, tmp_path, monkeypatch):
        path = export(actor, tmp_path, "onnx")
        found = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name)
        )
        with pytest.raises(CheckpointError, match=r"needs onnxruntime; install it with: pip"):
            build(path)

    def test_a_network_in_the_place_of_a_file(self, file, actor, tmp_path):
        runner = build(file)
        with pytest.raises(CheckpointError, match="is a network, but teacher_checkpoint names an exported policy"):
            runner.alg.load({"actor_state_dict": actor.state_dict()}, None, True)

    def test_images(self, file):
        from tests.support.toy import CNN, ImageEnv

        cfg = runner_cfg(teacher_checkpoint=str(file))
        cfg["obs_groups"] = {"student": ["teacher"], "teacher": ["camera"]}
        cfg["teacher"] |= {"class_name": "CNNModel", "cnn_cfg": dict(CNN), "obs_normalization": False}
        with pytest.raises(CheckpointError, match=r"would read observation group 'camera' of shape \[1, 8, 8\]"):
            DistillationRunner(ImageEnv(), cfg, None, "cpu")
