"""Task ``foundation``: the expert's group, RAPTOR's states, bounds and reward, and named vehicles."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

import foundation
from foundation.control.expert import LqrExpert
from foundation.tasks import ConfigError
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg
from foundation.tasks.point_ctrl.states_cfg import InitCfg, raptor_states

SMALL = ["env.randomization.num_vehicles=64", "env.noise.delay=0"]


def make(num_envs=64, seed=0, overrides=(), task="foundation"):
    return foundation.make_env(task, num_envs, "cpu", seed, [*SMALL, *overrides])


def expected_actions(env):
    sim, last = env.sim, env.state_dict()["episode"][:, :4]
    expert = LqrExpert(sim.params, env.cfg.expert)
    state = (sim.vehicle, sim.pos_w, sim.quat_wb, sim.vel_w, sim.ang_vel_b, sim.rotor, 0.5 * (last + 1.0))
    return 2.0 * expert(*state, sim.force_w) - 1.0


def test_the_expert_group_is_the_experts_action_for_the_state_after_the_step():
    env = make()
    obs = env.get_observations()
    generator = torch.Generator().manual_seed(0)
    restarted = 0
    for _ in range(40):
        torch.testing.assert_close(obs["expert"], expected_actions(env))
        # Whoever acts, the expert answers to the command that was applied.
        obs, _, done, _ = env.step(obs["expert"] + 0.5 * torch.randn(64, 4, generator=generator))
        restarted += int(done.sum())
    assert restarted > 0


def test_without_an_expert_there_is_no_such_group():
    assert "expert" not in make(task="distillation").get_observations().keys()  # noqa: SIM118
    assert "expert" in make(task="distillation", overrides=["env.expert={}"]).get_observations().keys()  # noqa: SIM118


def test_the_expert_flies_the_family_of_raptor_from_its_first_states():
    env = make(256)
    obs, first = env.get_observations(), {}
    ended = torch.zeros(256, dtype=torch.bool)
    for _ in range(500):
        obs, _, done, _ = env.step(obs["expert"])
        for name, values in env.last_episode().items():
            first[name] = torch.where(ended, first.get(name, values), values)
        ended |= done > 0
    survived = first["survived"]
    assert survived.float().mean() > 0.96
    assert first["position_rmse"][survived].max() < 0.01
    assert first["command_rate"][survived].mean() < 0.01


def test_first_states_lie_in_raptors_ranges():
    sim = make(4096).sim
    still = (sim.pos_w == 0.0).all(1)
    assert still.float().mean().item() == pytest.approx(0.1, abs=0.02)
    assert (sim.vel_w[still] == 0.0).all()
    for values, bound in ((sim.pos_w, 0.5), (sim.vel_w, 1.0), (sim.ang_vel_b, 1.0)):
        assert values.abs().max().item() == pytest.approx(bound, rel=0.01)
    tilt = 2.0 * torch.acos(sim.quat_wb[:, 3].clamp(max=1.0))
    assert tilt.max().item() == pytest.approx(1.0, rel=0.01)
    # Rotors turn at up to half speed, also at rest on the target; the share does not depend on the vehicle.
    for rotor in (sim.rotor, sim.rotor[still]):
        assert rotor.min() >= 0.0
        assert rotor.max().item() == pytest.approx(0.5, rel=0.05)
        assert rotor.mean().item() == pytest.approx(0.25, abs=0.02)


def test_an_episode_ends_where_the_vehicle_leaves_twenty_arm_lengths():
    env = make(64, overrides=["env.init.velocity=1.0"])
    arm = torch.as_tensor(np.linalg.norm(env.sim.params.rotor_pos_b, axis=-1).max(-1)).float()
    bound = 20.0 * arm[env.sim.vehicle.long()]
    env.sim.vel_w.zero_()
    env.sim.pos_w.zero_()
    env.sim.pos_w[:, 0] = torch.where(torch.arange(64) % 2 == 0, 1.01, 0.99) * bound
    _, reward, done, _ = env.step(env.get_observations()["expert"])
    assert (done[::2] == 1).all()
    assert (done[1::2] == 0).all()
    assert (reward[::2] == -100.0).all()


def test_the_reward_is_raptors():
    env = make(32)
    last = env.state_dict()["episode"][:, :4]
    env.sim.pos_w.mul_(0.2)
    env.sim.vel_w.mul_(0.2)
    action = env.get_observations()["expert"] + 0.1
    before = env.episode_length_buf.clone()
    _, reward, done, _ = env.step(action)
    sim, running = env.sim, done == 0
    heading = 2.0 * torch.acos((1.0 - sim.quat_wb[:, 2].abs()).clamp(-1, 1))
    change = (action.clamp(-1, 1) - last).norm(dim=1)
    expected = 1.5 - (sim.pos_w.norm(dim=1) + 0.1 * heading + change)
    torch.testing.assert_close(reward[running], expected[running], atol=2e-6, rtol=0)
    assert running.sum() > 16
    assert (before == 0).all()


def test_the_command_rate_is_the_mean_change_of_an_action_after_the_first_step():
    env = make(8, overrides=["env.episode_steps=5", "env.states=null", "env.termination.velocity=50"])
    generator = torch.Generator().manual_seed(0)
    actions = torch.rand(5, 8, 4, generator=generator) * 2.0 - 1.0
    for action in actions:
        env.step(action)
    last = env.last_episode()
    assert last["survived"].all()
    expected = (actions[1:] - actions[:-1]).abs().mean((0, 2))
    torch.testing.assert_close(last["command_rate"], expected)


def test_named_states_are_whole_and_refuse_other_settings():
    init, termination = raptor_states()
    cfg = PointCtrlEnvCfg(states="raptor")
    assert (cfg.init, cfg.termination) == (init, termination)
    # A run's saved settings name the states and hold them.
    assert PointCtrlEnvCfg(states="raptor", init=init, termination=termination) == cfg
    with pytest.raises(
        ValueError, match=r"states=raptor sets all of init, which differs in init\.tilt=0\.2, .*; set states=null"
    ):
        PointCtrlEnvCfg(states="raptor", init=InitCfg(tilt=0.2))
    with pytest.raises(ConfigError, match="states must be one of raptor, or null, got 'raptr'"):
        make(overrides=["env.states=raptr"])
    assert asdict(make(overrides=["env.states=null", "env.init.tilt=0.2"]).cfg.init) == asdict(
        InitCfg(tilt=0.2, rotor=[0.0, 0.5], rotor_over_hover=False)  # pyright: ignore
    )


def test_a_named_vehicle_is_flown_instead_of_the_file():
    env = make(4, overrides=["env.randomization.family=none", "env.robot.vehicle=x500"])
    assert env.nominal.mass[0] == env.sim.params.mass[0] == 2.0
    with pytest.raises(ConfigError, match=r"robot\.vehicle must be one of crazyflie, .*, got 'x5000'"):
        make(4, overrides=["env.randomization.family=none", "env.robot.vehicle=x5000"])


def test_states_of_earlier_versions_load_with_new_columns_at_zero():
    env, other = make(8), make(8, seed=0)
    for _ in range(3):
        env.step(env.get_observations()["expert"])
    state = env.state_dict()
    old = state | {"episode": state["episode"][:, :7], "finished": state["finished"][:, :6]}
    other.load_state_dict(old)
    loaded = other.state_dict()
    assert (loaded["episode"][:, 7:] == 0.0).all()
    assert torch.equal(loaded["episode"][:, :7], state["episode"][:, :7])
    with pytest.raises(ValueError, match="'episode' does not fit 8 environments"):
        other.load_state_dict(state | {"episode": state["episode"][:4]})


def test_late_sensors_show_the_motion_of_the_step_before_and_the_newest_action():
    settings = ["env.noise.delay=0.02", "env.noise.delayed_share=0.5", "env.episode_steps=12"]
    late, prompt = make(32, overrides=settings), make(32, overrides=settings[2:])
    generator = torch.Generator().manual_seed(0)
    seen = [prompt.get_observations()["student"]]
    torch.testing.assert_close(late.get_observations()["student"], seen[0])
    begun = [torch.zeros(32, dtype=torch.long)]
    for _ in range(30):
        action = prompt.get_observations()["expert"] + 0.2 * torch.randn(32, 4, generator=generator)
        obs, _, done, _ = prompt.step(action)
        late_obs, *_ = late.step(action)
        seen.append(obs["student"])
        begun.append(torch.where(done > 0, 0, begun[-1] + 1))
        rows, age = torch.arange(16), begun[-1][:16].clamp(max=2)
        expected = torch.stack(seen)[len(seen) - 1 - age, rows, :18]
        torch.testing.assert_close(late_obs["student"][:16, :18], expected)
        # The others are prompt, and everybody knows the own command; the teacher's sight is never late.
        torch.testing.assert_close(late_obs["student"][16:], obs["student"][16:])
        torch.testing.assert_close(late_obs["student"][:, 18:], obs["student"][:, 18:])
        torch.testing.assert_close(late_obs["teacher"], obs["teacher"])
        torch.testing.assert_close(late.get_observations()["student"], late_obs["student"])
    assert (torch.stack(begun)[1:] == 0).sum() > 32


def test_a_delay_is_restored_with_the_state():
    env, other = (make(8, overrides=["env.noise.delay=0.03"]) for _ in range(2))
    for _ in range(5):
        env.step(env.get_observations()["expert"])
    other.load_state_dict(env.state_dict())
    action = env.get_observations()["expert"]
    torch.testing.assert_close(other.step(action)[0]["student"], env.step(action)[0]["student"], atol=0, rtol=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("env.noise.delay=0.015", "noise.delay must be a multiple of the control step, 0.01 s, got 0.015"),
        ("env.noise.delay=1.01", "noise.delay must be at most 1 s, got 1.01"),
        ("env.noise.delay=1e30", "noise.delay must be at most 1 s, got 1e\\+30"),
        ("env.noise.delay=-0.01", "noise.delay must be at least 0"),
        ("env.noise.delayed_share=0", r"noise.delayed_share must lie in \(0, 1\]"),
    ],
)
def test_delays_that_cannot_be_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        make(overrides=[setting])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["env.robot.vehicle=x500"], "robot has no effect with randomization.family=raptor"),
        (["env.robot.motor.tau_up=0.05"], "robot has no effect with randomization.family=raptor"),
        (
            ["env.randomization.family=none", "env.robot.vehicle=x500", "env.robot.motor.tau_up=0.05"],
            "robot.motor has no effect with robot.vehicle=x500",
        ),
        (
            ["env.randomization.family=none", "env.robot.vehicle=x500", "env.robot.spawn.usd_path=/a.usd"],
            "robot.spawn has no effect with robot.vehicle=x500",
        ),
    ],
)
def test_settings_of_a_vehicle_that_is_not_flown_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(4, overrides=settings)
