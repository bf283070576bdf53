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
    ({"class_name": "os.path:join"}, "{role}.class_name=os.path:join is a function, and a class is needed"),
    ({"class_name": "os.path:Nope"}, "{role}.class_name=os.path:Nope cannot be imported: .*'Nope'; name a class"),
    ({"class_name": "nowhere:Model"}, "{role}.class_name=nowhere:Model cannot be imported: No module named"),
    ({"class_name": "MLPModle"}, "{role}.class_name=MLPModle cannot be imported: Could not resolve"),
    (
        {"distribution_cfg": {"class_name": "Gausian"}},
        "{role}.distribution_cfg.class_name=Gausian cannot be imported: Could not resolve",
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


VALUES = [
    ({"num_steps_per_env": 0}, "num_steps_per_env must be a whole number of at least 1, got 0"),
    ({"num_steps_per_env": "24"}, "num_steps_per_env must be a whole number of at least 1, got '24'"),
    ({"num_steps_per_env": 2.0}, "num_steps_per_env must be a whole number of at least 1, got 2.0"),
    ({"save_interval": 0}, "save_interval must be a whole number of at least 1, got 0"),
    ({"logger": "wandbb"}, "logger must be one of tensorboard, wandb, neptune, .* got 'wandbb'"),
    ({"obs_groups": ["student"]}, r"obs_groups must name the observation groups of .*, got \['student'\]"),
]


@pytest.mark.parametrize(("value", "message"), VALUES)
@pytest.mark.parametrize("runner_class", [*RUNNERS, PpoRunner])
def test_values_that_cannot_work_are_refused_too(runner_class, value, message):
    refuses(runner_class, (ppo_cfg(10) if runner_class is PpoRunner else runner_cfg()) | value, message)


@pytest.mark.parametrize("key", ["num_steps_per_env", "obs_groups"])
def test_keys_that_lack_are_named(key):
    for runner_class, cfg in ((DaggerRunner, runner_cfg()), (PpoRunner, ppo_cfg(10))):
        del cfg[key]
        refuses(runner_class, cfg, f"the runner's configuration lacks {key};")


@pytest.mark.parametrize("role", ["student", "teacher", "actor", "critic"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "{role} must be a configuration with class_name, got None"),
        ({"hidden_dims": []}, r"{role}.hidden_dims must be a list of layer sizes, such as \[64, 64\], got \[\]"),
        ({"hidden_dims": 64}, "{role}.hidden_dims must be a list of layer sizes, .* got 64"),
        ({"hidden_dims": [64, 0]}, r"{role}.hidden_dims must be a list of layer sizes, .* got \[64, 0\]"),
    ],
)
def test_values_of_a_model_that_cannot_work_are_refused(role, value, message):
    cfg = ppo_cfg(10) if role in ("actor", "critic") else runner_cfg()
    cfg[role] = value if value is None else cfg[role] | value
    for runner_class in RUNNERS if role in ("student", "teacher") else [PpoRunner]:
        refuses(runner_class, copy.deepcopy(cfg), message.format(role=role))


@pytest.mark.parametrize(
    ("obs_groups", "message"),
    [
        ({"student": "student", "teacher": ["teacher"]}, r"obs_groups\['student'\] must be a list of names"),
        # rsl_rl would give the student the group of its name, with a warning only.
        ({"studnet": ["teacher"], "teacher": ["teacher"]}, "no groups for 'student', but for 'studnet'"),
        ({"policy": ["student"], "teacher": ["teacher"]}, "no groups for 'student', but for 'policy'"),
    ],
)
@pytest.mark.parametrize("runner_class", RUNNERS)
def test_groups_that_nobody_reads_are_refused_where_a_models_are_missing(runner_class, obs_groups, message):
    refuses(runner_class, runner_cfg() | {"obs_groups": obs_groups}, message)


def test_further_groups_of_a_host_are_its_own():
    cfg = runner_cfg()
    cfg["obs_groups"]["mine"] = ["student"]
    DistillationRunner(ToyEnv(), cfg, None, "cpu")


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("init_noise_std", 1.0, "since rsl_rl 5 it is init_std of distribution_cfg"),
        ("noise_std_type", "log", "since rsl_rl 5 it is std_type of distribution_cfg"),
        ("student_hidden_dims", [8], "since rsl_rl 4 it is hidden_dims"),
        ("rnn_hidden_dim", 8, "it needs class_name=RNNModel"),
        ("cnn_cfg", {}, "it needs class_name=CNNModel"),
        ("skip_connection", True, "it needs class_name=foundation.distill:EncoderRnnModel"),
        ("colour", "red", "leave it out"),
    ],
)
def test_keys_of_models_of_other_versions_and_classes_say_what_to_do(key, value, hint):
    cfg = runner_cfg()
    cfg["student"][key] = value
    refuses(DaggerRunner, cfg, f"student has an unknown key '{key}': MLPModel takes .*; {hint}")


@pytest.mark.parametrize(("wanted", "warnings"), [(True, 0), (False, 1), (None, 0)])
def test_a_normalisation_of_rsl_rl_3_beside_the_models_costs_a_warning_where_it_differs(wanted, warnings, caplog):
    DistillationRunner(ToyEnv(), runner_cfg() | {"empirical_normalization": wanted}, None, "cpu")
    assert caplog.text.count("it is now obs_normalization of student and teacher") == warnings


def test_what_isaac_lab_writes_of_settings_that_nobody_has_set_is_taken_as_unset(caplog):
    unset = {"policy": {}, "empirical_normalization": {}, "init_at_random_ep_len": True}
    DistillationRunner(ToyEnv(), runner_cfg() | unset, None, "cpu")
    assert "[DAgger] the runner's configuration" not in caplog.text
    assert "empirical_normalization" not in caplog.text
    # A policy of rsl_rl 3 beside the models is still refused.
    refuses(DistillationRunner, runner_cfg() | {"policy": {"class_name": "StudentTeacher"}}, "is of rsl_rl 3")


def test_configurations_for_other_runners_are_refused():
    with pytest.raises(ValueError, match=r"algorithm\.class_name is PPO, but DaggerRunner trains foundation"):
        DaggerRunner(ToyEnv(), ppo_cfg(10), None, "cpu")
    with pytest.raises(ValueError, match=r"algorithm\.class_name is Distillation, but DaggerRunner trains"):
        DaggerRunner(ToyEnv(), runner_cfg("Distillation", gradient_length=5), None, "cpu")
    refuses(PpoRunner, runner_cfg(), "the runner's configuration lacks actor, critic; actor and critic configure")
    old = {"policy": {"class_name": "ActorCritic"}, "empirical_normalization": True, "num_steps_per_env": 5}
    refuses(PpoRunner, old, "is of rsl_rl 3: policy is now actor and critic, .*; empirical_normalization is now")


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
