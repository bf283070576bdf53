"""The recurrent model with an encoder, and the teacher that reads its actions from an observation group."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.models import RNNModel
from rsl_rl.runners import DistillationRunner
from tensordict import TensorDict
from torch import nn

from foundation.distill import DaggerRunner, EncoderRnnModel, ObservedActions, RslRlModelCfg
from foundation.distill.checkpoint.architecture import difference
from foundation.distill.fast.inference import InferenceGru
from tests.support.runners import assert_equal, weights
from tests.support.toy import GAUSSIAN, ToyEnv, runner_cfg

GROUPS = {"student": ["student"]}


def observations(count=6, width=22, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return TensorDict({"student": torch.randn(count, width, generator=generator)}, batch_size=[count])


def encoder_model(**settings):
    torch.manual_seed(1)
    settings = {"distribution_cfg": dict(GAUSSIAN), "obs_normalization": True} | settings
    model = EncoderRnnModel(observations(), GROUPS, "student", 4, **settings)
    model.update_normalization(observations(64, seed=9))
    return model.eval()


def by_hand(model, sequence):
    """Return the actions of normaliser, encoder, torch's own recurrent network, and head in turn."""
    hidden, actions = None, []
    for obs in sequence:
        encoded = model.encoder(model.obs_normalizer(obs["student"]))
        out, hidden = model.rnn.rnn(encoded[None], hidden)
        read = torch.cat([out[0], model.obs_normalizer(obs["student"])], 1) if model.skip_connection else out[0]
        actions.append(model.mlp(read))
    return actions


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize(
    "dims",
    [
        {},
        {"encoder_dims": []},
        {"encoder_dims": [], "skip_connection": True},
        {"encoder_dims": [8, 12], "hidden_dims": [10], "activation": "tanh", "skip_connection": True},
    ],
)
def test_the_parts_run_in_the_order_encoder_memory_head(kind, dims):
    model = encoder_model(rnn_type=kind, rnn_hidden_dim=5, **dims)
    sequence = [observations(seed=seed) for seed in range(4)]
    with torch.inference_mode():
        for expected, obs in zip(by_hand(model, sequence), sequence, strict=True):
            torch.testing.assert_close(model(obs), expected)


def test_the_network_of_raptor_has_2068_weights():
    model = encoder_model()
    assert [type(layer) for layer in model.encoder] == [nn.Linear, nn.ReLU]
    assert sum(p.numel() for name, p in model.named_parameters() if not name.startswith("distribution.")) == 2068


@pytest.mark.parametrize("skip", [False, True])
def test_an_inference_copy_acts_as_the_model(skip):
    model, sequence = (
        encoder_model(encoder_dims=[9, 7], activation="tanh", skip_connection=skip),
        [observations(seed=s) for s in range(5)],
    )
    with torch.inference_mode():
        expected = [model(obs) for obs in sequence]
        model.reset(hidden_state=None)
        copy = InferenceGru(model)
        for actions, obs in zip(expected, sequence, strict=True):
            torch.testing.assert_close(copy(obs), actions, atol=1e-6, rtol=0)
        model.encoder[0].weight.data.mul_(2.0)
        copy.copy_weights(model)
        model.reset(hidden_state=None)
        changed = copy(sequence[0])
        model.reset(hidden_state=None)
        torch.testing.assert_close(changed, model(sequence[0]), atol=1e-6, rtol=0)
    assert (changed - expected[0]).abs().max() > 1e-3


def test_a_noise_that_depends_on_the_state_keeps_its_initial_deviation_without_hidden_layers():
    heteroscedastic = {"class_name": "HeteroscedasticGaussianDistribution", "init_std": 0.3, "std_type": "log"}
    model = encoder_model(distribution_cfg=heteroscedastic)
    model(observations(), stochastic_output=True)
    torch.testing.assert_close(model.output_std, torch.full((6, 4), 0.3), atol=1e-5, rtol=0)


def test_settings_of_the_encoder_belong_to_its_model():
    RslRlModelCfg(class_name="foundation.distill:EncoderRnnModel", hidden_dims=[], encoder_dims=[16])
    with pytest.raises(ValueError, match=r"encoder_dims=\[16\] has no effect on class_name=RNNModel"):
        RslRlModelCfg(class_name="RNNModel", encoder_dims=[16])
    with pytest.raises(ValueError, match="hidden_dims must be widths"):
        RslRlModelCfg(class_name="RNNModel", hidden_dims=[])
    with pytest.raises(ValueError, match="skip_connection=True has no effect on class_name=MLPModel"):
        RslRlModelCfg(class_name="MLPModel", skip_connection=True)
    assert isinstance(encoder_model(), RNNModel)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
@pytest.mark.parametrize("skip", [False, True])
def test_windows_are_computed_as_single_steps_are(kind, skip):
    model = encoder_model(rnn_type=kind, rnn_hidden_dim=5, rnn_num_layers=2, skip_connection=skip)
    sequence = [observations(seed=seed) for seed in range(4)]
    with torch.inference_mode():
        stepped = torch.stack([model(obs) for obs in sequence])
        zeros = torch.zeros(2, 6, 5)
        together = TensorDict({"student": torch.stack([obs["student"] for obs in sequence])}, batch_size=[4, 6])
        masks, state = torch.ones(4, 6, dtype=torch.bool), zeros if kind == "gru" else (zeros, zeros.clone())
        torch.testing.assert_close(model(together, masks=masks, hidden_state=state), stepped)


@pytest.mark.parametrize(
    ("own", "words"),
    [
        (
            {"skip_connection": True},
            "skip_connection is False in the file and True in the model; set skip_connection=False",
        ),
        ({"encoder_dims": [9]}, "set encoder_dims=[16]"),
        ({"encoder_dims": []}, "set encoder_dims=[16]"),
    ],
)
def test_a_file_of_another_encoder_or_without_the_skip_is_refused_with_the_setting_that_fits(own, words):
    found = difference(encoder_model().state_dict(), encoder_model(**own).state_dict())
    assert found is not None
    assert words in found
    assert "obs_groups" not in found


class ExpertEnv(ToyEnv):
    """Gives its expert's actions as a group that the student does not see."""

    def get_observations(self):
        obs = super().get_observations()
        obs["expert"] = -0.5 * obs["teacher"][:, : self.num_actions]
        return obs

    def step(self, actions):
        _, *rest = super().step(actions)
        return self.get_observations(), *rest


OBSERVED = {"class_name": "foundation.distill:ObservedActions"}


def run(runner_class, **options):
    torch.manual_seed(0)
    cfg = runner_cfg(max_buffer_size=10_000, **options)
    cfg["teacher"], cfg["obs_groups"] = dict(OBSERVED), {"student": ["student"], "teacher": ["expert"]}
    runner = runner_class(ExpertEnv(), cfg, None, "cpu")
    runner.learn(3)
    return runner


@pytest.mark.parametrize("runner_class", [DistillationRunner, DaggerRunner])
def test_labels_are_the_groups_actions(runner_class):
    runner = run(runner_class)
    rows = runner.alg.history[:]
    assert len(rows) > 0
    obs = runner.env.get_observations()
    torch.testing.assert_close(runner.alg.teacher(obs), -0.5 * obs["teacher"][:, : runner.env.num_actions])
    assert rows["teacher_actions"].abs().max() > 0.0


def test_both_runners_train_the_same_student():
    assert_equal(weights(run(DistillationRunner)), weights(run(DaggerRunner)))


def test_what_the_teacher_lacks_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r"loss_type=kl .*standard deviation|Gaussian|distribution"):
        run(DaggerRunner, loss_type="kl")
    with pytest.raises(ValueError, match="latent_matching"):
        run(DaggerRunner, latent_matching={"mlp": "mlp"})


@pytest.mark.parametrize("groups", [["teacher"], ["expert", "expert2"], ["student", "expert"]])
def test_groups_that_are_not_the_actions_are_refused(groups):
    obs = TensorDict(
        {"teacher": torch.zeros(2, 9), "student": torch.zeros(2, 3), "expert": torch.zeros(2, 4)}
        | {"expert2": torch.zeros(2, 4)},
        batch_size=[2],
    )
    with pytest.raises(
        ValueError, match=r"reads one observation group of the 4 actions, got obs_groups\['teacher'\]"
    ):
        ObservedActions(obs, {"teacher": groups}, "teacher", 4)
