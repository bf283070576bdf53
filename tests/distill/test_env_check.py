"""check_env finds each defect of an environment, one at a time, and finds none in those that are right."""

from __future__ import annotations

import pytest
import torch
from tensordict import TensorDict

import foundation
from foundation.distill.env_check import EnvCheckError
from tests.support.toy import CueEnv, ToyEnv

NO_STATE = "there is no state_dict and load_state_dict: a continued run begins with new episodes"


def toy(num_envs=6, **changes):
    """Return a toy environment, with methods and attributes replaced."""
    env = ToyEnv(num_envs)
    for name, value in changes.items():
        setattr(env, name, value.__get__(env) if callable(value) else value)
    return env


def observing(change):
    """Return a toy whose observations are changed."""

    def get_observations(self):
        return change(ToyEnv.get_observations(self))

    return toy(get_observations=get_observations)


def stepping(change, num_envs=6):
    """Return a toy whose results of a step are changed."""

    def step(self, actions):
        return change(self, *ToyEnv.step(self, actions))

    return toy(num_envs, step=step)


def extended(**groups):
    return lambda obs: TensorDict({**obs, **groups}, batch_size=obs.batch_size)


def nan_late(self, obs, rewards, dones, extras):
    rewards[2] = torch.nan if (self.episode_length_buf == 3).any() else 0.0
    return obs, rewards, dones, extras


def not_restarted(self, obs, rewards, dones, extras):
    self.episode_length_buf[dones > 0] = 1
    return obs, rewards, dones, extras


def never_ends(self, obs, rewards, dones, extras):
    self.counted = getattr(self, "counted", 0) + 1
    self.episode_length_buf = torch.full_like(self.episode_length_buf, self.counted)
    return obs, rewards, torch.zeros_like(dones), {}


def always_ends(self, obs, rewards, dones, extras):
    self.episode_length_buf.zero_()
    return obs, rewards, torch.ones_like(dones), extras


def only_terminations(self, obs, rewards, dones, extras):
    counted = self.episode_length_buf + self.max_episode_length * (dones > 0)
    self.episode_length_buf = counted
    return obs, rewards, torch.zeros_like(dones), {"time_outs": dones > 0}


def time_outs_in_a_column(self, obs, rewards, dones, extras):
    return obs, rewards, dones, {"time_outs": extras["time_outs"][:, None]}


def late(change, step=50):
    """Return a toy with short episodes whose observations change from a step on."""

    def changed(self, obs, rewards, dones, extras):
        self.taken = getattr(self, "taken", -1) + 1
        return (change(obs) if self.taken >= step else obs), rewards, dones, extras

    def observed(self):
        return ToyEnv.get_observations(self).set("extra", torch.zeros(self.num_envs, 2))

    env = stepping(changed)
    env.get_observations = observed.__get__(env)
    return env


def refusing(self, *_):
    raise KeyError("pose")


DEFECTS = {
    "a group that is missing in steps": (
        lambda: late(lambda obs: obs.exclude("extra"), 0),
        r"step 0: observation group 'extra' differs: no such group, but get_observations first returned "
        r"shape \(6, 2\) of torch.float32; return the same groups",
    ),
    "a group that vanishes late": (
        lambda: late(lambda obs: obs.exclude("extra"), 12),
        "step 12: observation group 'extra' differs: no such group",
    ),
    "a group that is wider in steps": (
        lambda: late(extended(extra=torch.zeros(6, 3)), 0),
        r"step 0: observation group 'extra' differs: shape \(6, 3\) of torch.float32, but .* shape \(6, 2\)",
    ),
    "another dtype in steps": (
        lambda: late(extended(extra=torch.zeros(6, 2, dtype=torch.float64)), 0),
        r"'extra' differs: shape \(6, 2\) of torch.float64, but .* of torch.float32",
    ),
    "a group that comes late": (
        lambda: late(extended(more=torch.zeros(6, 1)), 3),
        r"step 3: observation group 'more' differs: shape \(6, 1\) of torch.float32, but .* no such group",
    ),
    "another number of actions": (
        lambda: toy(num_actions=5),
        r"step 0 raised RuntimeError: .*; it was given actions of shape \(6, 5\): is num_actions=5 right\?",
    ),
    "a state that cannot be loaded": (
        lambda: toy(load_state_dict=refusing),
        "load_state_dict of what state_dict returned raised KeyError: 'pose'",
    ),
    "no loading of a state": (
        lambda: toy(load_state_dict=None), "load_state_dict must be a method, got NoneType"),
    "a state that cannot be saved": (lambda: toy(state_dict=refusing), "state_dict raised KeyError: 'pose'"),
    "no observations": (
        lambda: toy(get_observations=None), "get_observations must be a method, got NoneType"),
    "an unknown device": (lambda: toy(device="gpu"), "device must be a torch device of this machine, got 'gpu'"),
    "a length in words": (lambda: toy(max_episode_length="long"), "must be at least 1 step, got 'long'"),
    "a missing attribute": (lambda: _without("cfg"), "cfg is missing: its configuration"),
    "no actions": (lambda: toy(num_actions=0), "num_actions must be an int of at least 1, got 0"),
    "a length of nothing": (lambda: toy(max_episode_length=0), "max_episode_length must be at least 1 step"),
    "lengths as floats": (
        lambda: toy(episode_length_buf=torch.zeros(6)),
        r"episode_length_buf must be a tensor of ints of shape \(6,\), got shape \(6,\) of torch.float32",
    ),
    "a plain dict": (lambda: observing(dict), "must return a TensorDict of observation groups, got dict"),
    "another batch": (
        lambda: observing(lambda obs: TensorDict(dict(obs), batch_size=[])),
        r"batch_size must be \[6\], got \[\]",
    ),
    "no columns' axis": (
        lambda: observing(extended(extra=torch.zeros(6))),
        r"group 'extra' must have shape \(6, D\), got \(6,\)",
    ),
    "NaN": (
        lambda: observing(extended(extra=torch.tensor([[0.0]] * 4 + [[torch.nan]] + [[0.0]]))),
        "group 'extra' has NaN or infinity in environment 4",
    ),
    "complex numbers": (
        lambda: observing(extended(extra=torch.zeros(6, 1, dtype=torch.complex64))),
        "group 'extra' is complex",
    ),
    "another device": (
        lambda: observing(extended(extra=torch.zeros(6, 1, device="meta"))),
        "group 'extra' is on meta, but the environment's device is cpu",
    ),
    "three results": (
        lambda: stepping(lambda self, *result: result[:3]),
        r"step must return \(observations, rewards, dones, extras\), got 3 values",
    ),
    "a list of results": (lambda: stepping(lambda self, *result: list(result)), "got a list"),
    "NaN in a reward": (lambda: stepping(nan_late), "step 2: rewards has NaN or infinity in environment 2"),
    "a reward of all": (
        lambda: stepping(lambda self, obs, rewards, dones, extras: (obs, rewards.mean(), dones, extras)),
        r"step 0: rewards must be a tensor of shape \(6,\), got shape \(\)",
    ),
    "one environment squeezed": (
        lambda: stepping(lambda self, obs, rewards, dones, extras: (obs, rewards, dones[0], extras), 1),
        r"step 0: dones must be a tensor of shape \(1,\), got shape \(\)",
    ),
    "time-outs as a column": (
        lambda: stepping(time_outs_in_a_column),
        r"extras\['time_outs'\] must be a tensor of shape \(6,\), got shape \(6, 1\)",
    ),
    "no longest episode": (lambda: toy(max_episode_length=None), "max_episode_length must be at least 1 step"),
    "extras of None": (
        lambda: stepping(lambda self, obs, rewards, dones, extras: (obs, rewards, dones, None)),
        "extras must be a dict, got NoneType",
    ),
    "no reset": (lambda: stepping(not_restarted), "is 1, but must be 0, because its episode ended: reset it"),
    "no end": (lambda: stepping(never_ends), "no episode ended in .* steps, though max_episode_length is"),
    "nothing but ends": (lambda: stepping(always_ends), "every step ends an episode"),
    "dones without time-outs": (lambda: stepping(only_terminations), "a time-out without done"),
}  # fmt: skip


def _without(name):
    env = toy()
    delattr(env, name)
    return env


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_is_found_and_named(defect):
    make, message = DEFECTS[defect]
    with pytest.raises(EnvCheckError, match=message) as caught:
        foundation.check_env(make())
    assert str(caught.value).startswith("ToyEnv has ")


def test_all_defects_of_the_observations_are_told_at_once():
    env = observing(extended(first=torch.zeros(6), second=torch.full((6, 1), torch.inf)))
    with pytest.raises(EnvCheckError, match="2 defects") as caught:
        foundation.check_env(env)
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("num_envs", [1, 6])
def test_a_right_environment_has_no_defect_and_no_hint(num_envs):
    groups = {"student": ["student"], "teacher": ["teacher"]}
    assert foundation.check_env(ToyEnv(num_envs), groups) == []


def test_the_quadrotor_has_no_defect_and_no_hint():
    env = foundation.make_env("distillation", 16, overrides=["env.episode_steps=40"])
    assert foundation.check_env(env, {"student": ["student"], "teacher": ["teacher"]}) == []


def test_an_unknown_group_is_a_defect_and_shared_groups_are_a_hint():
    with pytest.raises(EnvCheckError, match="student reads 'camera', but there are student, teacher"):
        foundation.check_env(ToyEnv(), {"student": ["camera"], "teacher": ["teacher"]})
    hints = foundation.check_env(ToyEnv(), {"student": ["teacher"], "teacher": ["teacher"]})
    assert hints == ["student and teacher read the same groups, teacher: nothing is privileged"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"student": "student"}, r"student must be a list of groups, got 'student'; write \['student'\]"),
        ({"student": None}, "student must be a list of groups, got None"),
        (["student"], r"obs_groups must be lists by policy, .* got \['student'\]"),
    ],
)
def test_groups_that_are_no_lists_are_one_defect(groups, message):
    with pytest.raises(EnvCheckError, match=message) as caught:
        foundation.check_env(ToyEnv(), groups)
    assert str(caught.value).startswith("ToyEnv has 1 defect:")


def test_a_conversion_is_one_hint_in_however_many_steps():
    hints = foundation.check_env(observing(extended(extra=torch.zeros(6, 2, dtype=torch.float64))))
    assert hints == [
        "observation group 'extra' has dtype torch.float64, and is converted to torch.float32 in every step"
    ]


def test_a_hint_does_not_repeat_the_environments_own_way_out():
    class Fixed(CueEnv):
        def __setattr__(self, name, value):
            if name == "episode_length_buf" and getattr(self, name, value) is not value:
                raise ValueError("lengths are fixed: call learn without init_at_random_ep_len")
            super().__setattr__(name, value)

    (hint,) = [text for text in foundation.check_env(Fixed(4)) if "cannot be set" in text]
    assert hint.count("init_at_random_ep_len") == 1


def test_a_forgotten_part_of_the_state_is_found_where_it_changes_a_step():
    def state_dict(self):
        return {name: value for name, value in ToyEnv.state_dict(self).items() if name != "generator"}

    def load_state_dict(self, state):
        ToyEnv.load_state_dict(self, state | {"generator": self.generator.get_state()})

    with pytest.raises(EnvCheckError, match=r"differs in step .* after load_state_dict"):
        foundation.check_env(toy(state_dict=state_dict, load_state_dict=load_state_dict))


def test_a_state_that_is_no_copy_is_found():
    def state_dict(self):
        return ToyEnv.state_dict(self) | {"length": self.episode_length_buf}

    with pytest.raises(EnvCheckError, match="after load_state_dict: state_dict must hold copies"):
        foundation.check_env(toy(state_dict=state_dict))


def test_what_is_seldom_meant_is_a_hint_in_the_log(caplog):
    def without_time_outs(self, obs, rewards, dones, extras):
        return obs, rewards, dones, {}

    assert "extras has no true 'time_outs'" in foundation.check_env(stepping(without_time_outs))[0]
    (converted,) = foundation.check_env(observing(extended(extra=torch.zeros(6, 2, dtype=torch.float64))))[:1]
    assert "'extra' has dtype torch.float64, and is converted to torch.float32" in converted
    assert foundation.check_env(CueEnv(4)) == [NO_STATE]
    column = stepping(lambda self, obs, rewards, dones, extras: (obs, rewards[:, None], dones, extras))
    assert foundation.check_env(column) == ["rewards have shape (6, 1): rsl_rl's own runner needs (6,)"]
    assert "nothing is known of resets" in foundation.check_env(ToyEnv(), steps=2)[0]
    assert NO_STATE in caplog.text
