"""Misspelt keys of a configuration are refused by the nearest known one, before anything is built."""

from __future__ import annotations

import copy

import pytest
import torch
from rsl_rl.models import MLPModel
from rsl_rl.runners import DistillationRunner, OnPolicyRunner

from foundation.distill import DaggerRunner, PpoRunner, RslRlDistillationRunnerCfg, RslRlOnPolicyRunnerCfg
from foundation.distill.runner_keys import RUNNER_KEYS
from tests.support.runners import make
from tests.support.toy import GAUSSIAN, ToyEnv, ppo_cfg, runner_cfg

RUNNERS = [OnPolicyRunner, DistillationRunner, DaggerRunner]
SLIPS = [
    (
        {"save_intervall": 5},
        "runner's configuration has an unknown key 'save_intervall'; did you mean 'save_interval'",
    ),
    ({"num_step_per_env": 5}, "unknown key 'num_step_per_env'; did you mean 'num_steps_per_env'"),
    ({"keep_lst": 5}, "unknown key 'keep_lst'; did you mean 'keep_last'"),
    ({"obs_group": {}}, "unknown key 'obs_group'; did you mean 'obs_groups'"),
]
MODEL_SLIPS = [
    ({"hiden_dims": [4]}, "{role} has an unknown key 'hiden_dims': MLPModel takes .*; did you mean 'hidden_dims'"),
    ({"hidden_dimensions": [4]}, "{role} has an unknown key 'hidden_dimensions'.* did you mean 'hidden_dims'"),
    (
        {"rnn_type": "gru"},
        "{role} has an unknown key 'rnn_type': MLPModel takes hidden_dims, activation,",
    ),
    (
        {"distribution_cfg": GAUSSIAN | {"init_sdt": 1.0}},
        "{role}.distribution_cfg has an unknown key 'init_sdt': GaussianDistribution .* did you mean 'init_std'",
    ),
]


def refuses(runner_class, cfg: dict, message: str) -> None:
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=message) as caught:
        runner_class(ToyEnv(), cfg, None, "cpu")
    assert "\n" not in str(caught.value)
    assert torch.equal(torch.get_rng_state(), before)  # no network was built


@pytest.mark.parametrize(("slip", "message"), SLIPS)
@pytest.mark.parametrize("runner_class", [*RUNNERS, PpoRunner])
def test_of_a_runner(runner_class, slip, message):
    refuses(runner_class, (ppo_cfg(10) if runner_class is PpoRunner else runner_cfg()) | slip, message)


@pytest.mark.parametrize(("slip", "message"), MODEL_SLIPS)
@pytest.mark.parametrize("role", ["student", "teacher", "actor", "critic"])
def test_of_a_model(role, slip, message):
    cfg = ppo_cfg(10) if role in ("actor", "critic") else runner_cfg()
    cfg[role] |= copy.deepcopy(slip)
    for runner_class in RUNNERS if role in ("student", "teacher") else [PpoRunner]:
        refuses(runner_class, copy.deepcopy(cfg), message.format(role=role))


@pytest.mark.parametrize("runner_class", RUNNERS)
def test_of_the_algorithm(runner_class):
    with pytest.raises(TypeError, match="unknown option 'samplng'; did you mean 'sampling'"):
        make(runner=runner_class, samplng="uniform")


def test_a_model_without_a_class_is_named():
    cfg = runner_cfg()
    del cfg["teacher"]["class_name"]
    refuses(DistillationRunner, cfg, "teacher has no class_name, only hidden_dims, .*; set it")


def test_a_key_of_the_host_costs_one_warning(caplog):
    DistillationRunner(ToyEnv(), runner_cfg() | {"mlflow_uri": "x", "wandb_tags": ["a"]}, None, "cpu")
    assert caplog.text.count("a key that nothing here reads: 'mlflow_uri'") == 1
    assert "wandb_tags" not in caplog.text


def test_keys_of_other_classes_that_are_none_have_no_effect():
    """Hosts such as mjlab write the settings of every class, None where there are none."""
    cfg = runner_cfg()
    for role in ("student", "teacher"):
        cfg[role] |= {"cnn_cfg": None, "rnn_type": None, "rnn_hidden_dim": None}
    alg = DistillationRunner(ToyEnv(), cfg, None, "cpu").alg
    assert type(alg.student_model) is MLPModel


class AnyKeys(MLPModel):
    """A model that takes any keys."""

    def __init__(self, *args, mine=0, **kwargs):
        super().__init__(*args, **kwargs)
        self.mine = mine


def test_a_class_of_ones_own_that_takes_any_keys_checks_them_itself():
    cfg = runner_cfg(student={"class_name": f"{__name__}:AnyKeys", "mine": 3})
    assert DistillationRunner(ToyEnv(), cfg, None, "cpu").alg.student_model.mine == 3


@pytest.mark.parametrize("cfg_class", [RslRlDistillationRunnerCfg, RslRlOnPolicyRunnerCfg])
def test_every_key_of_our_own_configurations_is_known(cfg_class):
    assert cfg_class().to_dict().keys() <= RUNNER_KEYS
