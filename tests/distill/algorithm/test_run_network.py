"""A teacher has the network of its own run where the configured one does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerRunner
from foundation.distill.checkpoint import CheckpointError
from foundation.distill.checkpoint.run_network import network_in, network_of_run
from tests.distill.checkpoint.test_foreign import model, old_checkpoint, run
from tests.support.runners import assert_equal, weights
from tests.support.runners import student as rnn
from tests.support.toy import GAUSSIAN, MODEL, ToyEnv, runner_cfg

RUNNERS = [DistillationRunner, DaggerRunner]
LOG = GAUSSIAN | {"std_type": "log"}
NETWORKS = {
    "sizes": {"hidden_dims": [6, 5]},
    "plain": {"obs_normalization": False},
    "noise": {"distribution_cfg": LOG},
    "gru": rnn("gru", 2),
    "activation": {"activation": "tanh"},
}


def agent(network: dict, version: int) -> dict:
    """Return what a run of rsl_rl 3, 4 or 5 saves of its configuration, written by hand."""
    own = {**MODEL, "distribution_cfg": GAUSSIAN, **network}
    noise = own["distribution_cfg"]
    if version == 5:
        return {"seed": 1, "actor": own, "critic": dict(MODEL), "obs_groups": {"actor": ["teacher"]}}
    old_noise = {"init_noise_std": noise["init_std"], "noise_std_type": noise["std_type"]}
    if version == 4:
        actor = {name: value for name, value in own.items() if name != "distribution_cfg"}
        return {"actor": actor | old_noise | {"stochastic": True, "state_dependent_std": False}}
    recurrent = {name: value for name, value in own.items() if name.startswith("rnn_")}
    policy = {
        "class_name": "ActorCriticRecurrent" if recurrent else "ActorCritic",
        "actor_hidden_dims": tuple(own["hidden_dims"]),
        "critic_hidden_dims": [3],
        "activation": own["activation"],
        "actor_obs_normalization": own["obs_normalization"],
        **old_noise,
        **recurrent,
    }
    return {"policy": policy, "empirical_normalization": None, "obs_groups": {"policy": ["policy"]}}


def teacher(folder: Path, network: dict, version: int, saved: dict | None = None) -> tuple[Path, torch.Tensor]:
    """Write a teacher's run, and return its checkpoint and its actions."""
    settings = dict(network)
    actor = model("actor", noise=settings.pop("distribution_cfg", GAUSSIAN), **settings)
    (folder / "params").mkdir(parents=True)
    path = folder / "model_7.pt"
    state = {"actor_state_dict": actor.state_dict()} if version == 5 else old_checkpoint(version, actor=actor)
    torch.save(state, path)
    # yaml.dump writes tuples with a tag of Python, as Isaac Lab does.
    (folder / "params" / "agent.yaml").write_text(yaml.dump(saved or agent(network, version)))
    return path, run(actor)


def build(path: Path, runner=DistillationRunner, log_dir=None, **options):
    cfg = runner_cfg(teacher_checkpoint=str(path), max_buffer_size=10_000, **options)
    return runner(ToyEnv(), cfg, log_dir and str(log_dir), "cpu")


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_the_run_tells_the_network_that_the_configuration_has_wrong(network, version, tmp_path, caplog):
    path, actions = teacher(tmp_path / "run", network, version)
    runner = build(path)
    assert torch.equal(run(runner.alg.teacher_model), actions)
    assert caplog.text.count("the teacher's network is that of its run, not the configured one: ") == 1
    setting = "activation" if "activation" in network else next(iter({**network}))
    assert setting in caplog.text.split("the configured one: ")[1]
    runner.learn(1)


@pytest.mark.parametrize("saved", [None, {"actor": {**MODEL, "activation": "unheard_of"}}])
def test_a_configuration_that_fits_is_used_as_it_is(saved, tmp_path, caplog):
    path, actions = teacher(tmp_path / "run", {}, 5, saved)
    alg = build(path).alg
    assert torch.equal(run(alg.teacher_model), actions)
    assert "that of its run" not in caplog.text
    assert alg.teacher_network is None
    assert "teacher_network" not in alg.save()["dagger_state_dict"]


@pytest.mark.parametrize(
    "saved",
    [
        {"seed": 1},
        {"actor": {"hidden_dims": [3]}},
        {"actor": {**MODEL, "hidden_dims": [3]}},
        {"actor": {**MODEL, "hidden_dims": []}},
        {"policy": {}},
    ],
)
def test_a_run_that_does_not_tell_it_leaves_the_error_of_the_configured_one(saved, tmp_path):
    path, _ = teacher(tmp_path / "run", {"hidden_dims": [6]}, 5, saved)
    with pytest.raises(CheckpointError, match=r"hidden_dims\[0\] is 6 in the file and 8 in the model; set"):
        build(path)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "actor: !!python/object/apply:os.system [ls]", "\x00"])
def test_a_file_that_is_no_configuration_tells_nothing(text, tmp_path):
    path, _ = teacher(tmp_path / "run", {}, 5)
    assert network_of_run(path, "actor") is not None
    (path.parent / "params" / "agent.yaml").write_text(text)
    assert network_of_run(path, "actor") is None


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize(
    ("name", "options"),
    [("sizes", {}), ("gru", {}), ("sizes", {"loss_type": "kl"}), ("plain", {"loss_type": "kl"})],
)
def test_its_run_continues_without_the_teachers_folder(name, options, runner_class, tmp_path):
    path, actions = teacher(tmp_path / "run", NETWORKS[name], 5)
    first = build(path, runner_class, tmp_path / "student", **options)
    first.learn(2)
    saved = str(tmp_path / "student" / "model_1.pt")
    continued = []
    for gone in (False, True):
        if gone:
            path.unlink()
        again = build(path, runner_class, **options)
        again.load(saved)
        assert torch.equal(run(again.alg.teacher_model), actions)
        torch.manual_seed(1)
        again.learn(1)
        continued.append(weights(again))
    assert_equal(*continued)


def test_a_distillation_run_of_rsl_rl_3_tells_its_teachers_network():
    policy = {
        "class_name": "StudentTeacherRecurrent", "student_hidden_dims": [4], "teacher_hidden_dims": [5],
        "activation": "relu", "init_noise_std": 0.1, "rnn_type": "gru", "rnn_hidden_dim": 6, "rnn_num_layers": 1,
    }  # fmt: skip
    found = network_in({"policy": policy, "empirical_normalization": True}, "teacher")
    assert found == {
        "class_name": "MLPModel", "hidden_dims": [5], "activation": "relu", "obs_normalization": True,
        "distribution_cfg": None,
    }  # fmt: skip
    recurrent = network_in({"policy": policy | {"teacher_recurrent": True}}, "teacher")
    assert recurrent is not None
    assert (recurrent["class_name"], recurrent["rnn_hidden_dim"]) == ("RNNModel", 6)


def test_numbers_of_a_memory_that_a_feed_forward_network_does_not_have_are_passed_over():
    as_mjlab = {
        "class_name": "MLPModel",
        "hidden_dims": [8],
        "rnn_type": None,
        "rnn_hidden_dim": 256,
        "rnn_num_layers": 1,
    }
    assert network_in({"actor": as_mjlab}, "actor") == {"class_name": "MLPModel", "hidden_dims": [8]}
    as_ours = {"class_name": "RNNModel", "hidden_dims": [8], "rnn_type": None, "rnn_hidden_dim": 16}
    assert network_in({"actor": as_ours}, "actor")["rnn_hidden_dim"] == 16
