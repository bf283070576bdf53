"""The same observations decide whether an export is right; a flight of its own is information."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
import torch
from rsl_rl.models import MLPModel
from tensordict import TensorDict

from foundation.export.closed_loop import PARTED, TOLERANCE, require_agreement
from foundation.export.errors import ExportError
from foundation.export.exporter import Source
from foundation.export.onnx_file import OnnxStepper, write_onnx
from tests.export.models import policy
from tests.support.toy import TimedEnv

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
STEPS = 120


class ForeignEnv(TimedEnv):
    """A point that moves by its action, in episodes of 15 steps; a subclass draws where they begin.

    The reward is 0, the best that an environment whose rewards are penalties can give.
    """

    num_actions = 4
    max_episode_length = 15

    def __init__(self, num_envs: int = 4) -> None:
        super().__init__(num_envs, seed=0)
        self.place = self.draw()

    def draw(self) -> torch.Tensor:
        return torch.rand(self.num_envs, 22)

    def get_observations(self) -> TensorDict:
        return TensorDict({"student": self.place.clone()}, batch_size=[self.num_envs])

    def move(self, actions: torch.Tensor) -> torch.Tensor:
        return self.place + 0.1 * actions.repeat(1, 6)[:, :22]

    def step(self, actions):
        done = self.advance_time()
        self.place = torch.where(done[:, None], self.draw(), self.move(actions))
        return self.get_observations(), torch.zeros(self.num_envs), done.long(), {"time_outs": done}


class NumpyEnv(ForeignEnv):
    def draw(self):
        return torch.as_tensor(np.random.random((self.num_envs, 22)), dtype=torch.float32)  # noqa: NPY002


class PythonEnv(ForeignEnv):
    def draw(self):
        return torch.tensor([[random.random() for _ in range(22)] for _ in range(self.num_envs)])


class OwnEnv(ForeignEnv):
    """Draws from a generator that nobody can repeat."""

    fresh = np.random.default_rng()

    def draw(self):
        return torch.as_tensor(self.fresh.random((self.num_envs, 22)), dtype=torch.float32)


class UnrepeatableResets(OwnEnv):
    """Begins alike, and draws every later episode anew."""

    def draw(self):
        return super().draw() if hasattr(self, "place") else torch.full((self.num_envs, 22), 0.5)


class ChaoticEnv(ForeignEnv):
    """The logistic map x -> 3.99 x (1 - x), whose differences double about every step, pushed by the actions."""

    max_episode_length = 10_000

    def move(self, actions):
        pushed = (self.place + 0.01 * actions.repeat(1, 6)[:, :22]).clamp(0.0, 1.0)
        return 3.99 * pushed * (1.0 - pushed)


class ShiftedStepper(OnnxStepper):
    """An export whose rounding is known: every action is larger by a millionth."""

    def __call__(self, obs, *images):
        return super().__call__(obs, *images) * np.float32(1.0 + 1e-6)


def written(tmp_path, kind: str = "gru", model: MLPModel | None = None):
    """Return a policy and the path of its ONNX file."""
    model = model or policy(kind)
    write_onnx(model, tmp_path / "policy.onnx")
    return model, tmp_path / "policy.onnx"


def compare(model, path, make_env, stepper=ShiftedStepper, **options):
    return require_agreement(model, partial(stepper, path), make_env, steps=STEPS, **options)


@pytest.mark.parametrize("make_env", [ForeignEnv, NumpyEnv, PythonEnv])
def test_an_environment_that_draws_from_a_global_generator_repeats_itself(make_env, tmp_path):
    model, path = written(tmp_path)
    # Without its generator put back, a second environment begins elsewhere.
    assert not torch.equal(make_env().place, make_env().place)
    torch.manual_seed(3)
    agreement = compare(model, path, make_env)
    assert agreement.same <= TOLERANCE
    assert agreement.own is not None
    assert agreement.own <= 10 * TOLERANCE
    assert "in a flight of its own by" in str(agreement)


def test_the_global_generators_are_where_they_were_after_a_comparison_that_fails_or_passes(tmp_path):
    def draws() -> list[float]:
        return [torch.rand(1).item(), np.random.random(), random.random()]  # noqa: NPY002

    model, path = written(tmp_path)
    for tolerance in (TOLERANCE, 1e-12):
        torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
        expected = draws()
        torch.manual_seed(5), np.random.seed(5), random.seed(5)  # noqa: NPY002
        if tolerance == TOLERANCE:
            compare(model, path, ForeignEnv)
        else:
            with pytest.raises(ExportError):
                compare(model, path, ForeignEnv, tolerance=tolerance)
        assert draws() == expected


def test_environments_that_begin_differently_are_named_and_the_same_observations_still_decide(tmp_path):
    model, path = written(tmp_path)
    agreement = compare(model, path, OwnEnv)
    assert agreement.own is None
    assert "make_env returned environments that begin differently" in str(agreement)
    model.mlp[-1].bias.data[0] += 0.01
    with pytest.raises(ExportError, match="does not do what the policy does: on the same observations"):
        compare(model, path, OwnEnv)


@pytest.mark.parametrize("make_env", [ChaoticEnv, UnrepeatableResets])
def test_flights_that_part_are_told_of_and_are_no_error(make_env, tmp_path):
    model, path = written(tmp_path)
    torch.manual_seed(0)
    agreement = compare(model, path, make_env)
    assert agreement.same <= TOLERANCE
    assert agreement.own > 100 * PARTED
    assert 0 < agreement.parted < STEPS
    assert f"parts from the policy at step {agreement.parted}" in str(agreement)


@pytest.mark.parametrize("make_env", [ForeignEnv, ChaoticEnv])
@pytest.mark.parametrize("kind", ["mlp", "gru", "lstm"])
def test_a_weight_that_changes_after_writing_is_noticed_in_every_environment(make_env, kind, tmp_path):
    model, path = written(tmp_path, kind)
    compare(model, path, make_env)
    model.mlp[0].weight.data[0] *= 1.02
    with pytest.raises(ExportError, match="does not do what the policy does: on the same observations"):
        compare(model, path, make_env)


def test_a_recurrent_weight_that_changes_is_noticed_only_once_there_is_a_state(tmp_path):
    model, path = written(tmp_path)
    model.rnn.rnn.weight_hh_l0.data *= 1.5
    with pytest.raises(ExportError, match=r"differs at step [1-9]"):
        compare(model, path, ForeignEnv)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])
def test_the_tolerance_is_a_share_of_the_actions_scale(size, tmp_path):
    model = policy("mlp")
    model.mlp[-1].weight.data *= size
    model.mlp[-1].bias.data *= size
    model, path = written(tmp_path, model=model)
    compare(model, path, ForeignEnv)
    scale = model(ForeignEnv().get_observations()).square().mean().sqrt().item()
    model.mlp[-1].bias.data += 2e-3 * scale
    with pytest.raises(ExportError, match=r"more than 0\.0001"):
        compare(model, path, ForeignEnv)
    assert compare(model, path, ForeignEnv, tolerance=0.02).tolerance == 0.02


def test_an_action_that_is_small_beside_another_one_is_compared_on_its_own_scale(tmp_path):
    model = policy("mlp")
    model.mlp[-1].weight.data[0] *= 100.0
    model, path = written(tmp_path, model=model)
    # 1 % of the second action is 1e-4 of the first one.
    model.mlp[-1].weight.data[1] *= 1.01
    model.mlp[-1].bias.data[1] *= 1.01
    with pytest.raises(ExportError, match="does not do what the policy does"):
        compare(model, path, ForeignEnv)


@pytest.mark.parametrize("tolerance", [0.0, -1e-4, 1.0, 5.0, float("nan"), float("inf")])
def test_a_tolerance_that_is_no_share_is_refused_before_anything_is_made(tolerance):
    def never():
        pytest.fail("an environment was made")

    with pytest.raises(ExportError, match="give a share of the actions' scale above 0 and below 1"):
        Source(policy(), None, never, tolerance=tolerance)
    with pytest.raises(ExportError, match="cannot tell a wrong export from a right one"):
        require_agreement(policy(), never, never, tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.int64, torch.uint8, torch.bool])
def test_an_environment_of_other_types_and_shapes_is_read_as_in_training(dtype, tmp_path):
    class Typed(ForeignEnv):
        def get_observations(self):
            obs = super().get_observations()
            return TensorDict({"student": obs["student"].to(dtype)}, batch_size=obs.batch_size)

        def step(self, actions):
            obs, reward, dones, extras = super().step(actions)
            # One column, as some hosts have it; flags of every type.
            return obs, reward, dones.bool()[:, None], {"time_outs": extras["time_outs"][:, None]}

    class Plain(Typed):
        """The same in rsl_rl's own types."""

        def get_observations(self):
            obs = super().get_observations()
            return TensorDict({"student": obs["student"].float()}, batch_size=obs.batch_size)

        def step(self, actions):
            obs, reward, dones, extras = super().step(actions)
            return obs, reward, dones[:, 0].long(), {"time_outs": extras["time_outs"][:, 0]}

    model, path = written(tmp_path)
    torch.manual_seed(1)
    found = compare(model, path, Typed)
    assert (found.terminated, found.parted) == (0, None)
    torch.manual_seed(1)
    assert found == compare(model, path, Plain)


def test_a_policy_whose_own_actions_are_not_finite_is_reported_as_that(tmp_path):
    model, path = written(tmp_path, "mlp")
    model.mlp[-1].bias.data[0] = float("nan")
    with pytest.raises(ExportError, match="an action of the policy itself is not finite at step 0"):
        compare(model, path, ForeignEnv)
