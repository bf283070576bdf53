"""Checkpoints in the layouts of earlier versions of rsl_rl, written here by hand with the names that those used.

`make test-old-checkpoints` does the same with checkpoints that the versions themselves have written.
"""

from __future__ import annotations

import pytest
import torch
from rsl_rl.models import CNNModel, MLPModel, RNNModel
from rsl_rl.runners import DistillationRunner
from tensordict import TensorDict

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.checkpoint import CheckpointError, load_checkpoint, present_layout
from foundation.distill.checkpoint.foreign import plain_names
from tests.support.runners import student as rnn
from tests.support.toy import CNN, GAUSSIAN, MODEL, ImageEnv, ToyEnv, ppo_cfg, runner_cfg

MEMORIES = {"actor": "memory_a", "critic": "memory_c", "student": "memory_s", "teacher": "memory_t"}


def model(role: str, seed: int = 1, noise: dict | None = GAUSSIAN, **settings):
    """Return a model of rsl_rl 5 whose normaliser has seen data."""
    torch.manual_seed(seed)
    cfg = {**MODEL, **settings}
    obs, group = ToyEnv().get_observations(), "student" if role == "student" else "teacher"
    kind = {"MLPModel": MLPModel, "RNNModel": RNNModel}[cfg.pop("class_name")]
    outputs = 1 if role == "critic" else 2
    made = kind(obs, {role: [group]}, role, outputs, **cfg, distribution_cfg=noise and dict(noise))
    made.update_normalization(TensorDict({group: 3.0 * torch.randn(50, made.obs_dim) - 1.0}, batch_size=[50]))
    return made.eval()


def old_names(role: str, weights: dict, version: int) -> dict:
    """Return a model's weights under the names of rsl_rl 2 or 3."""
    renamed = {}
    for name, value in weights.items():
        head, _, rest = name.partition(".")
        if head == "mlp":
            renamed[f"{role}.{rest}"] = value
        elif head == "rnn":
            renamed[f"{MEMORIES[role]}.{rest}"] = value
        elif head == "obs_normalizer" and version == 3:
            renamed[f"{role}_obs_normalizer.{rest}"] = value
        elif rest in ("std_param", "log_std_param"):
            renamed[rest.removesuffix("_param")] = value
    return renamed


def old_checkpoint(version: int, **models) -> dict:
    """Return what rsl_rl 2, 3 or 4 saves of models by role."""
    optimizer = {"state": {}, "param_groups": [{"lr": 1e-3}]}
    others = {"iter": 7, "infos": None, "optimizer_state_dict": optimizer}
    if version == 4:
        names = {"distribution.std_param": "std", "distribution.log_std_param": "log_std"}
        weights = {role: one.state_dict() for role, one in models.items()}
        return others | {
            f"{role}_state_dict": {names.get(name, name): value for name, value in own.items()}
            for role, own in weights.items()
        }
    state = {"model_state_dict": {}, **others}
    for role, one in models.items():
        state["model_state_dict"] |= old_names(role, one.state_dict(), version)
        if version == 2:
            normaliser = (
                "obs_norm_state_dict" if role in ("actor", "student") else "privileged_obs_norm_state_dict"
            )
            state[normaliser] = one.obs_normalizer.state_dict()
    return state


def run(teacher, steps: int = 4) -> torch.Tensor:
    """Return the actions (T, N, A) for the same observations, from a fresh hidden state."""
    obs = torch.randn(steps, 6, 2, generator=torch.Generator().manual_seed(5))
    teacher.eval()
    teacher.reset()
    with torch.no_grad():
        return torch.stack([teacher(TensorDict({"teacher": step}, batch_size=[6])) for step in obs])


def build(path, runner=DistillationRunner, teacher=None, **options):
    cfg = runner_cfg(teacher=teacher, teacher_checkpoint=path and str(path), max_buffer_size=10_000, **options)
    return runner(ToyEnv(), cfg, None, "cpu")


NETWORKS = {
    "mlp": {},
    "three_layers": {"hidden_dims": [8, 5, 4]},
    "plain": {"obs_normalization": False},
    "gru": rnn("gru", layers=2),
    "lstm": rnn("lstm"),
}


@pytest.mark.parametrize("std_type", ["scalar", "log"])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("version", [2, 3, 4])
def test_an_old_actor_acts_as_it_did(version, network, std_type, tmp_path, caplog):
    noise = GAUSSIAN | {"std_type": std_type}
    actor = model("actor", noise=noise, **network)
    torch.save(old_checkpoint(version, actor=actor, critic=model("critic", 2, None, **network)), tmp_path / "t.pt")
    alg = build(tmp_path / "t.pt", teacher={**network, "distribution_cfg": noise}, loss_type="kl").alg
    assert torch.equal(run(alg.teacher_model), run(actor))
    actor.distribution.update(torch.zeros(1, 2))
    alg.teacher_model.distribution.update(torch.zeros(1, 2))
    assert torch.equal(alg.teacher_model.output_std, actor.output_std)
    assert f"teacher_checkpoint {tmp_path / 't.pt'} was saved by rsl_rl {version}.x" in caplog.text.replace(
        "3.x or older", f"{version}.x"
    )
    assert "read actor (network" in caplog.text


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_student_and_its_teacher_are_told_apart(version, tmp_path):
    # In 2 and 3 the one standard deviation is the student's: the teacher has none.
    pupil, teacher = model("student", 1), model("teacher", 2, None)
    path = tmp_path / "s.pt"
    torch.save(old_checkpoint(version, student=pupil, teacher=teacher), path)
    assert torch.equal(run(build(path).alg.teacher_model), run(teacher))
    for kind in (DistillationRunner, DaggerRunner):
        runner = build(None, kind)
        runner.load(str(path), {"student": True, "teacher": True})
        assert torch.equal(run(runner.alg.teacher_model), run(teacher))
        expected = pupil.state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in runner.alg.student.state_dict().items())


def test_convolutions_of_rsl_rl_3_are_read():
    obs = ImageEnv().get_observations()
    groups = {"actor": ["camera", "teacher"]}
    cfg = {key: value for key, value in MODEL.items() if key != "class_name"}
    actor = CNNModel(obs, groups, "actor", 1, **cfg, cnn_cfg=dict(CNN), distribution_cfg=dict(GAUSSIAN))
    old = {"cnns": "actor_cnns", "mlp": "actor", "obs_normalizer": "actor_obs_normalizer"}
    weights = {}
    for name, value in actor.state_dict().items():
        head, _, rest = name.partition(".")
        weights["std" if head == "distribution" else f"{old[head]}.{rest}"] = value
    present = present_layout({"model_state_dict": weights}, "x")
    assert present["saved_by"] == "rsl_rl 3.x"
    assert present["actor_state_dict"].keys() == actor.state_dict().keys()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {f"_orig_mod.{name}": value for name, value in weights.items()},
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
        lambda weights: {f"module._orig_mod.{name}": value for name, value in weights.items()},
        lambda weights: {f"_orig_mod.module.module.{name}": value for name, value in weights.items()},
        lambda weights: {name.replace("mlp.", "mlp._orig_mod."): value for name, value in weights.items()},
        lambda weights: {name.replace("mlp.", "mlp.module."): value for name, value in weights.items()},
    ],
)
def test_compiled_and_data_parallel_models_are_read(wrap, tmp_path):
    actor = model("actor")
    torch.save({"actor_state_dict": wrap(actor.state_dict())}, tmp_path / "new.pt")
    torch.save(wrap(actor.state_dict()), tmp_path / "bare.pt")
    old = old_names("actor", actor.state_dict(), 3)
    torch.save({"model_state_dict": wrap(old)}, tmp_path / "old.pt")
    for name in ("new", "bare", "old"):
        assert torch.equal(run(build(tmp_path / f"{name}.pt").alg.teacher_model), run(actor)), name


def test_a_layer_named_module_of_a_model_of_ones_own_stays():
    weights = {"mlp.0.weight": torch.zeros(1), "encoder.module.weight": torch.zeros(1)}
    assert plain_names(weights).keys() == weights.keys()


def test_a_present_checkpoint_is_not_touched():
    state = {"actor_state_dict": model("actor").state_dict(), "iter": 3}
    assert present_layout(state, "x") is state


def test_a_policy_that_rsl_rl_does_not_have_is_refused_with_the_way_out(tmp_path):
    weights = {"actor.0.weight": torch.zeros(2, 2), "history_encoder.0.weight": torch.zeros(2, 2)}
    torch.save({"model_state_dict": weights}, tmp_path / "fork.pt")
    torch.save({"model": {"a2c_network.sigma": torch.zeros(1)}, "epoch": 3}, tmp_path / "other.pt")
    with pytest.raises(
        CheckpointError, match=r"3\.x or older, but also history_encoder\.0\.weight.* export it as"
    ):
        build(tmp_path / "fork.pt")
    with pytest.raises(
        CheckpointError, match=r"neither an actor nor a teacher: \['epoch', 'model'\].* export the"
    ):
        build(tmp_path / "other.pt")


@pytest.mark.parametrize("version", [2, 3])
def test_a_ppo_run_of_another_optimiser_is_not_continued_but_its_weights_can_be(version, tmp_path):
    actor, critic = model("actor"), model("critic", 2, None)
    path = tmp_path / "model_7.pt"
    torch.save(old_checkpoint(version, actor=actor, critic=critic), path)
    runner = PpoRunner(ToyEnv(), ppo_cfg(10), None, "cpu")
    before = run(runner.alg.actor)
    with pytest.raises(
        CheckpointError, match=r"holds no optimiser .*rsl_rl .* load_cfg=\{'actor': True, 'critic': True\}"
    ):
        runner.load(str(path))
    assert torch.equal(run(runner.alg.actor), before)
    runner.load(str(path), {"actor": True, "critic": True})
    assert torch.equal(run(runner.alg.actor), run(actor))
    assert load_checkpoint(path)["iter"] == 7


@pytest.mark.parametrize("name", ["model_state_dict", "actor_state_dict", "teacher_state_dict"])
@pytest.mark.parametrize(
    "damage",
    [
        None, 3, [], {1: torch.zeros(1)}, {}, {"mlp.0.weight": 3}, {"mlp.0.weight": torch.zeros(0, 0)},
        {"mlp.0.weight": torch.zeros(3)}, {"actor.0.weight": "x", "std": None}, {"": torch.zeros(1)},
        {"mlp.0.weight": torch.zeros(2, 2), "rnn.rnn.weight_hh_l0": torch.zeros(0, 0)},
        {"mlp.0.weight": torch.zeros(2, 2), "rnn.rnn.weight_hh_l0": torch.zeros(2)},
    ],
)  # fmt: skip
def test_a_checkpoint_whose_entries_are_no_weights_is_refused(name, damage, tmp_path):
    torch.save({name: damage, "iter": 0}, tmp_path / "t.pt")
    with pytest.raises(CheckpointError, match=r"t\.pt"):
        build(tmp_path / "t.pt")
