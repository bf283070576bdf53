"""Rollouts collected in a shorter loop hold what rsl_rl's loop stores."""

from __future__ import annotations

import copy

import pytest
import torch
from rsl_rl.models import MLPModel, RNNModel
from rsl_rl.runners import DistillationRunner
from rsl_rl.utils.logger import Logger

from foundation.distill.fast.deferred_rollout import DeferredCollector
from foundation.distill.fast.inference import InferenceGru, InferenceMlp, inference_copy
from foundation.distill.runners.dagger import DaggerRunner
from tests.support.toy import GAUSSIAN, RNN, ToyEnv, runner_cfg, teacher_checkpoint

SIZES = {"rnn_type": "gru", "rnn_hidden_dim": 5, "rnn_num_layers": 1}
QUIET = {**GAUSSIAN, "init_std": 1e-6}


def model_of(activation="tanh", normalization=True, **distribution) -> MLPModel:
    torch.manual_seed(3)
    obs = ToyEnv().get_observations()
    cfg = {**GAUSSIAN, **distribution}
    model = MLPModel(obs, {"actor": ["student", "teacher"]}, "actor", 2, [16, 8], activation, normalization, cfg)
    if normalization:
        model.obs_normalizer._mean.normal_()
        model.obs_normalizer._std.uniform_(0.1, 3.0)
    return model


@pytest.mark.parametrize("normalization", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "elu", "relu", "selu", "sigmoid"])
def test_a_frozen_mlp_gives_the_models_actions_and_leaves_the_observations_alone(activation, normalization):
    model, obs = model_of(activation, normalization), ToyEnv(num_envs=50).get_observations()
    before = obs.clone()
    torch.testing.assert_close(InferenceMlp(model)(obs), model(obs), rtol=0, atol=1e-6)
    assert (obs == before).all()


@pytest.mark.parametrize("std_type", ["log", "scalar"])
def test_a_frozen_mlp_draws_the_noise_that_the_model_draws(std_type):
    model, obs = model_of(init_std=0.7, std_type=std_type), ToyEnv(num_envs=50).get_observations()
    frozen = InferenceMlp(model)
    torch.manual_seed(0)
    expected = model(obs, stochastic_output=True)
    torch.manual_seed(0)
    drawn = frozen.sample(obs)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-5)
    assert (drawn - frozen(obs)).abs().max() > 0.5


def test_a_frozen_mlp_keeps_the_weights_it_was_made_with():
    model, obs = model_of(), ToyEnv().get_observations()
    frozen, before = InferenceMlp(model), model(obs).detach().clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    torch.testing.assert_close(frozen(obs), before, rtol=0, atol=1e-6)
    assert (model(obs) - before).abs().max() > 0.1


def test_models_that_do_more_than_a_plain_mlp_are_not_frozen():
    hooked = model_of()
    hooked.register_forward_pre_hook(lambda module, args: None)

    class Own(MLPModel):
        pass

    own = model_of()
    own.__class__ = Own
    assert [inference_copy(model) is not None for model in (model_of(), hooked, own)] == [True, False, False]


def runner_pair(tmp_path, steps=10, **cfg):
    """Return rsl_rl's runner and ours with equal weights, each on an environment of its own."""
    path = tmp_path / "teacher.pt"
    torch.save(teacher_checkpoint(), path)
    runners = []
    for kind in (DistillationRunner, DaggerRunner):
        torch.manual_seed(5)
        runner = kind(ToyEnv(), runner_cfg(steps=steps, teacher_checkpoint=str(path), **copy.deepcopy(cfg)), None)
        runner.alg.train_mode()
        runners.append(runner)
    return runners


def collect_both(stock, ours, rollouts=2):
    """Collect and aggregate rollouts in rsl_rl's way and in ours, and return both histories."""
    with torch.inference_mode():
        torch.manual_seed(9)
        obs = stock.env.get_observations()
        for _ in range(rollouts):
            for _ in range(stock.alg.storage.num_transitions_per_env):
                obs, rewards, dones, extras = stock.env.step(stock.alg.act(obs))
                stock.alg.process_env_step(obs, rewards, dones, extras)
            stock.alg.dataset.append(stock.alg.phases)
            stock.alg.storage.clear()
    torch.manual_seed(9)
    collector = DeferredCollector(ours.env, ours.alg, ours.logger, "cpu", True)
    obs = ours.env.get_observations()
    deferred = []
    for _ in range(rollouts):
        deferred.append(collector.can_defer())
        obs = collector.collect(obs)
        ours.alg.dataset.append(ours.alg.phases)
        ours.alg.storage.clear()
    return stock.alg.history[:], ours.alg.history[:], deferred


CASES = {
    "student drives": ({"phase1_iterations": 0}, True),
    "teacher drives": ({"phase1_iterations": 5, "student": {"distribution_cfg": QUIET}}, True),
    "recurrent student drives": ({"phase1_iterations": 0, "student": {**RNN, "rnn_type": "gru"}}, True),
    "teacher drives before a recurrent student": (
        {"phase1_iterations": 5, "student": {**RNN, "rnn_type": "lstm"}},
        True,
    ),
    "teacher's observations are stored": ({"phase1_iterations": 0, "store_teacher_obs": True}, True),
    "both drive": ({"teacher_schedule": "constant", "teacher_fraction": 0.5}, False),
    "gate": ({"phase1_iterations": 0, "disagreement_threshold": 0.5}, False),
    "divergence": ({"phase1_iterations": 0, "loss_type": "kl"}, False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_history_of_a_collected_rollout_is_that_of_rsl_rls_loop(case, tmp_path):
    cfg, deferred = CASES[case]
    stock, ours = runner_pair(tmp_path, gradient_length=4, **cfg)
    expected, got, was_deferred = collect_both(stock, ours)
    assert was_deferred == [deferred, deferred]
    assert set(expected.keys()) == set(got.keys())
    assert expected["teacher_actions"].abs().max() > 0.1
    for name, values in expected.items():
        torch.testing.assert_close(
            got[name], values, rtol=0, atol=2e-5 if deferred else 0.0, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_statistics_of_a_rollout_are_those_of_its_steps(tmp_path):
    torch.manual_seed(0)
    _, ours = runner_pair(tmp_path)
    whole, stepwise = ours.logger, DaggerRunner(ToyEnv(), runner_cfg(), None).logger
    whole.writer = stepwise.writer = object()
    for _ in range(3):
        rewards, dones = torch.randn(25, 6), (torch.rand(25, 6) < 0.2).to(torch.uint8)
        whole.process_rollout(rewards, dones)
        for reward, done in zip(rewards, dones, strict=True):
            Logger.process_env_step(stepwise, reward, done, {})
    assert len(whole.rewbuffer) == 100 or len(whole.rewbuffer) > 50
    torch.testing.assert_close(torch.tensor(whole.rewbuffer), torch.tensor(stepwise.rewbuffer), rtol=0, atol=1e-5)
    assert list(whole.lenbuffer) == list(stepwise.lenbuffer)
    torch.testing.assert_close(whole.cur_reward_sum, stepwise.cur_reward_sum, rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.cur_episode_length, stepwise.cur_episode_length)


@pytest.mark.parametrize("group", ["student", "teacher"])
def test_nan_from_the_environment_ends_a_rollout_before_anything_is_trained(group, tmp_path):
    class Broken(ToyEnv):
        def get_observations(self):
            obs = super().get_observations()
            if len(self.actions) == 4:
                obs[group][2, 0] = torch.nan
            return obs

    _, ours = runner_pair(tmp_path, phase1_iterations=0)
    ours.env = Broken()
    weights = copy.deepcopy(ours.alg.student.state_dict())
    with pytest.raises(ValueError, match="NaN"):
        ours.learn(1)
    assert all(torch.equal(value, weights[name]) for name, value in ours.alg.student.state_dict().items())
    assert len(ours.alg.history) == 0


def test_an_infinite_reward_spoils_no_episode_but_its_own(tmp_path):
    _, ours = runner_pair(tmp_path)
    logger = ours.logger
    logger.writer = object()
    rewards, dones = torch.ones(6, 6), torch.zeros(6, 6)
    rewards[1, 0], dones[2, 0], dones[4, 0], dones[4, 1] = -torch.inf, 1, 1, 1
    logger.process_rollout(rewards, dones)
    assert list(logger.rewbuffer) == [-torch.inf, 2.0, 5.0]
    assert logger.cur_reward_sum.tolist() == [1.0, 1.0, 6.0, 6.0, 6.0, 6.0]


def test_an_interrupted_rollout_leaves_statistics_that_fit_the_environment(tmp_path):
    class Interrupting(ToyEnv):
        def step(self, actions):
            if len(self.actions) == 17:
                raise KeyboardInterrupt
            return super().step(actions)

    _, ours = runner_pair(tmp_path, steps=30, phase1_iterations=0)
    ours.env = Interrupting()
    ours.logger.writer = object()
    collector = DeferredCollector(ours.env, ours.alg, ours.logger, "cpu", True)
    assert collector.can_defer()
    with pytest.raises(KeyboardInterrupt):
        collector.collect(ours.env.get_observations())
    assert ours.logger.cur_episode_length.tolist() == ours.env.episode_length_buf.tolist() == [5] * 6
    assert list(ours.logger.lenbuffer) == [12] * 6


def test_a_done_clears_a_hidden_state_that_is_not_a_number():
    obs = ToyEnv().get_observations()
    model = RNNModel(obs, {"actor": ["student"]}, "actor", 2, [8], "elu", True, dict(GAUSSIAN), **SIZES)
    frozen = InferenceGru(model)
    frozen(obs)
    model.get_hidden_state()[0, 2] = torch.nan
    frozen.reset(torch.tensor([0, 0, 1, 0, 0, 0]))
    assert (model.get_hidden_state()[0, 2] == 0).all()
    assert (model.get_hidden_state()[0, 1] != 0).all()
