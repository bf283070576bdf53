"""Runs in environments of others: counters, hooks after a save, and what a continued run begins with."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from rsl_rl.runners import DistillationRunner, OnPolicyRunner

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.checkpoint import load_checkpoint
from tests.support.hosts import HostEnv
from tests.support.runners import make, weights
from tests.support.toy import ToyEnv, ppo_cfg


class Inner:
    """What a host wraps: a count of steps, of which the reward is made, as curricula do."""

    def __init__(self) -> None:
        self.common_step_counter = 0


class CountingHost(HostEnv):
    """Keeps no state of its episodes; the reward grows with every step since training began."""

    def __init__(self, env=None) -> None:
        super().__init__(env or ToyEnv())
        self.unwrapped = Inner()
        self.paid: list[int] = []

    def step(self, actions):
        obs, rewards, dones, extras = super().step(actions)
        self.unwrapped.common_step_counter += 1
        self.paid.append(int(self.unwrapped.common_step_counter))
        return obs, rewards + self.unwrapped.common_step_counter, dones, extras


class Curriculum(CountingHost):
    """Has levels that its episodes raise, offered for saving."""

    def __init__(self, env=None) -> None:
        super().__init__(env)
        self.levels = torch.zeros(6)

    def get_training_state(self):
        return {"levels": self.levels}

    def set_training_state(self, state):
        self.levels = state["levels"]

    def step(self, actions):
        self.levels += 1
        return super().step(actions)


def ppo(env, folder=None, **cfg) -> PpoRunner:
    torch.manual_seed(0)
    return PpoRunner(env, ppo_cfg(10) | cfg, folder and str(folder))


def dagger(env, folder=None, **options) -> DaggerRunner:
    return make(env, runner=DaggerRunner, log_dir=folder, **options)


@pytest.mark.parametrize("build", [ppo, dagger])
def test_a_counter_that_the_reward_depends_on_continues_where_the_checkpoint_was(build, tmp_path, capsys):
    build(CountingHost(), tmp_path / "first").learn(2)
    env = CountingHost()
    second = build(env, tmp_path / "second")
    second.load(str(tmp_path / "first" / "model_1.pt"))
    second.learn(1)
    assert env.paid == list(range(21, 31))
    lines = [line for line in capsys.readouterr().out.splitlines() if "[Resume]" in line]
    assert lines == [
        "[Resume] the environment keeps no state: its episodes start afresh; common_step_counter (20) continues "
        "from the checkpoint"
    ]


def test_without_the_counter_in_the_checkpoint_the_reward_begins_anew(tmp_path):
    """Negative control."""
    ppo(HostEnv(ToyEnv()), tmp_path / "first").learn(2)
    env = CountingHost()
    second = ppo(env)
    second.load(str(tmp_path / "first" / "model_1.pt"))
    second.learn(1)
    assert env.paid == list(range(1, 11))


def test_what_an_environment_offers_as_training_state_is_restored_with_the_counter(tmp_path, capsys):
    ppo(Curriculum(), tmp_path).learn(2)
    env = Curriculum()
    ppo(env).load(str(tmp_path / "model_1.pt"))
    assert torch.equal(env.levels, torch.full((6,), 20.0))
    assert env.unwrapped.common_step_counter == 20
    assert "training_state and common_step_counter (20) continues" in capsys.readouterr().out


def test_the_methods_may_be_those_of_the_wrapped_environment(tmp_path):
    class Wrapping(HostEnv):
        def __init__(self) -> None:
            super().__init__(Curriculum())
            self.unwrapped = self.env

    ppo(Wrapping(), tmp_path).learn(1)
    env = Wrapping()
    ppo(env).load(str(tmp_path / "model_0.pt"))
    assert torch.equal(env.env.levels, torch.full((6,), 10.0))


def test_an_environment_without_a_place_for_the_state_is_told_and_the_rest_is_restored(tmp_path, capsys):
    ppo(Curriculum(), tmp_path).learn(1)
    env = CountingHost()
    ppo(env).load(str(tmp_path / "model_0.pt"))
    out = capsys.readouterr().out
    assert "training_state of the earlier run is not restored: the environment has no set_training_state" in out
    assert env.unwrapped.common_step_counter == 10
    ppo(HostEnv(ToyEnv())).load(str(tmp_path / "model_0.pt"))
    assert "the environment has no common_step_counter" in capsys.readouterr().out


def test_training_state_that_could_not_be_loaded_again_is_said_once_and_costs_nothing_else(tmp_path, capsys):
    class Odd(Curriculum):
        def get_training_state(self):
            return {"path": Path("x")}

    ppo(Odd(), tmp_path, save_interval=1).learn(3)
    assert capsys.readouterr().out.count("the environment's training_state holds more than tensors") == 1
    env = CountingHost()
    ppo(env).load(str(tmp_path / "model_2.pt"))
    assert env.unwrapped.common_step_counter == 30


@pytest.mark.parametrize("counter", [torch.tensor(0), torch.zeros(1, dtype=torch.long).numpy()[0]])
def test_the_counter_may_be_a_tensor_or_of_numpy(counter, tmp_path):
    env = CountingHost()
    env.unwrapped.common_step_counter = counter
    ppo(env, tmp_path).learn(1)
    again = CountingHost()
    ppo(again).load(str(tmp_path / "model_0.pt"))
    assert int(again.unwrapped.common_step_counter) == 10


def test_a_counter_that_is_a_tensor_is_restored_in_its_own_memory(tmp_path):
    ppo(CountingHost(), tmp_path).learn(1)
    env = CountingHost()
    held = env.unwrapped.common_step_counter = torch.tensor(0)
    ppo(env).load(str(tmp_path / "model_0.pt"))
    assert held.item() == 10


def test_the_counter_in_a_checkpoint_of_mjlabs_own_runner_continues(tmp_path, capsys):
    torch.manual_seed(0)
    stock = OnPolicyRunner(ToyEnv(), ppo_cfg(10), None, "cpu")
    stock.save(str(tmp_path / "model_7.pt"), {"env_state": {"common_step_counter": 1234}})
    env = CountingHost()
    ppo(env).load(str(tmp_path / "model_7.pt"))
    assert env.unwrapped.common_step_counter == 1234
    assert "begin anew; common_step_counter (1234) continues" in capsys.readouterr().out


# What runs after a save.


@pytest.mark.parametrize("build", [ppo, dagger])
def test_a_hook_is_called_once_for_every_file_when_it_is_complete(build, tmp_path):
    options = {"save_interval": 2} if build is ppo else {}
    runner = build(ToyEnv(), tmp_path, **options)
    runner.cfg["save_interval"] = 2
    seen = []

    def hook(path: Path) -> None:
        load_checkpoint(path)
        assert path.with_name(f"{path.stem}.manifest.json").is_file()
        seen.append(path.name)

    runner.after_save.append(hook)
    runner.learn(5)
    numbered = [name for name in seen if name != "best_model.pt"]
    # Iteration 4 ends a save interval and the run: rsl_rl asks for it twice.
    assert numbered == ["model_0.pt", "model_2.pt", "model_4.pt"]
    assert "best_model.pt" in seen


@pytest.mark.parametrize("build", [ppo, dagger])
def test_a_run_with_hooks_that_fail_draw_and_change_modes_is_the_run_without(build, tmp_path, capsys):
    def failing(path: Path) -> None:
        torch.rand(3)
        runner.get_inference_policy()
        raise RuntimeError("no room\nfor ONNX")

    finals = []
    for name in ("without", "with"):
        runner = build(ToyEnv(), tmp_path / name)
        runner.cfg["save_interval"] = 1
        if name == "with":
            runner.after_save.append(failing)
        torch.manual_seed(5)
        runner.learn(4)
        finals.append(runner.alg.get_policy().state_dict())
    assert all(torch.equal(value, finals[1][key]) for key, value in finals[0].items())
    out = capsys.readouterr().out
    assert "failing failed after model_1.pt was saved, training goes on: RuntimeError: no room for ONNX\n" in out


def test_a_failing_hook_leaves_the_others_and_a_file_that_was_not_written_calls_none(tmp_path, capsys):
    runner, seen = ppo(ToyEnv(), tmp_path / "run"), []
    runner.after_save += [lambda path: 1 / 0, seen.append]
    runner.learn(1)
    assert tmp_path / "run" / "model_0.pt" in seen
    seen.clear()
    runner.save(str(tmp_path / "run" / "model_0.pt" / "x.pt"))
    assert seen == []
    assert "x.pt was not saved" in capsys.readouterr().out


def test_a_subclass_that_overrides_save_as_mjlabs_does_is_asked_for_every_checkpoint(tmp_path):
    class Exporting(PpoRunner):
        def save(self, path, infos=None):
            super().save(path, {**(infos or {}), "robot": "go1"})
            Path(path).with_suffix(".onnx").write_text("network")

    runner = Exporting(ToyEnv(), ppo_cfg(10) | {"save_interval": 2}, str(tmp_path))
    runner.learn(4)
    assert sorted(path.stem for path in tmp_path.glob("*.onnx")) == ["best_model", "model_0", "model_2", "model_3"]
    again = PpoRunner(ToyEnv(), ppo_cfg(10), None)
    assert again.load(str(tmp_path / "model_3.pt")) == {"robot": "go1"}
    assert again.current_learning_iteration == 4


# What a continued run begins with.


def test_under_rsl_rls_own_runner_a_continued_run_says_that_its_history_is_empty(tmp_path, capsys):
    make(log_dir=tmp_path).learn(3)
    second = make()
    second.load(str(tmp_path / "model_2.pt"))
    assert len(second.alg.history) == 0
    capsys.readouterr()
    second.learn(1)
    second.learn(1)
    assert capsys.readouterr().out.count("continues at iteration 2 with an empty history") == 1


@pytest.mark.parametrize(
    "case", ["new run", "teacher loaded", "no dagger", "our runner", "no run state", "by hand"]
)
def test_where_there_is_no_history_to_miss_nothing_is_said(case, tmp_path, capsys):
    options = {"use_dagger": False} if case == "no dagger" else {}
    first = make(log_dir=tmp_path / "first", runner=DaggerRunner, **options)
    first.learn(2)
    checkpoint = tmp_path / "first" / "model_1.pt"
    ours = case in ("our runner", "no run state")
    second = make(runner=DaggerRunner if ours else DistillationRunner, **options)
    if case == "teacher loaded":
        ppo(ToyEnv(), tmp_path / "teacher").learn(1)
        second.load(str(tmp_path / "teacher" / "model_0.pt"))
    elif case != "new run":
        if case == "no run state":
            checkpoint.with_name("model_1.manifest.json").unlink()
        second.load(str(checkpoint))
    if case == "by hand":
        second.alg.load_training_state(first.alg.training_state(), env_restored=False)
    second.learn(1)
    out = capsys.readouterr().out
    assert "empty history" not in out
    assert ("history, environment and random states begin anew" in out) == (case == "no run state")


class RemembersItsStart:
    """Remembers the lengths of its episodes at the first step that it makes."""

    first = None

    def step(self, actions):
        if self.first is None:
            self.first = self.episode_length_buf.clone()
        return super().step(actions)


class Starts(RemembersItsStart, ToyEnv):
    """Episodes that are saved and restored."""


class Forgetful(RemembersItsStart, HostEnv):
    """Episodes that are not."""


@pytest.mark.parametrize("build", [ppo, dagger])
def test_restored_episodes_are_not_drawn_anew_and_the_run_is_the_uninterrupted_one(build, tmp_path, capsys):
    whole = build(Starts(), tmp_path / "whole")
    whole.learn(4, init_at_random_ep_len=True)
    first = build(Starts(), tmp_path / "first")
    first.learn(2, init_at_random_ep_len=True)
    assert first.env.first.float().std() > 0.0
    second = build(Starts(), tmp_path / "second")
    second.load(str(tmp_path / "first" / "model_1.pt"))
    second.learn(2, init_at_random_ep_len=True)
    assert torch.equal(second.env.first, (first.env.first + 20) % 12)
    for name, value in whole.alg.get_policy().state_dict().items():
        assert torch.equal(value, second.alg.get_policy().state_dict()[name])
    assert capsys.readouterr().out.count("init_at_random_ep_len does not draw their lengths") == 1


@pytest.mark.parametrize("build", [ppo, dagger])
def test_where_the_episodes_could_not_be_restored_they_are_drawn(build, tmp_path):
    build(Forgetful(ToyEnv()), tmp_path / "first").learn(1)
    for random, spread in ((True, True), (False, False)):
        second = build(Forgetful(ToyEnv()), None)
        second.load(str(tmp_path / "first" / "model_0.pt"))
        second.learn(1, init_at_random_ep_len=random)
        assert (second.env.first.float().std() > 0.0) == spread


def test_rsl_rls_own_runner_draws_them_as_it_restores_none(tmp_path):
    make(Starts(), log_dir=tmp_path).learn(1)
    second = make(Starts())
    second.load(str(tmp_path / "model_0.pt"))
    second.learn(1, init_at_random_ep_len=True)
    assert second.env.first.float().std() > 0.0
    assert weights(second)


def test_environments_of_different_episodes_are_drawn_within_the_longest(tmp_path):
    env = Starts()
    env.max_episode_length = torch.tensor([3, 4, 5, 6, 7, 1000])
    dagger(env).learn(1, init_at_random_ep_len=True)
    assert 7 < int(env.first.max()) < 1000
