"""Evaluations of any rsl_rl environment, on one whose returns are known."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
import yaml
from tensordict import TensorDict

import foundation
from foundation.distill import DaggerRunner
from foundation.evaluation import EvaluationError, evaluate, load_policy, write_report
from foundation.evaluation.intervals import interval, ratio_interval
from tests.support.hosts import HostEnv, ReusingEnv
from tests.support.runners import make
from tests.support.toy import RNN, CueEnv, TimedEnv, ToyEnv, runner_cfg

LENGTHS = torch.tensor([1, 3, 6, 6])
"""First episodes of the environments below; those of 6 steps reach the time limit."""


class KnownEnv(TimedEnv):
    """Pays action + 1 + seed / 10 in every step of a first episode of known length, and 1000 in all later ones."""

    num_actions = 2
    max_episode_length = 6

    def __init__(self, seed: int = 0) -> None:
        super().__init__(4, seed)
        self.seed, self.steps, self.closed = seed, 0, 0

    def get_observations(self) -> TensorDict:
        return TensorDict({"student": torch.ones(4, 3)}, batch_size=[4])

    def step(self, actions):
        self.steps += 1
        reward = torch.where(self.steps <= LENGTHS, actions[:, 0] + 1.0 + self.seed / 10.0, 1000.0)
        time_out = self.advance_time()
        done = time_out | (self.steps == LENGTHS)
        self.episode_length_buf[done] = 0
        return self.get_observations(), reward, done.long(), {"time_outs": time_out}

    def close(self) -> None:
        self.closed += 1


def constant(value: float):
    return lambda obs: torch.full((4, 2), value)


def test_return_length_and_time_outs_are_those_of_the_first_episode_of_every_environment():
    result = evaluate({"one": constant(0.5)}, KnownEnv, [0, 3])
    for row, seed in zip(result.metrics["one"], [0, 3], strict=True):
        assert row["mean_return"] == pytest.approx((LENGTHS * (1.5 + seed / 10)).mean().item(), rel=1e-6)
        assert (row["episode_length"], row["timed_out"]) == (4.0, 0.5)


def test_means_and_intervals_over_the_seeds_are_students_t():
    stats = pytest.importorskip("scipy.stats")
    result = evaluate({"one": constant(0.0)}, KnownEnv, [0, 1, 5, 7])
    returns = 4.0 * (1.0 + np.array([0, 1, 5, 7]) / 10)
    low, high = stats.t.interval(0.95, 3, returns.mean(), stats.sem(returns))
    found = result.summary["one"]["mean_return"]
    assert found.mean == pytest.approx(returns.mean(), rel=1e-6)
    assert found.half == pytest.approx((high - low) / 2, rel=5e-4)


def test_the_first_policy_is_what_the_others_are_compared_with():
    result = evaluate({"teacher": constant(1.0), "student": constant(0.5), "weak": constant(0.0)}, KnownEnv, [0])
    assert {name: value.mean for name, value in result.relative_return.items()} == pytest.approx(
        {"student": 0.75, "weak": 0.5}
    )
    header, rows = result.table()
    assert header == ["policy", "mean return", "episode length [steps]", "timed out", "of teacher's return"]
    assert rows[1] == ["student", "6.00", "4.0", "50.00 %", "75.00 %"]
    assert rows[0][-1] == "-"
    assert str(result).startswith("4 episodes of 6 steps, seed 0\npolicy ")


def test_a_share_of_a_return_that_is_not_positive_is_left_out():
    result = evaluate({"teacher": constant(-1.0), "student": constant(0.5)}, KnownEnv, [0])
    assert result.relative_return["student"].mean is None
    assert result.share is None


def test_the_interval_of_a_ratio_leaves_out_what_both_have_in_common_and_covers_95_percent():
    reference = [1.0, 2.0, 4.0]
    assert ratio_interval([0.5, 1.0, 2.0], reference).half == pytest.approx(0.0, abs=1e-12)
    assert interval([0.5, 1.0, 2.0]).half > 1.0
    rng, covered = np.random.default_rng(0), 0
    for _ in range(4000):
        x = rng.normal(10.0, 0.5, 5)
        found = ratio_interval((0.9 * x + rng.normal(0.0, 0.2, 5)).tolist(), x.tolist())
        covered += abs(found.mean - 0.9) <= found.half
    # Four standard errors of 4000 draws.
    assert covered / 4000 == pytest.approx(0.95, abs=0.014)


class Remembering:
    """Repeats the cue that it saw when its memory was last empty."""

    def __init__(self) -> None:
        self.cue = torch.zeros(64, 1)
        self.seen: list[torch.Tensor] = []

    def __call__(self, obs):
        self.cue = torch.where(self.cue == 0.0, obs["student"], self.cue)
        return self.cue

    def reset(self, dones):
        self.seen.append(dones.clone())
        self.cue = torch.where(dones[:, None] > 0, 0.0, self.cue)


def cues(seed):
    return CueEnv(seed=seed)


def test_a_recurrent_policy_starts_each_seed_with_an_empty_memory_and_is_reset_where_episodes_end():
    policy = Remembering()
    result = evaluate({"one": policy}, cues, [0, 1, 2])
    assert [row["mean_return"] for row in result.metrics["one"]] == [CueEnv.OPTIMUM] * 3
    ends = torch.tensor([1, 0, 0, 0, 0, 0, 1] * 3)
    assert torch.equal(torch.stack(policy.seen).float().mean(-1), ends)

    class Forgetful(Remembering):
        reset = None

    # Negative control: the memory of another seed costs the return.
    assert evaluate({"one": Forgetful()}, cues, [0, 1]).metrics["one"][1]["mean_return"] < 3.0


def test_a_model_acts_with_its_mean_and_an_empty_memory_and_is_afterwards_what_it_was():
    runner = make(env=CueEnv(8), student={**RNN, "rnn_type": "gru"}, runner=DaggerRunner, log_dir=None)
    runner.learn(1)
    model = runner.alg.student
    model.train()
    hidden = model.get_hidden_state().clone()
    first = evaluate({"student": model}, cues, [0])
    again = evaluate({"student": model}, cues, [0])
    assert first.metrics == again.metrics
    assert model.training
    assert torch.equal(model.get_hidden_state(), hidden)


def test_a_run_that_is_evaluated_between_two_calls_of_learn_is_the_run_that_is_not():
    finals = []
    for look in (False, True):
        runner = make(env=CueEnv(8), student={**RNN, "rnn_type": "gru"}, runner=DaggerRunner, log_dir=None)
        torch.manual_seed(1)
        runner.learn(2)
        if look:
            evaluate({"student": runner.alg.student}, cues, [0])
        runner.learn(2)
        finals.append(runner.alg.student.state_dict())
    assert all(torch.equal(value, finals[1][name]) for name, value in finals[0].items())


def test_a_checkpoint_of_a_foreign_run_is_evaluated_as_its_model_is(tmp_path):
    cfg = runner_cfg(max_buffer_size=1000)
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "agent.yaml").write_text(yaml.dump(json.loads(json.dumps(cfg))))
    runner = DaggerRunner(ToyEnv(), cfg, str(tmp_path))
    runner.alg.teacher_loaded = True
    runner.learn(2)

    def toy(seed):
        return ToyEnv(16, seed)

    loaded = load_policy(tmp_path / "model_1.pt", toy(0).get_observations(), 2, "cpu")
    result = evaluate({"model": runner.alg.student, "file": loaded}, toy, [3, 4])
    assert result.metrics["model"] == result.metrics["file"]
    assert result.task == "ToyEnv"


def test_an_environment_that_overwrites_its_tensors_is_measured_as_one_that_does_not():
    def policy(obs):
        return obs["teacher"]

    fresh = evaluate({"one": policy}, lambda seed: ToyEnv(8, seed), [0, 1])
    reused = evaluate({"one": policy}, lambda seed: ReusingEnv(ToyEnv(8, seed)), [0, 1])
    assert fresh.metrics == reused.metrics


class ShapedEnv(HostEnv):
    """Returns what ``change`` makes of a step's rewards, done flags and extras."""

    def __init__(self, change, env=None) -> None:
        super().__init__(env or KnownEnv())
        self._change = change

    def step(self, actions):
        obs, *others = super().step(actions)
        return obs, *self._change(*others)


def test_rewards_flags_and_time_outs_may_have_a_column_and_any_type():
    def change(rewards, dones, extras):
        time_outs = extras["time_outs"].float()[:, None]
        return rewards.half()[:, None], dones.bool()[:, None], {"time_outs": time_outs}

    expected = evaluate({"one": constant(0.5)}, KnownEnv, [0])
    assert evaluate({"one": constant(0.5)}, lambda seed: ShapedEnv(change), [0]).metrics == expected.metrics


def test_without_time_outs_the_share_is_left_out():
    result = evaluate({"one": constant(0.5)}, lambda seed: ShapedEnv(lambda *step: (*step[:2], {})), [0])
    assert result.metrics["one"][0]["timed_out"] is None
    assert result.table()[1][0][3] == "-"


def test_episodes_that_have_not_ended_are_left_out_and_said(capsys):
    result = evaluate({"one": constant(0.0)}, KnownEnv, [0], steps=3)
    assert "2 of 4 episodes had not ended after 3 steps and do not count" in capsys.readouterr().out
    assert result.metrics["one"][0]["episode_length"] == 2.0


def test_every_environment_is_closed_once_also_after_an_error():
    made: list[KnownEnv] = []

    def factory(seed):
        made.append(KnownEnv(seed))
        return made[-1]

    evaluate({"one": constant(0.0), "two": constant(1.0)}, factory, [0, 1])
    with pytest.raises(EvaluationError):
        evaluate({"bad": lambda obs: None}, factory, [2])
    assert [env.seed for env in made] == [0, 1, 0, 1, 2]
    assert [env.closed for env in made] == [1] * 5


def not_finite(value):
    def change(rewards, dones, extras):
        return rewards.index_fill(0, torch.tensor([2]), value), dones, extras

    return lambda seed: ShapedEnv(change)


def mid_episode(seed):
    env = KnownEnv(seed)
    env.step(torch.zeros(4, 2))
    return env


def endless(seed):
    return ShapedEnv(lambda rewards, dones, extras: (rewards, torch.zeros_like(dones), {}))


ERRORS = {
    "no policies": ({}, KnownEnv, [0], "there are no policies to evaluate"),
    "no mapping": ([constant(0.0)], KnownEnv, [0], "policies must be a mapping by name"),
    "path": ({"one": "model_5.pt"}, KnownEnv, [0], "policy 'one' is a str, expected a function .*load_policy"),
    "environment itself": (None, KnownEnv(), [0], "make_env is a KnownEnv, expected a function from a seed"),
    "one seed": (None, KnownEnv, 5, r"seeds must be several numbers, such as range\(5\), got 5"),
    "no seeds": (None, KnownEnv, [], r"there must be 1 \.\.\. 30 seeds, got 0"),
    "many seeds": (None, KnownEnv, range(31), r"there must be 1 \.\.\. 30 seeds, got 31"),
    "equal seeds": (None, KnownEnv, [1, 1], r"seeds must differ, got \[1, 1\]"),
    "no environment": (None, lambda seed: {}, [0], "make_env returned a dict, expected an rsl_rl VecEnv"),
    "narrow": (
        {"one": lambda obs: torch.zeros(4, 3)},
        KnownEnv,
        [7],
        r"policy 'one', seed 7: its actions must be a tensor of shape \(4, 2\) .*, got shape \(4, 3\)",
    ),
    "few": ({"one": lambda obs: torch.zeros(3, 2)}, KnownEnv, [0], r"got shape \(3, 2\)"),
    "tuple": ({"one": lambda obs: (torch.zeros(4, 2),)}, KnownEnv, [0], r"\(num_envs, num_actions\), got tuple"),
    "nan action": ({"one": constant(float("nan"))}, KnownEnv, [0], "its action in environment 0 is not finite"),
    "nan": (None, not_finite(float("nan")), [0], "environment 2 returned the reward nan in step 0"),
    "infinity": (None, not_finite(float("inf")), [0], "environment 2 returned the reward inf in step 0"),
    "endless": (None, endless, [0], "no episode ended within 6 steps; give more steps"),
    "in the middle": (None, mid_episode, [0], r"environment 1 is in the middle of an episode \(.*buf 1\)"),
}


@pytest.mark.parametrize(("policies", "make_env", "seeds", "message"), ERRORS.values(), ids=ERRORS)
def test_what_cannot_be_evaluated_is_one_line(policies, make_env, seeds, message):
    with pytest.raises(EvaluationError, match=message) as caught:
        evaluate({"one": constant(0.0)} if policies is None else policies, make_env, seeds)
    assert "\n" not in str(caught.value)


def test_no_reward_after_the_first_episode_matters():
    def change(rewards, dones, extras):
        return torch.where(rewards > 500.0, torch.nan, rewards), dones, extras

    expected = evaluate({"one": constant(0.0)}, KnownEnv, [0])
    assert evaluate({"one": constant(0.0)}, lambda seed: ShapedEnv(change), [0]).metrics == expected.metrics


def test_steps_below_one_are_refused():
    with pytest.raises(EvaluationError, match="steps must be at least 1, got 0"):
        evaluate({"one": constant(0.0)}, KnownEnv, [0], steps=0)


def test_the_report_has_the_table_and_each_seed_and_loads_nothing_from_elsewhere(tmp_path):
    result = evaluate({"teacher <1>": constant(1.0), "student": constant(0.5)}, KnownEnv, [0, 1])
    write_report(result, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<h1>Returns of teacher &lt;1&gt; and student</h1>" in text
    assert all(f"<td>{cell}</td>" in text for row in result.table()[1] for cell in row[1:])
    assert "<tr><td>1</td><td>8.4</td><td>6.4</td></tr>" in text
    assert "KnownEnv: 4 episodes of 6 steps with each of the seeds 0 to 1" in text
    assert not re.search(r"""(?:src|href)=["']https?:""", text)


def test_quadrotors_keep_their_own_metrics_whatever_their_policies_are_called(tmp_path):
    def make_env(seed):
        return foundation.make_env("distillation", 8, seed=seed, overrides=["env.episode_steps=30"])

    def hover(obs):
        return obs["teacher"][:, 29:30].expand(-1, 4)

    policies = {"_hover $1": hover, "fall": lambda obs: torch.full((8, 4), -1.0)}
    result = evaluate(policies, make_env, [0, 1])
    assert result.table()[0][1:6] == ["survival", "mean return", "position RMSE [m]", "settle time [s]", "settled"]
    assert result.task == "PointCtrlEnv"
    write_report(result, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert all(title in text for title in ("Agreement of fall and _hover $1", "Error over time", "Paths, fall"))
    # Negative control: without the recordings there is nothing to draw.
    assert evaluate(policies, make_env, [0], record_flights=False).flights == {}
