"""NaN and infinity from the environment, the teacher and the loss."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill import NonFiniteError, PpoRunner, replay
from foundation.distill.checkpoint import load_checkpoint
from tests.support.run_state import NoisyEnv
from tests.support.saving_runs import build, quiet
from tests.support.toy import RNN, ToyEnv, ppo_cfg, runner_cfg

MIXED = {"teacher_schedule": "constant", "teacher_fraction": 0.5}
BAD_ENVS, BAD_STEP, BAD_ITERATION = [1, 4], 7, 3


WHEN = pytest.mark.parametrize("defers", [False, True], ids=["told at once", "told when the update ends"])
"""The latter is what a run on a GPU does."""


class Failing(NoisyEnv):
    """What two environments see or earn is spoilt in one step of the fourth iteration."""

    def __init__(self, value: float = math.nan, where: str = "observations") -> None:
        super().__init__()
        self.value, self.where, self.steps = value, where, 0

    def step(self, actions):
        obs, reward, done, extras = super().step(actions)
        # Observations of a step are those that the next one acts on.
        due = 10 * BAD_ITERATION + BAD_STEP - (self.where == "observations")
        if self.steps == due:
            if self.where == "observations":
                obs["student"][BAD_ENVS] = self.value
            else:
                reward[BAD_ENVS] = self.value
        self.steps += 1
        return obs, reward, done, extras

    def state_dict(self):
        return super().state_dict() | {"steps": self.steps}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.steps = state["steps"]


def weights(runner) -> dict[str, torch.Tensor]:
    return copy.deepcopy(runner.alg.student_model.state_dict())


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("where", ["observations", "rewards"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("options", [{}, MIXED], ids=["one drives", "both drive"])
@WHEN
def test_the_environments_are_named_the_weights_untouched_and_the_dump_repeats_the_step(
    tmp_path, where, value, options, defers
):
    with quiet():
        runner = build(tmp_path / "run", env=Failing(value, where), **options)
        runner.alg.nan_guard.defers = defers
        runner.learn(BAD_ITERATION)
        before = weights(runner)
        with pytest.raises(NonFiniteError) as caught:
            runner.learn(5)
    message = str(caught.value)
    name = "observations/student" if where == "observations" else "rewards"
    assert name in message
    assert f"of environments {BAD_ENVS}, step {BAD_STEP} of iteration {BAD_ITERATION}" in message
    assert "on_nan=skip" in message
    assert same(weights(runner), before)

    path = tmp_path / "run" / f"not_finite_{BAD_ITERATION}.pt"
    assert f"what was seen is in {path}" in message
    dump = load_checkpoint(path)
    assert dump["env_ids"].tolist() == BAD_ENVS
    steps = list(replay(path, Failing(value, where)))
    assert len(steps) == BAD_STEP + 1
    seen = steps[BAD_STEP - 1][0]["student"] if where == "observations" else steps[BAD_STEP][1]
    expected = dump["values"][name]
    if where == "rewards":
        expected = expected[:, 0]
        # The reward's noise comes from global generators; that it is spoilt, and where, does not.
        seen, expected = torch.isfinite(seen), torch.isfinite(expected)
    assert torch.equal(seen.nan_to_num(5.0), expected.nan_to_num(5.0))


def test_a_history_that_was_spoilt_before_anybody_knew_is_neither_saved_nor_trained_on(tmp_path, capsys):
    runner = build(tmp_path / "run", env=Failing())
    runner.alg.nan_guard.defers = True
    with quiet():
        runner.learn(BAD_ITERATION)
        files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        with pytest.raises(NonFiniteError):
            runner.learn(5)
    runner._save_interrupted()
    assert "nothing is saved" in capsys.readouterr().out
    kept = sorted(path for path in tmp_path.rglob("*") if path.is_file() and "not_finite" not in path.name)
    assert [path for path in kept if "tfevents" not in path.name] == [p for p in files if "tfevents" not in p.name]
    with pytest.raises(ValueError, match="go on from a checkpoint"):
        runner.alg.update()


@WHEN
def test_a_teacher_that_gives_nan_is_named(tmp_path, defers):
    with quiet():
        runner = build(tmp_path / "run")
        runner.alg.nan_guard.defers = defers
        with torch.no_grad():
            runner.alg.teacher.mlp[0].weight[0, 0] = math.nan
        before = weights(runner)
        with pytest.raises(NonFiniteError, match=r"teacher_actions of environments \[0, 1, 2, 3, 4, 5\], step 0"):
            runner.learn(5)
    assert same(weights(runner), before)


@pytest.mark.parametrize("use_dagger", [True, False])
def test_a_loss_that_overflows_leaves_the_weights_as_they_were(tmp_path, use_dagger):
    options = {} if use_dagger else {"use_dagger": False, "gradient_length": 5}
    with quiet():
        runner = build(tmp_path / "run", use_two_stage_training=False, **options)
        runner.alg.optimizer.param_groups[0]["lr"] = 1e-3
        with torch.no_grad():
            runner.alg.teacher.mlp[2].bias.fill_(1e25)  # whose square is infinite
        before = weights(runner)
        with pytest.raises(NonFiniteError, match="in the loss or its gradient, iteration 0"):
            runner.learn(1)
    after = weights(runner)
    trained = [name for name in before if "normalizer" not in name]
    assert same({name: before[name] for name in trained}, after)
    dump = load_checkpoint(tmp_path / "run" / "not_finite_0.pt")
    assert same({name: dump["student_state_dict"][name] for name in trained}, before)


def overflow_in_the_third_step(folder, defers, optimizer):
    """Return the error of an update whose third mini-batch is spoilt, and the runner with its weights."""
    runner = build(folder, use_two_stage_training=False, optimizer=optimizer)
    assert bool(runner.alg.optimizer.defaults["fused"])
    runner.alg.nan_guard.defers = defers
    gradient_step, steps = runner.alg.imitation.gradient_step, []

    def overflowing(batch):
        steps.append(batch)
        if len(steps) == 3:
            batch["teacher_actions"] = torch.full_like(batch["teacher_actions"], 1e25)
        return gradient_step(batch)

    runner.alg.imitation.gradient_step = overflowing
    with quiet(), pytest.raises(NonFiniteError, match="in the loss or its gradient, iteration 0") as caught:
        runner.learn(1)
    return caught.value, weights(runner)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_loss_told_of_when_the_update_ends_leaves_what_one_told_of_at_once_does(tmp_path, optimizer):
    at_once, expected = overflow_in_the_third_step(tmp_path / "one" / "run", False, optimizer)
    later, got = overflow_in_the_third_step(tmp_path / "other" / "run", True, optimizer)
    assert same(got, expected)
    # The rows as the history has them: spoilt was a copy.
    for name, values in at_once.dump["batch"].items():
        if name != "teacher_actions":
            assert torch.equal(later.dump["batch"][name], values), name
    assert same(later.dump["student_state_dict"], at_once.dump["student_state_dict"])


@pytest.mark.parametrize("student", [{}, {**RNN, "rnn_type": "gru"}], ids=["mlp", "gru"])
def test_skipping_leaves_out_the_spoilt_rows_and_no_others(tmp_path, capsys, student):
    options = {"phase1_iterations": 5, "max_buffer_size": 10_000, "gradient_length": 5}
    runner = build(tmp_path / "run", env=Failing(), on_nan="skip", student=student, **options)
    runner.learn(8)
    rows = runner.alg.history[:]
    assert all(bool(torch.isfinite(values).all()) for values in rows.values() if values.is_floating_point())
    assert all(bool(torch.isfinite(value).all()) for value in weights(runner).values())
    # A spoilt observation spoils its transition, or its window.
    lost = len(BAD_ENVS) * (options["gradient_length"] if student else 1)
    assert runner.alg.history.num_transitions() == 8 * 60 - lost
    out = capsys.readouterr().out
    assert out.count(f"NaN or infinity in the rollout, environments {BAD_ENVS}") == 1
    assert f"{len(BAD_ENVS)} rows with NaN or infinity are left out" in out


def test_skipping_leaves_out_mini_batches_whose_loss_overflows(tmp_path, capsys):
    runner = build(tmp_path / "run", on_nan="skip", use_two_stage_training=False)
    runner.learn(2)
    before = weights(runner)
    with torch.no_grad():
        runner.alg.teacher.mlp[2].bias.fill_(1e25)
    runner.learn(1)
    after = weights(runner)
    assert same({name: value for name, value in before.items() if "normalizer" not in name}, after)
    assert "4 mini-batches with a loss of NaN or infinity are left out" in capsys.readouterr().out


def test_rsl_rls_own_runner_is_stopped_too(tmp_path):
    runner = build(tmp_path / "run")
    cfg = runner_cfg(teacher_checkpoint=str(tmp_path / "teacher.pt")) | {"check_for_nan": False}
    stock = DistillationRunner(Failing(), cfg, None, "cpu")
    with quiet(), pytest.raises(NonFiniteError, match=r"environments \[1, 4\]"):
        stock.learn(5)
    assert runner is not stock


def test_a_teachers_training_is_stopped_before_its_weights_are_spoilt(tmp_path):
    cfg = ppo_cfg(5)

    class Overflowing(ToyEnv):
        def step(self, actions):
            obs, reward, done, extras = super().step(actions)
            return obs, reward * math.inf, done, extras

    runner = PpoRunner(Overflowing(), cfg, str(tmp_path / "run"), "cpu")
    with quiet(), pytest.raises(NonFiniteError, match="in the loss or its gradient"):
        runner.learn(3)
    for model in (runner.alg.actor, runner.alg.critic):
        assert all(bool(torch.isfinite(value).all()) for value in model.state_dict().values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_nan": "ignore"}, "on_nan must be one of raise, skip, got 'ignore'"),
        ({"on_nan": "skip", "use_dagger": False}, "on_nan=skip has no effect with use_dagger=False"),
    ],
)
def test_a_choice_that_cannot_take_effect_is_refused(tmp_path, options, message):
    with quiet(), pytest.raises(ValueError, match=message):
        build(tmp_path / "run", **options)
