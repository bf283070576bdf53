"""An export agrees with the checkpoint's policy, or it fails and leaves no file."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

import foundation
from foundation.export import exporter
from foundation.export.c_header import Origin
from foundation.export.closed_loop import TOLERANCE, require_agreement
from foundation.export.crazyflie import Vehicle, flown_cfg
from foundation.export.errors import ExportError
from foundation.export.exporter import ALL, Source, export
from foundation.export.onnx_file import OnnxStepper, write_onnx
from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg
from tests.export.models import KINDS, policy

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
ORIGIN = Origin("run/model_9.pt", 100.0)


def env():
    return foundation.make_env("distillation", num_envs=3, overrides=["env.episode_steps=60"])


def source(kind: str = "gru") -> Source:
    return Source(policy(kind), ORIGIN, env)


def for_the_crazyflie(kind: str) -> Source:
    cfg = flown_cfg(PointCtrlEnvCfg(num_envs=3))
    make = lambda: PointCtrlEnv(cfg)  # noqa: E731
    return Source(policy(kind), ORIGIN, make, Vehicle.of(cfg, make().nominal))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", [*ALL, "crazyflie"])
def test_every_format_of_every_kind_flies_a_thousand_steps_as_the_policy_does(form, kind, tmp_path):
    made = export(for_the_crazyflie(kind) if form == "crazyflie" else source(kind), form, tmp_path)
    assert made.path == tmp_path / exporter.FILES[form]
    assert made.path.exists()
    assert made.agreement.steps == 1000
    assert made.agreement.same <= TOLERANCE
    # In the task, which begins alike, the flights stay together.
    assert made.agreement.own <= 10 * TOLERANCE
    assert [path.name for path in tmp_path.iterdir()] == [made.path.name]


def test_a_tolerance_that_is_given_holds_for_every_format_also_where_the_default_is_another(tmp_path):
    for form in [*ALL, "crazyflie"]:
        made = for_the_crazyflie("gru") if form == "crazyflie" else source("gru")
        with pytest.raises(ExportError, match="more than 1e-12"):
            export(replace(made, tolerance=1e-12), form, tmp_path)
    assert export(for_the_crazyflie("gru"), "crazyflie", tmp_path).agreement.tolerance == 2e-3


def change_after_writing(monkeypatch) -> None:
    """Change the policy by a hundredth between writing and checking it."""

    def changed(model, *args, **kwargs):
        model.mlp[-1].bias.data[0] += 0.01
        return require_agreement(model, *args, **kwargs)

    monkeypatch.setattr(exporter, "require_agreement", changed)


@pytest.mark.parametrize("form", [*ALL, "crazyflie"])
def test_a_policy_other_than_the_one_that_was_written_is_noticed_and_leaves_nothing(form, tmp_path, monkeypatch):
    made = for_the_crazyflie("mlp") if form == "crazyflie" else source("mlp")
    change_after_writing(monkeypatch)
    with pytest.raises(ExportError, match="does not do what the policy does"):
        export(made, form, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_recurrent_export_that_is_never_reset_is_noticed(tmp_path):
    path = tmp_path / "policy.onnx"
    made = source("gru")
    write_onnx(made.model, path)

    class Forgetful(OnnxStepper):
        def reset(self, dones):
            pass

    require_agreement(made.model, partial(OnnxStepper, path), env, steps=200)
    with pytest.raises(ExportError, match="does not do what"):
        require_agreement(made.model, partial(Forgetful, path), env, steps=200)


def test_nan_is_no_agreement(tmp_path):
    class Broken:
        def __init__(self, num_envs):
            pass

        def __call__(self, obs):
            return np.full((3, 4), np.nan, dtype=np.float32)

        def reset(self, dones):
            pass

    with pytest.raises(ExportError, match="differs at step 0 by inf"):
        require_agreement(policy(), Broken, env, steps=10)


@pytest.mark.parametrize("kind", KINDS)
def test_onnx_has_the_documented_names_and_any_number_of_vehicles(kind, tmp_path):
    import onnxruntime

    path = tmp_path / "policy.onnx"
    write_onnx(policy(kind), path)
    session = onnxruntime.InferenceSession(str(path))
    states = ["h", "c"] if kind.endswith("lstm") else [] if kind == "mlp" else ["h"]
    assert [tensor.name for tensor in session.get_inputs()] == ["obs", *(f"{name}_in" for name in states)]
    assert [tensor.name for tensor in session.get_outputs()] == ["actions", *(f"{name}_out" for name in states)]
    for count in (1, 7):
        state = {f"{name}_in": np.zeros((2, count, 6), np.float32) for name in states}
        actions, *_ = session.run(None, {"obs": np.zeros((count, 22), np.float32)} | state)
        assert actions.shape == (count, 4)


def test_torchscript_flies_one_vehicle_as_rsl_rls_own_export_does(tmp_path):
    made = export(source("gru"), "torchscript", tmp_path)
    module, reference = torch.jit.load(str(made.path)), torch.jit.script(policy("gru").as_jit())
    for step in range(3):
        obs = torch.full((1, 22), 0.1 * step)
        torch.testing.assert_close(module(obs), reference(obs), rtol=0, atol=0)
    module.reset()


def test_a_controllers_folder_is_never_replaced_and_a_file_only_by_one_that_was_checked(tmp_path, monkeypatch):
    export(for_the_crazyflie("mlp"), "crazyflie", tmp_path)
    with pytest.raises(ExportError, match="exists, and may hold changes of yours"):
        export(for_the_crazyflie("mlp"), "crazyflie", tmp_path)
    path = export(source("mlp"), "onnx", tmp_path).path
    before = path.read_bytes()
    change_after_writing(monkeypatch)
    with pytest.raises(ExportError):
        export(source("mlp"), "onnx", tmp_path)
    assert path.read_bytes() == before


def test_a_policy_of_other_observations_is_no_controller_of_a_crazyflie(tmp_path):
    made = for_the_crazyflie("mlp")
    with pytest.raises(ExportError, match="needs a student of 22 observations and 4 actions, this policy has 37"):
        export(Source(policy(size=37), ORIGIN, made.make_env, made.vehicle), "crazyflie", tmp_path)
