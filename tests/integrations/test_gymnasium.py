"""Vector environments of gymnasium as those of rsl_rl, against gymnasium itself; and the quadrotor there."""

from __future__ import annotations

from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

import foundation
from foundation.distill import DaggerRunner
from foundation.integrations.gymnasium import GymnasiumVecEnv
from tests.support.toy import runner_cfg

PENDULUM = "InvertedDoublePendulum-v5"
POINT_CTRL = "Foundation/PointCtrl-v0"


class Counter(gymnasium.Env):
    """Counts its steps from a random number; ends at ``end`` and is not cut off."""

    def __init__(self, end: int = 5, obs: spaces.Space | None = None, action: spaces.Space | None = None) -> None:
        self.end = end
        self.observation_space = obs or spaces.Box(-np.inf, np.inf, (2,), np.float64)
        self.action_space = action or spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, 10.0]), dtype=np.float64)
        self.applied: list[np.ndarray] = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.first = 0, self.np_random.integers(1000)
        return self._observation(), {}

    def step(self, action):
        self.applied.append(np.array(action))
        self.steps += 1
        return self._observation(), float(self.steps), self.steps >= self.end, False, {}

    def _observation(self):
        if type(self.observation_space) is spaces.Box and self.observation_space.shape == (2,):
            return np.array([self.first, self.steps], dtype=self.observation_space.dtype)
        return self.observation_space.sample()


class Restorable(Counter):
    def state_dict(self):
        return {"first": int(self.first), "steps": self.steps}

    def load_state_dict(self, state):
        self.first, self.steps = state["first"], state["steps"]


def counters(num=3, kind=SyncVectorEnv, mode=AutoresetMode.SAME_STEP, env=Counter, **settings):
    return kind([partial(env, **settings) for _ in range(num)], autoreset_mode=mode)


def wrapped(num=3, max_episode_length=100, mode=AutoresetMode.SAME_STEP, **settings):
    return GymnasiumVecEnv(counters(num, mode=mode, **settings), max_episode_length=max_episode_length)


def test_a_pendulum_steps_as_gymnasium_steps_it_by_itself():
    ours = GymnasiumVecEnv(PENDULUM, 4, seed=3)
    theirs = gymnasium.make_vec(
        PENDULUM, 4, vectorization_mode="sync", vector_kwargs={"autoreset_mode": "SameStep"}
    )
    obs, _ = theirs.reset(seed=3)
    assert torch.equal(ours.get_observations()["policy"], torch.as_tensor(obs, dtype=torch.float32))
    generator, ends = torch.Generator().manual_seed(0), 0
    for _ in range(60):
        actions = 2.0 * torch.rand(4, 1, generator=generator) - 1.0
        mine, rewards, dones, extras = ours.step(actions)
        obs, reward, terminated, truncated, _ = theirs.step(actions.numpy())
        assert torch.equal(mine["policy"], torch.as_tensor(obs, dtype=torch.float32))
        assert torch.equal(rewards, torch.as_tensor(reward, dtype=torch.float32))
        assert dones.tolist() == (terminated | truncated).tolist()
        assert extras["time_outs"].tolist() == truncated.tolist()
        ends += int(dones.sum())
    assert ends > 4


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_an_episode_begins_in_the_step_that_ends_the_one_before_in_every_autoreset_mode(mode, kind):
    env = GymnasiumVecEnv(counters(2, kind, mode, end=3), max_episode_length=100)
    steps, dones = [], []
    for _ in range(7):
        obs, _, done, extras = env.step(torch.zeros(2, 2))
        steps.append(obs["policy"][0, 1].item())
        dones.append(done[0].item())
        assert not extras["time_outs"].any()
    env.close()
    assert steps == [1, 2, 0, 1, 2, 0, 1]
    assert dones == [0, 0, 1, 0, 0, 1, 0]


def test_a_vector_environment_that_begins_episodes_a_step_late_is_refused():
    class Late(VectorEnv):
        metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012
        num_envs = 2
        single_action_space = spaces.Box(-1.0, 1.0, (1,))

    with pytest.raises(ValueError, match=r"Late begins an episode in the step after .* AutoresetMode\.SAME_STEP"):
        GymnasiumVecEnv(Late(), max_episode_length=5)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_an_episode_is_cut_off_at_its_longest_and_counts_as_a_time_out(mode):
    env = wrapped(2, 4, mode, end=100)
    first = env.get_observations()["policy"][:, 0].clone()
    ends = [env.step(torch.zeros(2, 2)) for _ in range(8)]
    assert [step[2].tolist() for step in ends] == [[0, 0]] * 3 + [[1, 1]] + [[0, 0]] * 3 + [[1, 1]]
    assert [step[3]["time_outs"].tolist() for step in ends[3::4]] == [[True, True]] * 2
    assert not torch.equal(ends[3][0]["policy"][:, 0], first)
    assert ends[3][0]["policy"][:, 1].tolist() == [0, 0]


def test_an_environment_stepped_in_inference_mode_resets_outside_of_it():
    env = wrapped(2)
    with torch.inference_mode():
        env.step(torch.zeros(2, 2))
    obs, _ = env.reset(seed=4)
    env.step(torch.zeros(2, 2))
    assert torch.equal(obs["policy"], wrapped(2).reset(seed=4)[0]["policy"])


def test_an_end_in_the_last_step_is_no_time_out():
    env = wrapped(1, 4, end=4)
    done, extras = [env.step(torch.zeros(1, 2)) for _ in range(4)][-1][2:]
    assert done.item() == 1
    assert not extras["time_outs"].item()


def test_lengths_drawn_by_rsl_rl_take_effect():
    env = wrapped(3, 10, end=100)
    env.episode_length_buf = torch.tensor([9, 5, 0])
    dones = torch.stack([env.step(torch.zeros(3, 2))[2] for _ in range(10)])
    assert dones.argmax(0).tolist() == [0, 4, 9]


def test_actions_cover_the_space_and_are_clipped_to_it():
    env = wrapped(1)
    for action in ([-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [-9.0, 9.0]):
        env.step(torch.tensor([action]))
    applied = np.stack(env.unwrapped.envs[0].applied)
    assert applied.tolist() == [[-2, 0], [2, 10], [0, 5], [-2, 10]]
    assert applied.dtype == np.float64
    assert env.single_action_space == spaces.Box(-1.0, 1.0, (2,))


def test_unscaled_actions_have_the_spaces_units_and_limitless_ones_are_passed_on():
    space = spaces.Box(np.array([-2.0, -np.inf]), np.array([2.0, np.inf]), dtype=np.float64)
    for scaled, expected in ((False, [1.0, 50.0]), (True, [2.0, 50.0])):
        env = GymnasiumVecEnv(counters(1, action=space), max_episode_length=9, scale_actions=scaled)
        env.step(torch.tensor([[1.0, 50.0]]))
        assert env.unwrapped.envs[0].applied[0].tolist() == expected


def test_groups_are_the_columns_that_they_name():
    env = GymnasiumVecEnv(
        PENDULUM, 2, {"student": range(5), "teacher": slice(None), "last": np.array([-1, 0])}, seed=1
    )
    obs = env.get_observations()
    assert torch.equal(obs["student"], obs["teacher"][:, :5])
    assert torch.equal(obs["last"], obs["teacher"][:, [-1, 0]])
    assert {value.dtype for value in obs.values()} == {torch.float32}


def test_entries_of_a_dictionary_are_groups_and_can_be_joined():
    space = spaces.Dict({"joints": spaces.Box(-1, 1, (4,)), "camera": spaces.Box(0, 255, (8, 6, 3), np.uint8)})
    envs = counters(2, obs=space)
    by_default = GymnasiumVecEnv(envs, max_episode_length=9).get_observations()
    assert {name: tuple(value.shape) for name, value in by_default.items()} == {
        "joints": (2, 4),
        "camera": (2, 3, 8, 6),
    }
    groups = {"student": {"joints": [0, 2]}, "teacher": "joints", "both": ["joints"]}
    env = GymnasiumVecEnv(envs, groups=groups, max_episode_length=9)
    obs = env.get_observations()
    assert torch.equal(obs["student"], obs["teacher"][:, [0, 2]])
    assert torch.equal(obs["both"], obs["teacher"])


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((8, 6, 3), (3, 8, 6)), ((3, 8, 6), (3, 8, 6)), ((8, 6), (1, 8, 6)), ((4, 84, 84), (4, 84, 84))],
)
def test_images_stay_bytes_and_have_their_channels_first(shape, expected):
    env = GymnasiumVecEnv(counters(2, obs=spaces.Box(0, 255, shape, np.uint8)), max_episode_length=9)
    image = env.get_observations()["policy"]
    assert image.dtype == torch.uint8
    assert image.shape == (2, *expected)
    original = torch.as_tensor(env._obs[0])
    same = original.permute(2, 0, 1) if shape == (8, 6, 3) else original.reshape(expected)
    assert torch.equal(image[0], same)


def test_observations_stay_what_they_were_when_the_environment_goes_on():
    env = GymnasiumVecEnv(
        SyncVectorEnv([Counter], copy=False, autoreset_mode=AutoresetMode.SAME_STEP), max_episode_length=9
    )
    before = env.get_observations()
    kept = before["policy"].clone()
    env.step(torch.zeros(1, 2))
    assert torch.equal(before["policy"], kept)


def test_a_restored_environment_goes_on_as_the_saved_one():
    env = GymnasiumVecEnv(counters(3, env=Restorable, end=4), max_episode_length=3)
    env.step(torch.zeros(3, 2))
    state = env.state_dict()
    following = [env.step(torch.zeros(3, 2)) for _ in range(8)]
    again = GymnasiumVecEnv(counters(3, env=Restorable, end=4), seed=9, max_episode_length=3)
    assert not torch.equal(again.get_observations()["policy"][:, 0], state["obs"][""][:, 0].float())
    again.load_state_dict(state)
    for obs, reward, done, _ in following:
        mine = again.step(torch.zeros(3, 2))
        assert torch.equal(mine[0]["policy"], obs["policy"])
        assert torch.equal(mine[1], reward)
        assert torch.equal(mine[2], done)


def test_environments_without_state_or_with_a_wrapper_that_has_one_give_none():
    assert wrapped().state_dict() is None
    envs = SyncVectorEnv([lambda: gymnasium.wrappers.FrameStackObservation(Restorable(), 2)])
    assert GymnasiumVecEnv(envs, max_episode_length=9).state_dict() is None
    envs = gymnasium.wrappers.vector.NormalizeObservation(counters(mode=AutoresetMode.NEXT_STEP, env=Restorable))
    assert GymnasiumVecEnv(envs, max_episode_length=9).state_dict() is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GymnasiumVecEnv(PENDULUM), "num_envs must be at least 1, got None"),
        (lambda: GymnasiumVecEnv(PENDULUM, 0), "num_envs must be at least 1, got 0"),
        (lambda: GymnasiumVecEnv(counters(), 5, max_episode_length=9), "num_envs cannot change .* of 3 env"),
        (lambda: GymnasiumVecEnv(counters(), end=4), "end cannot change a vector environment that exists"),
        (lambda: GymnasiumVecEnv(counters()), "without max_episode_steps; give max_episode_length"),
        (lambda: wrapped(max_episode_length=-1), "max_episode_length must be at least 1, got -1"),
        (lambda: wrapped(action=spaces.Discrete(3)), r"action space is Discrete\(3\); .* Box of floats"),
        (lambda: wrapped(obs=spaces.Discrete(3)), r"observation space is Discrete\(3\).*FlattenObservation"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, {"student": [9]}), "'student' has index 9, but there are 9 numbers"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, {"student": np.arange(9) < 5}), "'student' is a mask; give the ind"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, {"student": []}), "'student' is empty"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, {}), "groups is empty"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, {"student": "joints"}), "'student' names an entry"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, {"student": [0.5]}), r"'student' has index 0\.5; indices are whole"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, {"student": 1}), r"must be indices, .* got 1; write \[1\]"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, ["student"]), r"must be selections by group, .*\['student'\]"),
        (lambda: GymnasiumVecEnv(POINT_CTRL, 1, {"a": {"student": 1}}), "'a' must be indices, .* got 1"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, max_episode_length=5.5), "_length must be a whole .* 5.5"),
        (lambda: wrapped(max_episode_length=5.5), "max_episode_length must be a whole number, got 5.5"),
        (lambda: GymnasiumVecEnv(PENDULUM, 2.0), "num_envs must be a whole number, got 2.0"),
        (lambda: GymnasiumVecEnv(gymnasium.make("Pendulum-v1")), "Pendulum-v1 is a single environment; give its"),
        (lambda: GymnasiumVecEnv(Counter), "env must be a registered name or a vector environment of gymnasium"),
        (lambda: GymnasiumVecEnv("CartPole-v1", 2), r"action space is Discrete\(2\); .* Box of floats"),
        (lambda: GymnasiumVecEnv(PENDULUM, 1, device="cuda:99"), "device=cuda:99 cannot be used on this machine"),
        (lambda: wrapped(3).step(torch.zeros(3, 1)), r"of shape \(3, 2\), got Tensor of .*\(3, 1\)"),
        (lambda: wrapped(3).step(np.zeros((3, 2))), r"must be a tensor of shape \(3, 2\), got ndarray of shape"),
        (lambda: GymnasiumVecEnv(POINT_CTRL, 1, {"a": "pose"}), "no entry 'pose' to read; there are stu"),
        (lambda: GymnasiumVecEnv(POINT_CTRL, 1, {"a": [0]}), "'a' is given by indices, .* name its entries"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_one_line(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_name_may_begin_with_the_module_that_registers_it():
    env = GymnasiumVecEnv(f"foundation.integrations.gymnasium:{POINT_CTRL}", 2)
    assert env.max_episode_length == 500


def test_an_argument_of_the_environment_sets_its_longest_episode():
    assert GymnasiumVecEnv(PENDULUM, 1, max_episode_length=1500).max_episode_length == 1500
    assert GymnasiumVecEnv(PENDULUM, 1, max_episode_steps=1500).max_episode_length == 1500


def test_a_state_restored_in_the_same_process_has_its_own_time_left():
    limited = SyncVectorEnv([lambda: gymnasium.wrappers.TimeLimit(Restorable(end=100), 20)])
    env = GymnasiumVecEnv(limited, max_episode_length=20)
    for _ in range(5):
        env.step(torch.zeros(1, 2))
    state = env.state_dict()
    for _ in range(10):
        env.step(torch.zeros(1, 2))
    env.load_state_dict(state)
    dones = [int(env.step(torch.zeros(1, 2))[2]) for _ in range(15)]
    assert dones == [0] * 14 + [1]


def test_actions_at_a_limit_of_float64_stay_inside():
    space = spaces.Box(-0.4, 0.4, (1,), np.float64)
    env = GymnasiumVecEnv(counters(1, action=space), max_episode_length=9)
    env.step(torch.ones(1, 1))
    assert space.contains(env.unwrapped.envs[0].applied[0])


def test_a_vector_environment_that_would_reset_twice_is_refused():
    envs = AsyncVectorEnv([Counter] * 2, shared_memory=False, autoreset_mode=AutoresetMode.NEXT_STEP)
    with pytest.raises(ValueError, match=r"begins an episode in the step after .* AutoresetMode\.SAME_STEP"):
        GymnasiumVecEnv(envs, max_episode_length=5)
    envs.close()


def test_a_longest_episode_beyond_the_environments_own_is_refused_and_a_shorter_one_taken():
    assert GymnasiumVecEnv(PENDULUM, 1, max_episode_length=7).max_episode_length == 7
    limited = SyncVectorEnv([lambda: gymnasium.make(PENDULUM, max_episode_steps=20)])
    with pytest.raises(ValueError, match=r"max_episode_length=30 has no effect: .* after 20 steps"):
        GymnasiumVecEnv(limited, max_episode_length=30)


def test_a_student_continues_exactly_in_an_environment_that_gives_its_state(tmp_path):
    groups = {"student": [0], "teacher": slice(None)}

    def runner(folder):
        torch.manual_seed(0)
        cfg = runner_cfg(phase1_iterations=1)
        env = GymnasiumVecEnv(counters(4, env=Restorable, end=6), groups=groups, max_episode_length=7)
        made = DaggerRunner(env, cfg, str(tmp_path / folder))
        made.alg.teacher_loaded = True
        return made

    whole = runner("whole")
    whole.learn(4)
    runner("first").learn(2)
    second = runner("second")
    second.load(str(tmp_path / "first" / "model_1.pt"))
    second.learn(2)
    weights = [one.alg.get_policy().state_dict() for one in (whole, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert torch.equal(whole.env.get_observations()["teacher"], second.env.get_observations()["teacher"])


def test_the_quadrotor_passes_gymnasiums_checker():
    env = gymnasium.make(f"foundation.integrations.gymnasium:{POINT_CTRL}")
    check_env(env.unwrapped)


def test_the_quadrotors_last_observation_is_that_of_the_episode_and_not_of_the_next():
    envs = gymnasium.make_vec(POINT_CTRL, 3, overrides=["env.episode_steps=5"])
    envs.reset(seed=1)
    one = gymnasium.make_vec(POINT_CTRL, 3, overrides=["env.episode_steps=6"])
    one.reset(seed=1)
    for _ in range(5):
        obs, _, terminated, truncated, infos = envs.step(np.zeros((3, 4), np.float32))
        longer, *_ = one.step(np.zeros((3, 4), np.float32))
    assert truncated.all()
    assert not terminated.any()
    for env in range(3):
        for name, values in infos["final_obs"][env].items():
            assert np.array_equal(values, longer[name][env])
    assert not np.allclose(obs["teacher"], longer["teacher"])


@pytest.mark.parametrize("late", [[], ["env.noise.delay=0.03"]])
def test_the_quadrotor_through_gymnasium_and_back_flies_as_it_does_by_itself(late):
    settings = ["env.episode_steps=20", "env.init.position=1.45", "env.init.velocity=3", *late]
    own = foundation.make_env("distillation", 16, seed=5, overrides=settings)
    there = GymnasiumVecEnv(POINT_CTRL, 16, overrides=settings, seed=5)
    assert there.max_episode_length == 20
    generator, ends = torch.Generator().manual_seed(0), 0
    for _ in range(60):
        actions = 2.0 * torch.rand(16, 4, generator=generator) - 1.0
        obs, rewards, dones, extras = there.step(actions)
        expected = own.step(actions)
        for name in ("student", "teacher"):
            assert torch.equal(obs[name], expected[0][name])
        assert torch.equal(rewards, expected[1])
        assert torch.equal(dones, expected[2])
        assert torch.equal(extras["time_outs"], expected[3]["time_outs"])
        ends += int(dones.sum())
    assert ends > 48
    state = there.state_dict()
    following = there.step(torch.zeros(16, 4))
    there.reset(seed=8)
    there.reset(seed=5)
    there.load_state_dict(state)
    assert torch.equal(there.step(torch.zeros(16, 4))[0]["student"], following[0]["student"])
