"""PPO on hosts whose observations, rewards and done flags are of other types and shapes."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.runners import OnPolicyRunner

from foundation.distill import PpoRunner
from foundation.evaluation import evaluate
from tests.distill.algorithm.test_hosts import MoreGroupsEnv
from tests.distill.algorithm.test_types import ConvertedEnv
from tests.support.hosts import HostEnv
from tests.support.runners import assert_equal
from tests.support.toy import CNN, MODEL, RNN, ImageEnv, ToyEnv, ppo_cfg

TYPES = [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool]
KINDS = {"mlp": {}, "gru": {**RNN, "rnn_type": "gru"}}


def cfg_of(groups: list[str], model: dict | None = None, critic: dict | None = None) -> dict:
    cfg = ppo_cfg(10, schedule="fixed")
    cfg["obs_groups"] = {"actor": groups, "critic": groups}
    cfg["actor"] |= model or {}
    cfg["critic"] |= (model or {}) if critic is None else critic
    return cfg


def trained(env, cfg: dict | None = None, runner_class=PpoRunner) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    runner = runner_class(env, cfg or cfg_of(["student"]), None, "cpu")
    runner.learn(2)
    models = {"actor": runner.alg.actor, "critic": runner.alg.critic}
    return {f"{name}.{key}": v for name, model in models.items() for key, v in model.state_dict().items()}


@pytest.mark.parametrize(("dtype", "kind"), [*((dtype, "mlp") for dtype in TYPES), (torch.float64, "gru")])
def test_observations_of_any_type_train_the_teacher_that_float32_trains(dtype, kind, caplog):
    got = trained(ConvertedEnv(ToyEnv(), dtype), cfg_of(["student"], KINDS[kind]))
    assert caplog.text.count(f"[PPO] observation group 'student' of dtype {dtype} is converted to float32") == 1
    assert_equal(got, trained(ConvertedEnv(ToyEnv(), dtype, back=True), cfg_of(["student"], KINDS[kind])))


def test_under_rsl_rls_own_runner_float64_cannot_be_trained_on():
    """Negative control: it is the conversion that makes it work."""
    with pytest.raises(RuntimeError, match="dtype"):
        trained(ConvertedEnv(ToyEnv(), torch.float64), runner_class=OnPolicyRunner)


def test_float32_trains_what_rsl_rls_own_runner_trains(caplog):
    assert_equal(trained(ToyEnv()), trained(ToyEnv(), runner_class=OnPolicyRunner))
    assert "converted" not in caplog.text


def test_complex_numbers_are_refused_by_group_and_type():
    with pytest.raises(ValueError, match=r"group 'student' has dtype torch\.complex64, which cannot"):
        trained(ConvertedEnv(ToyEnv(), torch.complex64))


def test_a_group_that_nobody_reads_may_be_of_any_type_and_is_not_spoken_of(caplog):
    env = MoreGroupsEnv(ToyEnv(), phase=torch.zeros(6, 1, dtype=torch.complex64), half=torch.zeros(6, 1).half())
    assert_equal(trained(env), trained(ToyEnv()))
    assert "converted" not in caplog.text


class FloatImages(HostEnv):
    """Returns the images as numbers from 0 to 1."""

    def _scaled(self, obs):
        return obs.set("camera", obs["camera"].float() / 255.0)

    def get_observations(self):
        return self._scaled(super().get_observations())

    def step(self, actions):
        obs, *others = super().step(actions)
        return self._scaled(obs), *others


def test_images_of_bytes_stay_bytes_and_are_read_by_actor_and_critic_as_numbers_up_to_one():
    model = {"class_name": "CNNModel", "cnn_cfg": CNN}
    cfg = cfg_of(["camera"], model)
    runner = PpoRunner(ImageEnv(), cfg_of(["camera"], model), None, "cpu")
    assert runner.alg.storage.observations["camera"].dtype == torch.uint8
    scaled = cfg_of(["camera"], model)
    for name in ("actor", "critic"):
        # Without vectors there is nothing to normalise.
        scaled[name]["obs_normalization"] = cfg[name]["obs_normalization"] = False
    assert_equal(trained(ImageEnv(), cfg), trained(FloatImages(ImageEnv()), scaled))


def test_a_critic_may_read_bytes_that_the_actor_does_not():
    cfg = ppo_cfg(10, schedule="fixed")
    cfg["obs_groups"] = {"actor": ["teacher"], "critic": ["camera"]}
    cfg["critic"] = {**MODEL, "class_name": "CNNModel", "cnn_cfg": CNN}
    assert all(value.isfinite().all() for value in trained(ImageEnv(), cfg).values())


class ShapedEnv(HostEnv):
    """Returns rewards and done flags of shape (N, 1), rewards in double precision, flags as truth values."""

    def step(self, actions):
        obs, rewards, dones, extras = super().step(actions)
        return obs, rewards.double()[:, None], dones.bool()[:, None], extras


def test_rewards_and_done_flags_may_have_a_column_and_any_type():
    assert_equal(trained(ShapedEnv(ToyEnv())), trained(ToyEnv()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.bool])
def test_the_trained_model_is_evaluated_on_the_types_that_it_was_trained_on(dtype):
    runner = PpoRunner(ConvertedEnv(ToyEnv(), dtype), cfg_of(["student"]), None, "cpu")
    runner.learn(1)
    results = [
        evaluate(
            {"one": runner.alg.actor}, lambda seed, back=back: ConvertedEnv(ToyEnv(6, seed), dtype, back), [0]
        )
        for back in (False, True)
    ]
    assert results[0].metrics == results[1].metrics
