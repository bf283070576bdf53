"""The task against its definition, recomputed in torch from the simulator's state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

import foundation
from foundation.sim import reference

HOVER = [0.54, 0.54, 0.54, 0.54]


def make(num_envs=8, seed=0, overrides=(), device="cpu"):
    return foundation.make_env("distillation", num_envs, device, seed, overrides)


def random_actions(env, generator):
    noise = torch.randn(env.num_envs, 4, generator=generator).to(env.device)
    return torch.tensor(HOVER, device=env.device) + 0.3 * noise


def test_groups_have_the_documented_sizes(device):
    obs = make(device=device).get_observations()
    assert {name: tuple(value.shape) for name, value in obs.items()} == {
        "student": (8, 22),
        "teacher": (8, 37),
    }


def test_the_teacher_sees_the_exact_state_in_the_documented_order():
    env = make()
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        action = random_actions(env, generator)
        obs, *_ = env.step(action)
    sim = env.sim
    rotation = torch.as_tensor(reference.rotation_matrix(sim.quat_wb.double().numpy())).reshape(-1, 9)
    weight = torch.as_tensor(sim.params.mass)[sim.vehicle.long()] * 9.81
    expected = torch.cat(
        [
            sim.pos_w,
            rotation,
            sim.vel_w,
            sim.ang_vel_b,
            action.clamp(-1, 1),
            sim.rotor,
            sim.force_w / weight[:, None],
        ],
        dim=-1,
    )
    torch.testing.assert_close(obs["teacher"][:, :29], expected.float(), atol=1e-6, rtol=1e-6)


def test_descriptors_of_the_nominal_vehicle_are_its_hover_action_and_zeros():
    env = make(overrides=["env.randomization.family=none"])
    descriptors = env.get_observations()["teacher"][:, 29:]
    hover = 2 * env.nominal.hover_speed[0] - 1
    expected = torch.tensor([hover] + [0.0] * 7, dtype=torch.float32).expand(8, 8)
    torch.testing.assert_close(descriptors, expected, atol=1e-6, rtol=0)


def test_the_students_noise_has_the_configured_standard_deviation():
    env = make(20_000)
    obs = env.get_observations()
    error = obs["student"] - obs["teacher"][:, :22]
    noise = env.cfg.noise
    # 20 000 samples of three axes: the estimate's relative error is 0.3 %, four sigma are 1.2 %.
    for columns, std in (
        (slice(0, 3), noise.position),
        (slice(12, 15), noise.velocity),
        (slice(15, 18), noise.angular_velocity),
    ):
        assert error[:, columns].std().item() == pytest.approx(std, rel=0.012)
        assert abs(error[:, columns].mean().item()) < 4 * std / np.sqrt(60_000)
    # A rotation by a small vector moves the matrix by its length times sqrt(2) in Frobenius norm.
    rotated = error[:, 3:12].square().sum(-1).mean().sqrt().item() / np.sqrt(6)
    assert rotated == pytest.approx(noise.attitude, rel=0.012)
    assert torch.equal(error[:, 18:], torch.zeros_like(error[:, 18:]))


def test_zero_noise_gives_the_student_the_exact_state():
    quiet = [f"env.noise.{name}=0" for name in ("position", "attitude", "velocity", "angular_velocity")]
    obs = make(overrides=quiet).get_observations()
    torch.testing.assert_close(obs["student"], obs["teacher"][:, :22], atol=1e-6, rtol=0)


def test_first_states_follow_the_configured_distribution():
    env = make(20_000)
    cfg = env.cfg.init
    sim = env.sim
    at_origin = (sim.pos_w == 0).all(-1)
    share = at_origin.float().mean().item()
    assert share == pytest.approx(cfg.origin_probability, abs=4 * np.sqrt(0.09 / 20_000))
    assert (sim.vel_w[at_origin] == 0).all()
    for values, half in (
        (sim.pos_w, cfg.position),
        (sim.vel_w, cfg.velocity),
        (sim.ang_vel_b, cfg.angular_velocity),
    ):
        moved = values[~at_origin]
        assert moved.abs().max() <= half
        assert moved.std().item() == pytest.approx(half / np.sqrt(3), rel=0.02)
    states = torch.cat([sim.pos_w, sim.vel_w, sim.ang_vel_b, sim.rotor], dim=-1)[~at_origin]
    correlation = torch.corrcoef(states.T)[:9, :9] - torch.eye(9)
    assert correlation.abs().max() < 5 / np.sqrt(len(states))
    weight = torch.as_tensor(sim.params.mass)[sim.vehicle.long()].float() * 9.81
    assert (sim.force_w / weight[:, None]).std().item() == pytest.approx(0.05, rel=0.02)


def test_reward_equals_its_definition_recomputed_from_the_state():
    env = make(64)
    generator = torch.Generator().manual_seed(0)
    previous = env.get_observations()["teacher"][:, 18:22]
    for _ in range(20):
        action = random_actions(env, generator)
        _, reward, done, _ = env.step(action)
        clipped = action.clamp(-1, 1)
        heading = 2 * torch.arccos(1 - env.sim.quat_wb[:, 2].abs())
        rate = 1.5 - env.sim.pos_w.norm(dim=-1) - 0.1 * heading - 0.3 * (clipped - previous).square().sum(-1)
        running = done == 0
        torch.testing.assert_close(reward[running], 0.1 * rate[running], atol=1e-6, rtol=1e-5)
        previous = torch.where(running[:, None], clipped, env.get_observations()["teacher"][:, 18:22])


@pytest.mark.parametrize("tensor", ["pos_w", "vel_w", "ang_vel_b"])
@pytest.mark.parametrize("value", [1.0e3, float("nan")])
def test_leaving_a_bound_or_nan_fails_the_episode_and_resets_only_that_environment(tensor, value):
    env = make()
    before = env.sim.vehicle.clone()
    getattr(env.sim, tensor)[3, 1] = value
    obs, reward, done, extras = env.step(torch.tensor(HOVER).expand(8, 4))
    assert done.tolist() == [0, 0, 0, 1, 0, 0, 0, 0]
    assert not extras["time_outs"].any()
    assert reward[3].item() == pytest.approx(-1.0)
    assert env.episode_length_buf.tolist() == [1, 1, 1, 0, 1, 1, 1, 1]
    assert torch.isfinite(obs["teacher"]).all()
    assert obs["teacher"][3, :3].abs().max() <= 0.5
    assert torch.equal(before[torch.arange(8) != 3], env.sim.vehicle[torch.arange(8) != 3])
    assert extras["log"]["Episode/survival"].tolist() == [0.0]


def test_an_episode_that_lasts_is_a_time_out_after_the_configured_steps():
    env = make(overrides=["env.episode_steps=7"])
    for step in range(1, 8):
        _, _, done, extras = env.step(torch.tensor(HOVER).expand(8, 4))
        assert (done == (step == 7)).all()
    assert extras["time_outs"].all()
    assert (extras["log"]["Episode/survival"] == 1).all()


def test_episode_metrics_equal_those_recomputed_step_by_step():
    env = make(256, overrides=["env.episode_steps=60", "env.metrics.window=0.2", "env.metrics.settle_radius=0.4"])
    distances, rewards, alive = [], [], torch.ones(256, dtype=torch.bool)
    for step in range(60):
        state = env.state_dict()
        _, reward, done, _ = env.step(torch.tensor(HOVER).expand(256, 4))
        if step == 59:  # the last state is gone after the reset: fly the step again without one
            env.load_state_dict(state)
            env.episode_length_buf = torch.zeros(256)
            env.step(torch.tensor(HOVER).expand(256, 4))
            distances.append(env.sim.pos_w.norm(dim=-1))
            env.load_state_dict(state)
            env.step(torch.tensor(HOVER).expand(256, 4))
        else:
            distances.append(env.sim.pos_w.norm(dim=-1))
        rewards.append(reward * alive)
        alive &= (done == 0) | (step == 59)
    got = env.last_episode()
    kept = alive & got["survived"]
    assert kept.sum() > 20
    distance = torch.stack(distances)[:, kept]
    torch.testing.assert_close(got["return"][kept], torch.stack(rewards).sum(0)[kept], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(
        got["position_rmse"][kept], distance[-20:].square().mean(0).sqrt(), atol=1e-4, rtol=1e-4
    )
    outside = distance > 0.4
    last_outside = torch.where(outside, torch.arange(1, 61)[:, None], 0).max(0).values
    settled = last_outside < 60
    assert 0 < settled.sum() < len(settled)
    assert torch.equal(got["settled"][kept], settled)
    torch.testing.assert_close(got["settle_time"][kept][settled], 0.01 * last_outside[settled].float())


def rollout(env, steps=120):
    generator = torch.Generator().manual_seed(1)
    rows = []
    for _ in range(steps):
        obs, reward, done, _ = env.step(random_actions(env, generator))
        rows.append(torch.cat([obs["student"], obs["teacher"], reward[:, None], done[:, None]], dim=-1))
    return torch.stack(rows)


def test_the_same_seed_repeats_bit_for_bit_and_another_does_not(device):
    first, second, other = (rollout(make(seed=seed, device=device)) for seed in (5, 5, 6))
    assert first[:, :, -1].sum() > 0  # resets are part of what repeats
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_restored_state_repeats_the_future_bit_for_bit():
    env, other = make(seed=5), make(seed=9)
    # Same vehicles: the table belongs to the configuration and seed, not to the state.
    other = make(seed=5)
    rollout(other, 37)
    rollout(env, 60)
    state = env.state_dict()
    expected = rollout(env)
    other.load_state_dict(state)
    assert torch.equal(rollout(other), expected)


def test_a_state_with_other_vehicles_is_refused():
    with pytest.raises(ValueError, match="belongs to other vehicles"):
        make(4, seed=1).load_state_dict(make(4, seed=2).state_dict())


def test_a_state_of_another_size_is_refused():
    with pytest.raises(ValueError, match="does not fit 4 environments"):
        make(4).load_state_dict(make(8).state_dict())


def test_returned_tensors_are_never_written_again():
    env = make()
    obs, reward, done, extras = env.step(torch.tensor(HOVER).expand(8, 4))
    kept = (obs.clone(), reward.clone(), done.clone(), extras["time_outs"].clone())
    rollout(env, 50)
    assert torch.equal(obs["student"], kept[0]["student"])
    assert torch.equal(obs["teacher"], kept[0]["teacher"])
    assert torch.equal(reward, kept[1])
    assert torch.equal(done, kept[2])
    assert torch.equal(extras["time_outs"], kept[3])


def test_one_step_is_one_kernel_launch(monkeypatch):
    from foundation.sim.launch import RecordedLaunch

    env = make()
    launches = []
    original = RecordedLaunch.launch
    monkeypatch.setattr(RecordedLaunch, "launch", lambda self: (launches.append(self), original(self)))
    env.step(torch.zeros(8, 4))
    assert len(launches) == 1


def test_an_assigned_episode_length_reaches_the_kernels():
    env = make()
    env.episode_length_buf = torch.full((8,), 499)
    _, _, done, extras = env.step(torch.tensor(HOVER).expand(8, 4))
    assert done.all()
    assert extras["time_outs"].all()


def test_the_foundation_family_flies():
    env = make(512, overrides=["env.randomization.family=foundation"])
    masses = env.sim.params.mass[env.sim.vehicle.numpy()]
    assert masses.min() < 0.1
    assert masses.max() > 4.0
    assert torch.isfinite(rollout(env, 50)).all()


def test_a_start_outside_the_bounds_is_refused():
    with pytest.raises(ValueError, match=r"init.position must be below termination.position \(1.5\), got 3.0"):
        replace(make().cfg, init=replace(make().cfg.init, position=3.0))


def test_current_observations_are_those_of_the_last_step_bit_for_bit():
    env = make(50)
    for _ in range(3):
        obs, *_ = env.step(torch.tensor(HOVER).expand(50, 4))
    again = env.get_observations()
    assert torch.equal(again["student"], obs["student"])
    assert torch.equal(again["teacher"], obs["teacher"])
    later, *_ = env.step(torch.tensor(HOVER).expand(50, 4))
    error, before = (
        later["student"][:, :3] - later["teacher"][:, :3],
        obs["student"][:, :3] - obs["teacher"][:, :3],
    )
    assert not torch.isclose(error, before, atol=1e-6).all(-1).any()  # but a step draws new noise


@pytest.mark.parametrize("num_envs", [1, 15, 17])
def test_environments_that_do_not_fill_a_block_fly_as_the_first_of_a_full_one(num_envs):
    few, full = make(num_envs), make(32)
    few.load_state_dict(
        {name: values if name == "table_mass" else values[:num_envs] for name, values in full.state_dict().items()}
    )
    generator = torch.Generator().manual_seed(0)
    ended = 0
    for _ in range(150):
        action = random_actions(full, generator)
        expected, reward, done, _ = full.step(action)
        got, few_reward, few_done, extras = few.step(action[:num_envs])
        assert torch.equal(got["student"], expected["student"][:num_envs])
        assert torch.equal(got["teacher"], expected["teacher"][:num_envs])
        assert torch.equal(few_reward, reward[:num_envs])
        assert torch.equal(few_done, done[:num_envs])
        assert len(extras["log"].get("Episode/return", [])) == few_done.sum()  # surplus lanes appear nowhere
        ended += int(few_done.sum())
    assert ended > 0


def test_the_number_of_threads_changes_no_bit():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = make(4100)
        torch.set_num_threads(2)
        shared = make(4100)
    finally:
        torch.set_num_threads(threads)
    assert (len(alone._env_step._parts), len(shared._env_step._parts)) == (1, 2)
    assert torch.equal(rollout(alone, 60), rollout(shared, 60))
