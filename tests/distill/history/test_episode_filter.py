"""Labels from good episodes only, against a list of episodes."""

from __future__ import annotations

import pytest
import torch

from foundation.distill import DaggerRunner
from tests.support.runners import make, stock_runner, student
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint


class SuccessEnv(ToyEnv):
    """Episodes of 4 to 13 steps, of which those that an even number of steps long are a success."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.clock = 0
        self.length = torch.randint(4, 14, (self.num_envs,), generator=self.generator)
        self.episode = torch.zeros(self.num_envs, dtype=torch.long)
        self.log: list[tuple[int, int, int]] = []  # (environment, first step, length) of ended episodes

    def step(self, actions):
        obs, reward, _, extras = super().step(actions)
        self.clock += 1
        self.episode += 1
        done = self.episode >= self.length
        success = self.length % 2 == 0
        for env in done.nonzero()[:, 0].tolist():
            self.log.append((env, self.clock - int(self.length[env]), int(self.length[env])))
        self.length = torch.where(
            done, torch.randint(4, 14, (self.num_envs,), generator=self.generator), self.length
        )
        self.episode[done] = 0
        return obs, reward, done.long(), {"time_outs": done, "success": success & done, **extras}


def even(rewards, dones, extras):
    """Judge as the environment does."""
    return extras["success"]


FILTERS = ["success", "tests.distill.history.test_episode_filter:even", even]


def watch(runner) -> dict[tuple[int, int], list[float]]:
    """Return a dictionary that collects the student's observation by environment and step."""
    seen: dict[tuple[int, int], list[float]] = {}
    original = runner.alg.process_env_step

    def spy(*args):
        for env, obs in enumerate(runner.alg.transition.observations["student"].tolist()):
            seen[env, runner.env.clock - 1] = obs
        original(*args)

    runner.alg.process_env_step = spy
    return seen


def expected(env: SuccessEnv, seen) -> list[tuple[float, ...]]:
    steps = [
        (index, t) for index, first, length in env.log if length % 2 == 0 for t in range(first, first + length)
    ]
    return sorted(tuple(seen[step]) for step in steps)


@pytest.mark.parametrize("episode_filter", FILTERS)
@pytest.mark.parametrize("recurrent", [False, True])
def test_exactly_the_steps_of_good_episodes_are_trained_however_many_rollouts_they_span(episode_filter, recurrent):
    env = SuccessEnv()
    options = {"episode_filter": episode_filter, "max_buffer_size": 10_000, "steps": 6, "gradient_length": 4}
    runner = make(env, student=student("gru") if recurrent else None, **options)
    seen = watch(runner)
    runner.alg.update = lambda: (
        runner.alg.dataset.append(runner.alg.phases), runner.alg.storage.clear(), {"behavior": 0.0},
    )[-1]  # fmt: skip
    runner.learn(12)
    rows = runner.alg.history[:]
    if recurrent:
        # A window waits for all its episodes: the newest good ones may still be held back.
        trained = sorted(map(tuple, rows["obs/student"][rows["trained"]].tolist()))
        assert set(trained) <= set(expected(env, seen))
        unfinished = sum(len(held) for held in runner.alg.dataset.filter.held_back) * 4
        assert len(trained) >= len(expected(env, seen)) - unfinished
        assert len(trained) > 100
    else:
        assert sorted(map(tuple, rows["obs/student"].tolist())) == expected(env, seen)
    assert 0 < len(expected(env, seen)) < 0.7 * 12 * 6 * 6


def test_without_a_filter_all_steps_are_trained():
    runner = make(SuccessEnv(), max_buffer_size=10_000)
    runner.learn(3)
    assert len(runner.alg.history) == 180


def test_before_the_first_good_episode_the_update_says_so_and_changes_no_weight(capsys):
    class Failing(ToyEnv):
        def step(self, actions):
            obs, reward, done, _ = super().step(actions)
            return obs, reward, done, {"success": torch.zeros(self.num_envs)}

    runner = make(Failing(), episode_filter="success")
    before = runner.alg.student.mlp[0].weight.clone()
    runner.learn(3)
    assert capsys.readouterr().out.count("[DAgger] No gradient step: episode_filter=success has let no") == 3
    assert torch.equal(runner.alg.student.mlp[0].weight, before)


def test_episodes_that_never_end_are_refused_before_they_fill_the_memory():
    class Endless(ToyEnv):
        max_episode_length = 10**9

    runner = make(Endless(), episode_filter="time_outs", max_buffer_size=100)
    runner.alg.dataset.append(runner.alg.phases)
    with pytest.raises(ValueError, match="holds 120 transitions back, more than max_buffer_size=100"):
        runner.alg.dataset.append(runner.alg.phases)


def test_a_key_that_the_environment_does_not_have_and_a_function_that_is_not_there_are_refused():
    with pytest.raises(ValueError, match="episode_filter=solved is no key of the environment's extras, which are"):
        make(SuccessEnv(), episode_filter="solved").learn(1)
    with pytest.raises(ValueError, match="episode_filter=nowhere:function cannot be imported"):
        stock_runner(episode_filter="nowhere:function")


def test_a_resumed_run_holds_back_what_the_uninterrupted_one_does(tmp_path):
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")

    def build(name, seed=0):
        torch.manual_seed(seed)
        cfg = runner_cfg(
            episode_filter="time_outs", max_buffer_size=150, mini_batch_size=16, phase1_iterations=0,
            teacher_checkpoint=str(tmp_path / "teacher.pt"), steps=13,
        )  # fmt: skip
        return DaggerRunner(ToyEnv(), cfg, str(tmp_path / name), "cpu")

    whole, first, second = build("whole"), build("first"), build("second", seed=9)
    for runner, iterations in ((whole, 6), (first, 3)):
        torch.manual_seed(1)
        runner.learn(iterations)
    second.load(str(tmp_path / "first" / "model_2.pt"))
    second.learn(3)
    for name, value in whole.alg.student.state_dict().items():
        assert torch.equal(second.alg.student.state_dict()[name], value), name
    assert whole.alg.dataset.filter.num_held_back() > 0


@pytest.mark.parametrize(("result", "got"), [(True, "bool"), (torch.ones(3), r"\(3,\)")])
def test_a_predicate_that_does_not_judge_every_environment_is_refused(result, got):
    with pytest.raises(ValueError, match=rf"one truth value per environment, shape \(6,\); got {got}"):
        make(SuccessEnv(), episode_filter=lambda *_: result).learn(1)


def test_our_runner_refuses_at_construction_a_history_smaller_than_the_episodes_that_wait():
    with pytest.raises(ValueError, match=r"must be at least 72 \(num_envs \* max_episode_length\), got 71"):
        make(ToyEnv(), runner=DaggerRunner, episode_filter="time_outs", max_buffer_size=71)
