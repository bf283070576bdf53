"""A network that does not fit a checkpoint is named by its setting, with the value that would fit."""

from __future__ import annotations

import re

import pytest
import torch
from rsl_rl.runners import DistillationRunner, OnPolicyRunner

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.checkpoint import CheckpointError
from foundation.distill.checkpoint.architecture import architecture
from tests.distill.checkpoint.test_foreign import model
from tests.support.runners import student as rnn
from tests.support.toy import GAUSSIAN, MODEL, ToyEnv, ppo_cfg, runner_cfg

HETERO = {"class_name": "HeteroscedasticGaussianDistribution", "init_std": 0.1}


def says(setting: str, file: str, model: str) -> str:
    return f"{setting} is {file} in the file and {model} in the model"


MISFITS = {
    "width": ({"hidden_dims": [8, 6]}, {"hidden_dims": [8, 5]}, says("hidden_dims[1]", "6", "5")),
    "depth": ({"hidden_dims": [8, 6]}, {}, says("hidden_dims", "[8, 6]", "[8]")),
    "normaliser": ({"obs_normalization": False}, {}, says("obs_normalization", "False", "True")),
    "noise": (
        {"noise": GAUSSIAN | {"std_type": "log"}}, {},
        says("distribution_cfg.std_type", "log", "scalar"),
    ),
    "hetero": ({"noise": HETERO}, {}, "its outputs differ, 4 numbers in the file and 2 in the model"),
    "recurrence": (rnn("gru"), {}, says("class_name", "RNNModel", "MLPModel")),
    "no_recurrence": ({}, rnn("gru"), says("class_name", "MLPModel", "RNNModel")),
    "gates": (rnn("gru"), rnn("lstm"), says("rnn_type", "gru", "lstm")),
    "memory": (rnn("gru"), rnn("gru") | {"rnn_hidden_dim": 7}, says("rnn_hidden_dim", "5", "7")),
    "layers": (rnn("gru", 2), rnn("gru"), says("rnn_num_layers", "2", "1")),
    "two": (
        {"hidden_dims": [4], "obs_normalization": False}, {},
        "hidden_dims[0] is 4 in the file and 8 in the model, obs_normalization is False in the file and True",
    ),
}  # fmt: skip
ADVICE = {
    "width": "set hidden_dims=[8, 6]",
    "depth": "set hidden_dims=[8, 6]",
    "normaliser": "set obs_normalization=False",
    "noise": "set distribution_cfg to a GaussianDistribution of std_type=log",
    "hetero": "distribution_cfg.class_name=HeteroscedasticGaussianDistribution",
    "recurrence": "set class_name=RNNModel, rnn_type=gru, rnn_hidden_dim=5, rnn_num_layers=1",
    "no_recurrence": "set class_name=MLPModel",
    "gates": "set rnn_type=gru",
    "memory": "set rnn_hidden_dim=5",
    "layers": "set rnn_num_layers=2",
    "two": "set hidden_dims=[4], obs_normalization=False",
}


def configured(role: str, settings: dict) -> dict:
    """Return a runner's configuration in which one model has other settings than those of the tests."""
    return (
        runner_cfg(**{role: settings})
        if role != "actor"
        else ppo_cfg(10) | {"actor": ppo_cfg(10)["actor"] | settings}
    )


def check(load, misfit: str, before: torch.Tensor | None = None) -> None:
    with pytest.raises(CheckpointError) as caught:
        load()
    message = str(caught.value)
    assert "does not fit the configured model: " + MISFITS[misfit][2] in message
    assert ADVICE[misfit] in message
    assert "\n" not in message
    assert not re.search(r"mlp\.\d|rnn\.rnn|Missing key|size mismatch", message)


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_teachers_checkpoint(misfit, tmp_path):
    theirs, ours, _ = MISFITS[misfit]
    torch.save({"actor_state_dict": model("actor", **theirs).state_dict()}, tmp_path / "t.pt")
    cfg = runner_cfg(teacher=ours, teacher_checkpoint=str(tmp_path / "t.pt"))
    check(lambda: DistillationRunner(ToyEnv(), cfg, None, "cpu"), misfit)


@pytest.mark.parametrize("runner_class", [OnPolicyRunner, DistillationRunner, DaggerRunner])
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_run_that_is_loaded(misfit, runner_class, tmp_path):
    theirs, ours, _ = MISFITS[misfit]
    path = str(tmp_path / "model_0.pt")
    pupil, teacher = model("student", **theirs), model("teacher")
    optimizer = torch.optim.Adam(pupil.parameters()).state_dict()
    torch.save(
        {
            "student_state_dict": pupil.state_dict(),
            "teacher_state_dict": teacher.state_dict(),
            "optimizer_state_dict": optimizer,
            "iter": 0,
            "infos": None,
        },
        path,
    )
    runner = runner_class(ToyEnv(), configured("student", ours), None, "cpu")
    check(lambda: runner.load(path), misfit)
    # The teacher alone fits.
    runner.load(path, {"teacher": True})


@pytest.mark.parametrize(
    "misfit", [name for name in MISFITS if "recurrence" not in name and "rnn" not in str(MISFITS[name])]
)
def test_a_ppo_run_that_is_loaded(misfit, tmp_path):
    theirs, ours, _ = MISFITS[misfit]
    state = {"actor_state_dict": model("actor", **theirs).state_dict(), "iter": 0, "infos": None}
    state["critic_state_dict"] = model("critic", noise=None).state_dict()
    torch.save(state, tmp_path / "t.pt")
    runner = PpoRunner(ToyEnv(), configured("actor", ours), None, "cpu")
    check(lambda: runner.load(str(tmp_path / "t.pt"), {"actor": True, "critic": True}), misfit)


def test_other_observations_are_named_as_such(tmp_path):
    torch.save({"actor_state_dict": model("student").state_dict()}, tmp_path / "t.pt")
    cfg = runner_cfg(teacher_checkpoint=str(tmp_path / "t.pt"))
    with pytest.raises(
        CheckpointError,
        match="its inputs differ, 3 numbers in the file and 2 in the model; set obs_groups and the environment to",
    ):
        DistillationRunner(ToyEnv(), cfg, None, "cpu")


@pytest.mark.parametrize("network", [{}, {"hidden_dims": [4, 3, 2]}, rnn("gru", 3), rnn("lstm")])
@pytest.mark.parametrize("noise", [None, GAUSSIAN, GAUSSIAN | {"std_type": "log"}])
def test_the_weights_tell_what_they_were_configured_with(network, noise):
    cfg = {**MODEL, **network}
    cfg.pop("activation")
    found = architecture(model("actor", noise=noise, **network).state_dict())
    assert {name: found.get(name) for name in cfg} == cfg
    assert found["distribution_cfg.std_type"] == ("none" if noise is None else noise["std_type"])
    assert (found["inputs"], found["outputs"]) == (2, 2)


class TestWithoutNoise:
    """A teacher without a standard deviation acts all the same."""

    @pytest.fixture
    def path(self, tmp_path) -> str:
        torch.save({"actor_state_dict": model("actor", noise=None).state_dict()}, tmp_path / "t.pt")
        return str(tmp_path / "t.pt")

    @pytest.mark.parametrize("loss", ["mse", "huber"])
    def test_it_trains_where_the_loss_needs_none_and_its_run_continues(self, path, loss, tmp_path):
        def build(**options):
            return DaggerRunner(ToyEnv(), runner_cfg(loss_type=loss, **options), str(tmp_path / "run"), "cpu")

        runner = build(teacher_checkpoint=path)
        runner.learn(1)
        assert runner.alg.teacher_model.distribution is None
        again = build()
        again.load(str(tmp_path / "run" / "model_0.pt"))
        weights = again.alg.teacher_model.state_dict()
        assert all(
            torch.equal(value, weights[name]) for name, value in torch.load(path)["actor_state_dict"].items()
        )
        assert "distribution.std_param" not in weights
        again.learn(1)

    def test_it_is_refused_where_the_loss_needs_one(self, path):
        with pytest.raises(ValueError, match=r"loss_type=kl needs a Gaussian teacher, .* set loss_type=mse"):
            DistillationRunner(ToyEnv(), runner_cfg(loss_type="kl", teacher_checkpoint=path), None, "cpu")
        runner = DistillationRunner(ToyEnv(), runner_cfg(loss_type="kl"), None, "cpu")
        with pytest.raises(
            CheckpointError, match="loss_type=kl needs the teacher's standard deviation, which the"
        ):
            runner.alg.load(torch.load(path), None, True)
        assert not runner.alg.teacher_loaded

    def test_a_deterministic_teacher_takes_a_checkpoint_that_has_one(self, tmp_path):
        actor = model("actor")
        torch.save({"actor_state_dict": actor.state_dict()}, tmp_path / "t.pt")
        cfg = runner_cfg(teacher={"distribution_cfg": None}, teacher_checkpoint=str(tmp_path / "t.pt"))
        alg = DistillationRunner(ToyEnv(), cfg, None, "cpu").alg
        obs = ToyEnv().get_observations()
        with torch.no_grad():
            assert torch.equal(alg.teacher_model.eval()(obs), actor(obs))
