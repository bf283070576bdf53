"""What the class does for whoever names it and sets no option."""

from __future__ import annotations

import logging

import pytest
import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerOptions, DaggerRunner
from foundation.distill.algorithm.assembly import make_plan
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint

RUNNERS = [DistillationRunner, DaggerRunner]
NEVER_ACTS = "the run ends before the student ever acts"


def build(runner_class, env=None, max_iterations=None, **options):
    """Return a runner whose algorithm has no options but these."""
    cfg = runner_cfg()
    cfg["algorithm"] = {"class_name": "foundation.distill:DaggerDistillation", "rnd_cfg": None, **options}
    if max_iterations is not None:
        cfg["max_iterations"] = max_iterations
    torch.manual_seed(0)
    runner = runner_class(env or ToyEnv(), cfg, None, "cpu")
    runner.alg.load(teacher_checkpoint(), None, True)
    return runner


def phases_of(runner, iterations) -> list[int]:
    """Train, and return the phase of each iteration."""
    phases, update = [], runner.alg.update

    def recorded():
        assert len(runner.alg.phases.unique()) == 1
        phases.append(int(runner.alg.phases[0, 0]))
        return update()

    runner.alg.update = recorded
    runner.learn(iterations)
    return phases


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        ({}, [3e-3, 3e-3 / 1.1**0.5]),
        ({"learning_rate": 2e-3}, [2e-3, 2e-3]),
        ({"learning_rate_schedule": "constant"}, [1e-3, 1e-3]),
        ({"use_dagger": False, "gradient_length": 5}, [1e-3, 1e-3]),
    ],
)
@pytest.mark.parametrize("runner_class", RUNNERS)
def test_the_default_learning_rate_falls_unless_rate_or_schedule_are_named(runner_class, options, rates):
    runner, seen = build(runner_class, **options), []
    for _ in rates:
        runner.learn(1)
        seen.append(runner.alg.optimizer.param_groups[0]["lr"])
    assert seen == pytest.approx(rates)


@pytest.mark.parametrize(
    ("rollout_size", "size"), [(10_000, 250), (60, 64), (1536, 64), (98_304, 2457), (1_000_000, 4096)]
)
def test_an_iteration_draws_a_hundred_mini_batches_of_a_fortieth_of_a_rollout(rollout_size, size):
    plan = make_plan(DaggerOptions(), rollout_size, 1)
    for stored in (size, 100 * size, 1_000_000):
        rows = plan.rows(stored, 1)
        assert rows == size
        assert plan.count(-(-stored // rows)) == 100


@pytest.mark.parametrize(
    ("rollout_size", "window", "windows"), [(1600, 15, 32), (40_000, 15, 66), (1600, 50, 32), (1600, 200, 20)]
)
def test_a_mini_batch_of_a_recurrent_student_has_32_windows_unless_these_are_over_4096_transitions(
    rollout_size, window, windows
):
    assert make_plan(DaggerOptions(), rollout_size, window).rows(1_000_000, window) == windows


@pytest.mark.parametrize(
    "options", [{"num_learning_epochs": 3}, {"num_learning_epochs": 3, "mini_batch_size": 50}]
)
def test_passes_are_whole_when_asked_for(options):
    plan = make_plan(DaggerOptions(**options), 10_000, 1)
    rows = plan.rows(1_000_000, 1)
    assert rows == options.get("mini_batch_size", 2048)
    assert plan.count(-(-1_000_000 // rows)) == 3 * -(-1_000_000 // rows)


def test_the_number_of_gradient_steps_does_not_grow_with_the_history():
    runner = build(DistillationRunner, ToyEnv(num_envs=64))
    steps = []
    runner.alg.optimizer.register_step_post_hook(lambda *_: steps.append(len(runner.alg.history)))
    runner.learn(9)
    counts = {size: steps.count(size) for size in dict.fromkeys(steps)}
    assert counts == {640 * i: 100 for i in range(1, 10)}


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize(("max_iterations", "teacher"), [(None, 2), (20, 1), (100, 5), (200, 10), (4, 1)])
def test_the_teacher_acts_in_a_twentieth_of_the_run_and_once_at_least(runner_class, max_iterations, teacher):
    phases = phases_of(build(runner_class, max_iterations=max_iterations), 40)
    assert phases == [1] * teacher + [2] * (40 - teacher)


@pytest.mark.parametrize("runner_class", RUNNERS)
def test_a_continued_run_has_the_phases_of_an_uninterrupted_one(runner_class):
    runner = build(runner_class, max_iterations=60)
    assert phases_of(runner, 2) + phases_of(build_continued(runner, runner_class), 3) == [1, 1, 1, 2, 2]


def build_continued(runner, runner_class):
    continued = build(runner_class, max_iterations=60)
    state = runner.alg.save() | {"iter": runner.alg.iteration - 1, "infos": None}
    continued.alg.load(state, None, True)
    continued.current_learning_iteration = runner.alg.iteration
    return continued


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize(
    ("options", "warns"),
    [
        ({"phase1_iterations": 3}, True),
        ({"phase1_iterations": 500}, True),
        ({"phase1_iterations": 2}, False),
        ({"teacher_schedule": "constant", "teacher_fraction": 1.0}, True),
        ({"teacher_schedule": "linear", "phase1_iterations": 500}, False),
        ({"use_two_stage_training": False}, False),
        ({}, False),
    ],
)
def test_a_run_that_ends_before_the_student_acts_says_so_before_it_begins(runner_class, options, warns, caplog):
    env = ToyEnv()
    runner = build(runner_class, env, **options)
    with caplog.at_level(logging.WARNING, logger="foundation"):
        step = env.step

        def first_step(actions):
            assert (NEVER_ACTS in caplog.text) == warns
            return step(actions)

        env.step = first_step
        runner.learn(3)
    assert caplog.text.count(NEVER_ACTS) == warns


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"policy": {"class_name": "StudentTeacher"}},
            "the runner's configuration is of rsl_rl 3: policy is now student and teacher",
        ),
        (
            {"policy": {"class_name": "StudentTeacher"}, "empirical_normalization": True},
            "policy is now .*; empirical_normalization is now obs_normalization of student and teacher",
        ),
        ({}, "the runner's configuration lacks student, teacher"),
    ],
)
@pytest.mark.parametrize("runner_class", RUNNERS)
def test_a_configuration_of_rsl_rl_3_is_refused_by_its_keys_new_names(runner_class, keys, message):
    cfg = runner_cfg() | keys
    del cfg["student"], cfg["teacher"]
    with pytest.raises(ValueError, match=message):
        runner_class(ToyEnv(), cfg, None, "cpu")
