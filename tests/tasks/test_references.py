"""Moving targets against the definition of what is relative to them, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import foundation
from foundation.sim import reference
from foundation.sim.paths import Circle, FigureEight, Hover, PathSamples, sample_many
from foundation.tasks.point_ctrl.references import ReferenceTable

EXACT = [f"env.noise.{name}=0" for name in ("position", "attitude", "velocity", "angular_velocity")]
ONE = ["env.randomization.family=none"]


def make(num_envs=32, seed=0, overrides=(), task="distillation"):
    return foundation.make_env(task, num_envs, "cpu", seed, [*EXACT, *overrides])


def table(env, *paths, seed=0):
    rng = np.random.default_rng(seed)
    return ReferenceTable.of(paths, env.max_episode_length, env.cfg.sim.dt, rng, env.device)


def fly(env, steps, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        obs, *_ = env.step(0.54 + 0.1 * torch.randn(env.num_envs, 4, generator=generator))
    return obs


def turned_back(vectors, heading):
    cos, sin = np.cos(heading), np.sin(heading)
    x, y, z = vectors.T
    return np.stack([cos * x + sin * y, cos * y - sin * x, z], axis=1)


def test_observations_are_relative_to_the_reference_and_its_heading():
    env, path = make(), Circle(amplitude=0.8, speed=1.1, heading="along")
    env.follow(table(env, path))
    obs = fly(env, 12)
    still = (env.episode_length_buf == 12).numpy()
    assert still.sum() > 20
    at = path.sample(np.arange(13) * env.cfg.sim.dt, np.random.default_rng(0))
    sim, heading = env.sim, at.heading[-1]
    back = np.array([0.0, 0.0, -np.sin(heading / 2), np.cos(heading / 2)])
    rotation = reference.rotation_matrix(sim.quat_wb.double().numpy())
    mass = sim.params.mass[sim.vehicle.long().numpy()]
    force = sim.force_w.double().numpy() / mass[:, None] - at.acceleration[-1]
    expected = {
        "position": turned_back(sim.pos_w.double().numpy() - at.position[-1], heading),
        "rotation": (reference.rotation_matrix(back[None])[0] @ rotation).reshape(-1, 9),
        "velocity": turned_back(sim.vel_w.double().numpy() - at.velocity[-1], heading),
        "angular_velocity": sim.ang_vel_b.double().numpy(),
    }
    motion = np.concatenate(list(expected.values()), axis=1)
    for group in ("student", "teacher"):
        np.testing.assert_allclose(obs[group][:, :18].numpy()[still], motion[still], atol=2e-6)
    np.testing.assert_allclose(
        obs["teacher"][:, 26:29].numpy()[still], turned_back(force, heading)[still] / 9.81, atol=2e-6
    )


def test_a_target_that_never_leaves_the_origin_is_no_target_at_all_bit_for_bit():
    plain, following = make(), make()
    following.follow(table(following, Hover()))
    following.load_state_dict(plain.state_dict() | following.state_dict() | plain.state_dict())
    action = torch.full((32, 4), 0.5)
    for _ in range(30):
        first, second = plain.step(action), following.step(action)
        assert not first[2].any()  # resets draw one more number where there are paths
        assert torch.equal(first[1], second[1])
        for group in ("student", "teacher"):
            assert torch.equal(first[0][group], second[0][group])


def test_the_reward_and_the_bounds_are_those_of_the_relative_state():
    env, path = make(overrides=ONE), Circle(amplitude=3.0, speed=2.0)
    env.follow(table(env, path))
    obs = env.get_observations()
    for _ in range(20):
        previous = obs["teacher"][:, 18:22]
        action = torch.full((32, 4), 0.5)
        obs, reward, done, _ = env.step(action)
        near = obs["teacher"][:, :3].abs().amax(1) < env.cfg.termination.position
        assert (near | (done > 0)).all()
    assert (env.sim.pos_w.norm(dim=1) > env.cfg.termination.position).all()
    assert not done.any()
    distance = obs["teacher"][:, :3].double().norm(dim=1)
    trace = obs["teacher"][:, 3:12].double().view(-1, 3, 3)
    twist = 0.5 * (trace[:, 1, 0] - trace[:, 0, 1])
    w = 0.5 * (1.0 + trace.diagonal(dim1=1, dim2=2).sum(1)).sqrt()
    heading = 2.0 * torch.arccos(1.0 - (twist / (2.0 * w)).abs())
    change = (action - previous).double().square().sum(1)
    expected = 0.1 * (1.5 - distance - 0.1 * heading - 0.3 * change)
    torch.testing.assert_close(reward.double(), expected, atol=2e-6, rtol=0.0)


def test_a_state_of_flights_along_paths_continues_bit_for_bit():
    paths = (Circle(speed=1.0), FigureEight(speed=1.5, heading="along"))
    first, second = make(), make(seed=0)
    first.follow(table(first, *paths))
    fly(first, 40)
    second.follow(table(second, *paths))
    second.load_state_dict(first.state_dict())
    for _ in range(520):
        action = torch.full((32, 4), 0.5)
        expected, found = first.step(action), second.step(action)
        assert torch.equal(expected[1], found[1])
        assert torch.equal(expected[0]["student"], found[0]["student"])


def test_a_state_without_the_reference_is_refused():
    env = make()
    state = env.state_dict()
    env.follow(table(env, Circle()))
    with pytest.raises(ValueError, match="belongs to other paths"):
        env.load_state_dict(state)


def test_every_episode_draws_a_path_and_begins_where_the_path_does():
    overrides = ["env.init.origin_probability=1", "env.episode_steps=5"]
    env = make(256, overrides=overrides)
    paths = [Circle(amplitude=1.0 + k) for k in range(4)]
    env.follow(table(env, *paths))
    drawn = []
    for _ in range(20):
        radius = env.sim.pos_w[:, 0]
        assert torch.equal(radius, radius.round())
        drawn.append(radius.clone())
        for _ in range(5):
            env.step(torch.full((256, 4), 0.5))
    counts = torch.bincount(torch.cat(drawn).long(), minlength=5)[1:].double()
    expected = 20 * 256 / 4
    # Five standard deviations of a binomial count.
    assert (counts - expected).abs().max() < 5.0 * (expected * 0.75) ** 0.5


def test_the_last_sample_is_held_when_an_episode_outlives_its_path():
    env = make(overrides=["env.termination.position=1e6", "env.termination.velocity=1e6"])
    env.follow(table(env, Circle(), FigureEight()))
    path = env.path.clone()
    fly(env, 400)
    env.episode_length_buf = torch.zeros(32, dtype=torch.int64)
    fly(env, 300)
    still = env.episode_length_buf == 300
    assert still.any()
    assert torch.equal(env.path[still], path[still])
    times = np.array([5.0])
    ends = [kind().sample(times, np.random.default_rng(0)).position[0] for kind in (Circle, FigureEight)]
    expected = torch.as_tensor(np.array(ends)[path[still].numpy()], dtype=torch.float32)
    torch.testing.assert_close(env.reference.position[still], expected, atol=1e-6, rtol=0.0)


def test_a_state_of_other_paths_is_refused():
    env = make()
    env.follow(table(env, Circle()))
    state = env.state_dict()
    env.follow(table(env, Circle(speed=2.0)))
    with pytest.raises(ValueError, match="belongs to other paths"):
        env.load_state_dict(state)


def test_paths_that_are_shorter_than_an_episode_are_refused_with_the_length():
    env = make()
    times = np.arange(env.max_episode_length) * 0.01
    short = ReferenceTable(sample_many([Circle()], times, np.random.default_rng(0)), 0.01)
    with pytest.raises(ValueError, match="sample 501"):
        env.follow(short)


def test_samples_that_are_not_finite_are_refused():
    samples = sample_many([Circle()], np.arange(501) * 0.01, np.random.default_rng(0))
    position = samples.position.copy()
    position[0, 7, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        ReferenceTable(PathSamples(position, samples.velocity, samples.acceleration, samples.heading), 0.01)


def rms_error(preview, path=None):
    overrides = [*ONE, f"env.expert={{preview: {preview}}}", "env.init.origin_probability=1"]
    env = make(16, overrides=overrides)
    obs = env.follow(table(env, path or FigureEight(speed=1.5)))
    errors = []
    for step in range(400):
        obs, _, done, _ = env.step(obs["expert"])
        assert not done.any()
        if step >= 100:
            errors.append(obs["teacher"][:, :3].square().sum(1))
    return torch.stack(errors).mean().sqrt().item()


def test_the_expert_follows_within_millimetres_because_it_looks_ahead():
    assert rms_error(0.1) < 0.01
    assert rms_error(0.0) > 0.02


def test_the_expert_keeps_a_heading_that_turns_because_it_knows_its_rate():
    env = make(16, overrides=[*ONE, "env.expert={}", "env.init.origin_probability=1"])
    obs = env.follow(table(env, Circle(speed=1.0, heading="along")))
    for _ in range(300):
        obs, *_ = env.step(obs["expert"])
    # Columns of the rotation matrix: sine of the heading error. The heading turns at 1 rad/s.
    assert obs["teacher"][:, 6].abs().max() < 0.02
