"""Observations of any type of number train, and are acted on, as float32."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.fast.inference import InferenceGru, InferenceMlp
from tests.support.hosts import HostEnv
from tests.support.runners import assert_equal, make, student, weights
from tests.support.toy import ToyEnv, ppo_cfg

RUNNERS = [DistillationRunner, DaggerRunner]


class ConvertedEnv(HostEnv):
    """Returns a group's numbers in another type, after rounding them to what that type can hold."""

    def __init__(self, env, dtype, back: bool = False) -> None:
        super().__init__(env)
        self._dtype, self._back = dtype, back

    def _converted(self, obs):
        converted = (10.0 * obs["student"]).clamp(0.0, 200.0).to(self._dtype)
        return obs.set("student", converted.float() if self._back else converted)

    def get_observations(self):
        return self._converted(super().get_observations())

    def step(self, actions):
        obs, *others = super().step(actions)
        return self._converted(obs), *others


def train(env, runner_class=DaggerRunner, **options):
    runner = make(env, runner=runner_class, phase1_iterations=1, **options)
    torch.manual_seed(1)
    runner.learn(3)
    return runner


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize("use_dagger", [True, False])
@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.uint8, torch.bool],
)
def test_numbers_of_any_type_train_as_float32(dtype, use_dagger, runner_class, caplog):
    got = train(ConvertedEnv(ToyEnv(), dtype), runner_class, use_dagger=use_dagger)
    assert caplog.text.count(f"observation group 'student' of dtype {dtype} is converted to float32") == 1
    expected = train(ConvertedEnv(ToyEnv(), dtype, back=True), runner_class, use_dagger=use_dagger)
    assert_equal(weights(got), weights(expected))


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize("kind", [None, "gru"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.uint8, torch.bool])
def test_the_inference_policy_reads_them_as_float32(dtype, kind, runner_class):
    options = {} if kind is None else {"student": student(kind)}
    env = ConvertedEnv(ToyEnv(), dtype)
    runner = make(env, runner=runner_class, **options)
    obs, policy = env.get_observations(), runner.get_inference_policy()
    as_float32 = obs.clone().set("student", obs["student"].float())
    actions = policy(obs)
    policy.reset()
    assert torch.equal(actions, policy(as_float32))
    assert obs["student"].dtype == dtype
    # The conversion costs no fast path; another hook does.
    fast = InferenceMlp if kind is None else InferenceGru
    assert fast.supports(policy)
    policy.register_forward_pre_hook(lambda *_: None)
    assert not fast.supports(policy)


def test_the_inference_policy_of_ppo_reads_them_as_float32():
    env = ConvertedEnv(ToyEnv(), torch.float64)
    policy = PpoRunner(env, ppo_cfg(10), None, "cpu").get_inference_policy()
    obs = env.get_observations()
    assert torch.equal(policy(obs), policy(obs.float()))


def test_complex_numbers_are_refused_by_group_and_type():
    with pytest.raises(ValueError, match=r"group 'student' has dtype torch\.complex64, which cannot"):
        make(ConvertedEnv(ToyEnv(), torch.complex64))
