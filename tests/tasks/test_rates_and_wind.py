"""Times are seconds at any rate; wind; settings that cannot work."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch

import foundation
from foundation.sim.usd import load_quad
from foundation.tasks.point_ctrl.doubts import doubts
from foundation.tasks.point_ctrl.layout import Observed
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import InitCfg, PointCtrlEnvCfg, RewardCfg, SimCfg
from foundation.tasks.saved_params import ConfigError

NOISE_OFF = [f"env.noise.{name}=0" for name in ("position", "attitude", "velocity", "angular_velocity")]


def make(num_envs=4, *overrides):
    return foundation.make_env("distillation", num_envs=num_envs, overrides=list(overrides))


@pytest.mark.parametrize(("dt", "steps"), [(0.01, 500), (0.02, 250), (0.004, 1250), (0.03, 167)])
def test_an_episode_lasts_five_seconds_at_any_rate(dt, steps):
    assert make(1, f"env.sim.dt={dt}").max_episode_length == steps


def test_explicit_steps_rule():
    assert make(1, "env.sim.dt=0.02", "env.episode_steps=70").max_episode_length == 70


@pytest.mark.parametrize("dt", [0.0025, 0.01, 0.04])
def test_the_gyroscopes_noise_has_the_same_density_at_any_rate(dt):
    env = make(20_000, f"env.sim.dt={dt}")
    obs = env.get_observations()
    first = Observed.ANGULAR_VELOCITY
    noise = (obs["student"] - obs["teacher"][:, :22])[:, first : first + 3]
    expected = 0.00244 * math.sqrt(0.01 / dt)
    # The standard error of a standard deviation of n numbers is 1 / sqrt(2 n) of it.
    assert noise.std().item() == pytest.approx(expected, rel=4.0 / math.sqrt(2 * noise.numel()))


def test_wind_accelerates_as_a_constant_force_does():
    still = [
        "env.randomization.family=none",
        "env.init.origin_probability=1",
        "env.init.rotor=[1.0,1.0]",
        *NOISE_OFF,
    ]
    drag = "env.robot.motor.drag=[0.0,0.0,0.0]"
    env = make(3, *still, drag, "env.wind=[0.002,-0.001,0.0005]")
    hover = 2.0 * torch.as_tensor(env.nominal.hover_speed, dtype=torch.float32).expand(3, 1) - 1.0
    for _ in range(20):
        obs, *_ = env.step(hover.expand(3, 4))
    velocity = obs["teacher"][:, Observed.VELOCITY : Observed.VELOCITY + 3]
    expected = torch.tensor([0.002, -0.001, 0.0005]) / env.nominal.mass[0] * 20 * 0.01
    torch.testing.assert_close(velocity, expected.float().expand(3, 3), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.sim.dt=0.1", r"sim.dt must lie in \[0.0001, 0.05\] s, 20 Hz to 10000 Hz, got 0.1"),
        ("env.sim.dt=0.00001", "sim.dt must lie in"),
        ("env.sim.dt=0", "sim.dt must lie in"),
        ("env.sim.substeps=0", "sim.substeps must be positive, got 0"),
        (
            "env.robot.motor.tau_up=0.004",
            "must not exceed the time constant of the fastest rotor .* to at least 3",
        ),
        ("env.reward.position=-1", "reward.position must be at least 0"),
        ("env.reward.action_rate=-0.1", "reward.action_rate must be at least 0"),
        ("env.reward.scale=0", "reward.scale must be positive, got 0"),
        ("env.reward.termination=3", "reward.termination must be at most 0"),
        ("env.episode_s=0", "episode_s must be positive, got 0"),
    ],
)
def test_settings_that_cannot_work_are_refused(override, message):
    with pytest.raises(ConfigError, match=message):
        make(1, override, "env.randomization.family=none")


def test_a_reward_with_which_crashing_pays_is_doubted():
    """2 per metre at a mean distance of 0.9606 * 1.4 m in nine of ten episodes."""
    assert doubts(PointCtrlEnvCfg(), load_quad()) == []
    cfg = PointCtrlEnvCfg(init=InitCfg(position=1.4), reward=RewardCfg(position=2.0))
    assert "crashing pays; raise reward.alive above 2.42" in doubts(cfg, load_quad())[0]
    cfg = PointCtrlEnvCfg(init=InitCfg(position=1.4), reward=RewardCfg(position=2.0, alive=2.43))
    assert doubts(cfg, load_quad()) == []


@pytest.mark.parametrize(("share", "doubtful"), [(0.99, False), (1.01, True)])
def test_a_wind_that_full_thrust_cannot_hold_against_is_warned_of(share, doubtful):
    vehicle = load_quad()
    # Across the weight, so that the two add up at a right angle.
    most = math.sqrt(vehicle.max_thrust[0] ** 2 - (vehicle.mass[0] * 9.81) ** 2)
    found = doubts(PointCtrlEnvCfg(wind=(0.0, share * most, 0.0)), vehicle)
    assert [text.startswith("to stay in place in env.wind takes a thrust of ") for text in found] == [
        True
    ] * doubtful


@pytest.mark.parametrize(("dt", "works"), [(0.02, True), (0.021, False)])
def test_an_episode_lasts_a_step_at_least(dt, works):
    with (
        contextlib.nullcontext()
        if works
        else pytest.raises(ValueError, match=r"at least one step, sim\.dt=0\.021 s")
    ):
        PointCtrlEnvCfg(episode_s=0.02, sim=SimCfg(dt=dt))
