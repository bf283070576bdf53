"""Students that read images leave Python as ONNX and TorchScript; formats in C refuse them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from rsl_rl.models import CNNModel
from tensordict import TensorDict

from foundation.distill import DaggerRunner
from foundation.distill.observations import prepare_inputs
from foundation.export.c_header import Origin
from foundation.export.closed_loop import TOLERANCE, Agreement, require_agreement
from foundation.export.errors import ExportError
from foundation.export.exporter import Source, export
from foundation.export.inputs import byte_images
from foundation.export.onnx_file import OnnxStepper, write_onnx
from foundation.export.torchscript_file import TorchScriptStepper, write_torchscript
from tests.support.runners import RightTeacher
from tests.support.toy import CNN, GAUSSIAN, ImageEnv, TimedEnv, runner_cfg

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

GROUPS = {
    "a camera of bytes": {"camera": torch.uint8},
    "a camera of floats": {"camera": torch.float32},
    "bytes and vectors": {"camera": torch.uint8, "motion": None},
    "two cameras and two vector groups": {
        "motion": None,
        "left": torch.uint8,
        "goal": None,
        "depth": torch.float32,
    },
}
"""Observation groups: the dtype of an image group, None for vectors."""
SHAPES = {"camera": (3, 8, 8), "left": (1, 8, 8), "depth": (2, 10, 6), "motion": (5,), "goal": (2,)}
EXAMPLE = "two cameras and two vector groups"


class CameraEnv(TimedEnv):
    """Scenes that drift by the actions, seen through any groups."""

    num_actions = 3
    max_episode_length = 17

    def __init__(self, groups: dict, num_envs: int = 3, seed: int = 0) -> None:
        super().__init__(num_envs, seed)
        self._groups = groups
        self._place = torch.zeros(num_envs, 3)
        self._scenes = {name: torch.randn(3, *SHAPES[name], generator=self.generator) for name in groups}

    def get_observations(self) -> TensorDict:
        seen = {}
        for name, dtype in self._groups.items():
            values = torch.einsum("na,a...->n...", torch.sin(self._place), self._scenes[name])
            seen[name] = values if dtype is None else torch.sigmoid(values)
            if dtype == torch.uint8:
                seen[name] = (255.0 * seen[name]).to(torch.uint8)
        return TensorDict(seen, batch_size=[self.num_envs])

    def step(self, actions):
        fresh = torch.randn(self.num_envs, 3, generator=self.generator)
        done = self.advance_time()
        self._place = torch.where(done[:, None], fresh, self._place + 0.1 + 0.3 * actions)
        return self.get_observations(), torch.zeros(self.num_envs), done.long(), {"time_outs": done}


def student(groups: dict, env=None, norm: str = "none") -> CNNModel:
    """Return a student with a normaliser that has seen data, where it reads vectors."""
    torch.manual_seed(0)
    obs = (env or CameraEnv(groups)).get_observations()
    model = CNNModel(
        obs, {"student": list(groups)}, "student", 3, [12], "tanh", True, dict(GAUSSIAN), {**CNN, "norm": norm}
    )
    prepare_inputs(model, obs)
    if model.obs_groups:
        model.update_normalization(
            TensorDict({name: 3.0 * obs[name].float() + 1.0 for name in groups}, batch_size=3)
        )
    return model.eval()


def source(name: str, **options) -> Source:
    return Source(student(GROUPS[name], **options), Origin("run", 100.0), partial(CameraEnv, GROUPS[name]))


FORMS = {"onnx": (write_onnx, OnnxStepper), "torchscript": (write_torchscript, TorchScriptStepper)}


def written(made: Source, form: str, folder: Path) -> Path:
    """Write a policy as the export does, without its check."""
    path = folder / form
    FORMS[form][0](made.model, path, byte_images(made.model, made.make_env))
    return path


def compare(made: Source, form: str, path: Path) -> Agreement:
    """Compare over six episodes."""
    return require_agreement(made.model, partial(FORMS[form][1], path), made.make_env, steps=100)


@pytest.mark.parametrize("name", GROUPS)
@pytest.mark.parametrize("form", FORMS)
def test_a_student_that_sees_acts_as_the_policy_does(form, name, tmp_path):
    made = source(name)
    agreement = compare(made, form, written(made, form, tmp_path))
    assert agreement.same <= 0.1 * TOLERANCE
    # In a flight of its own, rounding may move a pixel by a 255th.
    assert agreement.own < 0.02


@pytest.mark.parametrize("form", FORMS)
def test_a_student_that_sees_passes_the_whole_export(form, tmp_path):
    made = export(source(EXAMPLE), form, tmp_path)
    assert made.agreement.steps == 1000
    assert [path.name for path in tmp_path.iterdir()] == [made.path.name]


@pytest.mark.parametrize("form", FORMS)
def test_a_weight_of_a_camera_that_changes_after_writing_is_noticed(form, tmp_path):
    made = source("bytes and vectors")
    path = written(made, form, tmp_path)
    made.model.cnns["camera"][0].weight.data[0] *= 1.05
    with pytest.raises(ExportError, match="does not do what the policy does"):
        compare(made, form, path)


def test_bytes_are_read_as_rsl_rls_own_model_reads_values_from_0_to_1(tmp_path):
    made = source("bytes and vectors")
    obs = made.make_env().get_observations()
    made.model._forward_pre_hooks.clear()
    as_floats = obs.clone()
    as_floats["camera"] = obs["camera"].float() / 255.0
    expected = made.model(as_floats).detach()
    write_torchscript(made.model, tmp_path / "policy.pt", ["camera"])
    found = torch.jit.load(str(tmp_path / "policy.pt"))(obs["motion"], [obs["camera"]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    write_onnx(made.model, tmp_path / "policy.onnx", ["camera"])
    found = OnnxStepper(tmp_path / "policy.onnx", 3)(obs["motion"].numpy(), obs["camera"].numpy())
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", GROUPS)
def test_onnx_has_an_input_for_all_vectors_and_one_per_image_group_for_any_number_of_vehicles(name, tmp_path):
    session = onnxruntime.InferenceSession(str(written(source(name), "onnx", tmp_path)))
    groups = GROUPS[name]
    images = {group: dtype for group, dtype in groups.items() if dtype is not None}
    has_vectors = len(images) < len(groups)
    types = {torch.uint8: "tensor(uint8)", torch.float32: "tensor(float)"}
    inputs = session.get_inputs()
    assert [tensor.name for tensor in inputs] == [*(["obs"] if has_vectors else []), *images]
    assert [tensor.type for tensor in inputs][has_vectors:] == [types[dtype] for dtype in images.values()]
    assert [tensor.name for tensor in session.get_outputs()] == ["actions"]
    for count in (1, 7):
        obs = CameraEnv(groups, count).get_observations()
        given = {group: obs[group].numpy() for group in images}
        if has_vectors:
            vectors = [obs[group] for group in groups if group not in images]
            given["obs"] = torch.cat(vectors, dim=-1).numpy()
        (actions,) = session.run(None, given)
        np.testing.assert_allclose(actions, student(groups)(obs).detach(), atol=2e-6)


def test_a_student_in_training_is_exported_as_it_acts_and_left_in_training(tmp_path):
    groups = GROUPS["a camera of floats"]
    made = source("a camera of floats", norm="batch")
    made.model.train()
    # A batch seen in training changes the statistics of batch normalisation; an export must not.
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    path = export(made, "onnx", tmp_path).path
    assert made.model.training
    for name, value in made.model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    obs = CameraEnv(groups).get_observations()
    found = OnnxStepper(path, 3)(np.zeros((3, 0), np.float32), obs["camera"].numpy())
    np.testing.assert_allclose(found, made.model.eval()(obs).detach(), atol=2e-6)


def test_a_distilled_student_is_exported_from_its_runner(tmp_path):
    torch.manual_seed(0)
    cfg = runner_cfg(
        student={"class_name": "CNNModel", "cnn_cfg": dict(CNN), "hidden_dims": [16]},
        max_buffer_size=10_000,
        gradient_length=5,
    )
    cfg["obs_groups"]["student"] = ["camera"]
    runner = DaggerRunner(ImageEnv(), cfg, None, "cpu")
    runner.alg.teacher = runner.alg._raw_teacher = RightTeacher()
    runner.alg.teacher_loaded = True
    runner.learn(2)
    model = runner.alg.get_policy()
    made = export(Source(model, Origin("run", 100.0), lambda: ImageEnv(4)), "onnx", tmp_path)
    (tensor,) = onnxruntime.InferenceSession(str(made.path)).get_inputs()
    assert (tensor.name, tensor.type, tensor.shape[1:]) == ("camera", "tensor(uint8)", [1, 8, 8])


@pytest.mark.parametrize("form", ["c", "crazyflie"])
def test_formats_in_c_refuse_images_in_one_line_that_names_the_formats_that_take_them(form, tmp_path):
    with pytest.raises(ExportError) as caught:
        export(source(EXAMPLE), form, tmp_path / form)
    message = str(caught.value)
    assert message.startswith("CNNModel cannot be written as C")
    assert "\n" not in message
    # Those that the tests above fly.
    assert message.endswith("use onnx or torchscript")
    assert not (tmp_path / form).exists()


def test_a_model_that_cannot_read_its_environment_is_one_error(tmp_path):
    made = source("a camera of bytes")
    made.model._forward_pre_hooks.clear()  # as rsl_rl's own model, which reads no bytes
    with pytest.raises(
        ExportError, match=r"cannot read its environment's observations, camera \(3, 3, 8, 8\) torch.uint8"
    ):
        export(made, "onnx", tmp_path)
    other = Source(made.model, made.origin, partial(CameraEnv, {"left": torch.uint8}))
    with pytest.raises(
        ExportError, match="reads the observation group 'camera', which its environment does not have"
    ):
        export(other, "torchscript", tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("group", ["obs", "actions"])
def test_an_image_group_with_the_name_of_another_input_or_output_is_refused(group, tmp_path, monkeypatch):
    monkeypatch.setitem(SHAPES, group, (1, 8, 8))
    groups = {group: torch.uint8, "motion": None}
    made = Source(student(groups), Origin("run", 100.0), partial(CameraEnv, groups))
    with pytest.raises(ExportError, match=f"the image group '{group}' has the name of another input or output"):
        export(made, "onnx", tmp_path)
    compare(made, "torchscript", written(made, "torchscript", tmp_path))


def test_torchscript_takes_images_of_the_trained_kind_and_number_only(tmp_path):
    made = source(EXAMPLE)
    module = torch.jit.load(str(written(made, "torchscript", tmp_path)))
    obs = made.make_env().get_observations()
    vectors = torch.cat([obs["motion"], obs["goal"]], dim=-1)
    torch.testing.assert_close(module(vectors, [obs["left"], obs["depth"]]), made.model(obs).detach())
    for images in ([obs["left"].float(), obs["depth"]], [obs["left"], (255 * obs["depth"]).byte()], [obs["left"]]):
        with pytest.raises(torch.jit.Error, match=r"must be|takes 2 image groups, got 1"):
            module(vectors, images)
