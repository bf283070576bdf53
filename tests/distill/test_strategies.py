"""Strategies by name or import path, and the options that belong to them."""

from __future__ import annotations

import pytest
import torch

from foundation.distill import DaggerOptions, RslRlDistillationAlgorithmCfg, RslRlDistillationRunnerCfg
from foundation.distill.algorithm.learning_rate import LearningRateSchedule
from foundation.distill.algorithm.losses import Loss
from foundation.distill.algorithm.mixing import Mixing, Schedule
from foundation.distill.history.eviction import Eviction
from foundation.distill.history.samplers import SAMPLERS, Sampler
from tests.support.runners import make

HERE = __name__


class Newest(Sampler):
    """Draws the rows that were added last."""

    def draw(self, size, mini_batch_size, count):
        for _ in range(count):
            yield torch.arange(max(0, size - mini_batch_size), size)


class Never(Eviction):
    """Stores no new row in a full history."""

    def replace(self, phases, size):
        return []


class EverySecond(Schedule):
    """The teacher acts in every second iteration."""

    def teacher_probability(self, iteration):
        return float(iteration % 2 == 0)


class OutOfRange(Schedule):
    def teacher_probability(self, iteration):
        return 1.5


class FirstHalf(Mixing):
    """Only the first half of the environments is drawn again."""

    def redraws(self, begins):
        return torch.arange(len(begins)) < len(begins) // 2


class Absolute(Loss):
    """Absolute difference."""

    def __call__(self, student, teacher):
        return (student.mean - teacher.mean).abs()


class SquareRoot(LearningRateSchedule):
    """Square root of what is left of the run."""

    def share(self, progress):
        return (1.0 - progress) ** 0.5


class Tenth(LearningRateSchedule):
    """A tenth of the initial rate, however long the run."""

    takes = ()

    def share(self, progress):
        return 0.1


class Impossible(Sampler):
    needs = ("no_such_option",)


class Filter:
    """Learns from environments with even numbers."""

    def __call__(self, rewards, dones, extras):
        return torch.arange(len(dones)) % 2 == 0


def test_a_sampler_of_ones_own_chooses_the_mini_batches():
    runner = make(sampling=f"{HERE}:Newest", mini_batch_size=10, max_updates_per_iteration=1)
    runner.learn(2)
    assert runner.alg.history.last_slots.tolist() == list(range(110, 120))
    assert runner.alg.history.state_dict(with_rows=False)["kinds"]["sampling"] == f"{HERE}:Newest"


def test_an_eviction_of_ones_own_chooses_what_a_full_history_keeps():
    runner = make(eviction=f"{HERE}:Never", max_buffer_size=60, phase1_iterations=1)
    runner.learn(3)
    assert set(runner.alg.history[:]["phase"].tolist()) == {1}


def test_a_schedule_of_ones_own_says_who_acts():
    runner = make(teacher_schedule=f"{HERE}:EverySecond", max_buffer_size=10_000)
    runner.learn(3)
    assert runner.alg.history[:]["phase"].view(3, -1).float().mean(1).tolist() == [1.0, 2.0, 1.0]


def test_a_probability_outside_of_0_and_1_is_refused_by_the_schedules_name():
    with pytest.raises(ValueError, match=rf"teacher_schedule={HERE}:OutOfRange gave 1.5 in iteration 0"):
        make(teacher_schedule=f"{HERE}:OutOfRange").learn(1)


def test_a_mixing_of_ones_own_says_where_the_acting_policy_is_drawn():
    runner = make(teacher_schedule="constant", teacher_fraction=0.5, teacher_mixing=f"{HERE}:FirstHalf", steps=40)
    runner.learn(1)
    phases = runner.alg.history[:]["phase"].view(40, 6)
    assert (phases[:, 3:] == phases[:1, 3:]).all()
    assert all(len(set(column.tolist())) == 2 for column in phases[:, :3].T)


def test_a_loss_of_ones_own_is_trained_on_with_and_without_a_history():
    with_history = make(loss_type=f"{HERE}:Absolute")
    with_history.learn(1)
    rows = with_history.alg.history[:]
    model = with_history.alg.student
    expected = (model.mlp(model.obs_normalizer(rows["obs/student"])) - rows["teacher_actions"]).abs().mean(-1)
    torch.testing.assert_close(with_history.alg.imitation.losses(rows), expected)
    without = make(loss_type=f"{HERE}:Absolute", use_dagger=False, gradient_length=5)
    a, b = torch.randn(4, 2), torch.randn(4, 2)
    torch.testing.assert_close(without.alg.loss_fn(a, b), (a - b).abs().mean())


def test_a_learning_rate_schedule_of_ones_own_sets_the_rate():
    runner = make(learning_rate_schedule=f"{HERE}:SquareRoot", learning_rate_iterations=4, learning_rate=2.0e-3)
    assert [runner.alg.learning_rates.at(i) for i in (0, 1, 3)] == pytest.approx([2e-3, 2e-3 * 0.75**0.5, 1e-3])


def test_a_learning_rate_schedule_of_ones_own_may_do_without_the_length_of_the_run():
    runner = make(learning_rate_schedule=f"{HERE}:Tenth", learning_rate=2.0e-3)
    assert runner.alg.learning_rates.at(1000) == pytest.approx(2e-4)
    cfg = RslRlDistillationRunnerCfg(
        algorithm=RslRlDistillationAlgorithmCfg(learning_rate_schedule=f"{HERE}:Tenth")
    )
    assert cfg.algorithm.learning_rate_iterations is None


def test_a_learning_rate_that_is_text_is_refused():
    with pytest.raises(ValueError, match="learning_rate must be a number, got '1e-3'"):
        make(learning_rate="1e-3")


def test_a_filter_class_of_ones_own_chooses_the_episodes():
    runner = make(episode_filter=f"{HERE}:Filter", store_teacher_obs=True)
    runner.learn(3)
    assert runner.alg.history.num_transitions() == 2 * 12 * 3  # two whole episodes of every second environment


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "newest"}, "sampling must be one of passes, uniform, recency, loss, got 'newest'; or name"),
        ({"sampling": f"{HERE}:Absent"}, f"sampling={HERE}:Absent cannot be imported"),
        ({"sampling": ["passes"]}, r"sampling must be one of passes, .* got \['passes'\]"),
        ({"sampling": ".relative:X"}, "sampling=.relative:X cannot be imported"),
        ({"sampling": f"{HERE}:Impossible"}, "declares the option no_such_option, which does not exist"),
        ({"sampling": "no_such_module:X"}, "sampling=no_such_module:X cannot be imported"),
        ({"sampling": f"{HERE}:Never"}, r"must be a class that extends .*\.samplers\.Sampler"),
        ({"sampling": f"{HERE}:HERE"}, r"must be a class that extends .*\.samplers\.Sampler"),
        ({"sampling": f"{HERE}:Newest", "recency_half_life": 2.0}, "recency_half_life=2.0 has no effect"),
        ({"eviction": f"{HERE}:Never", "phase_floor": 0.2}, "phase_floor=0.2 has no effect"),
        ({"teacher_schedule": f"{HERE}:EverySecond", "teacher_decay": 0.5}, "teacher_decay=0.5 has no effect"),
    ],
)
def test_what_is_no_strategy_or_does_not_belong_to_it_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DaggerOptions(**options)


def test_every_strategy_of_ours_can_be_chosen_by_its_import_path_too():
    for name, strategy in SAMPLERS.members.items():
        assert SAMPLERS.find(f"{strategy.__module__}:{strategy.__name__}") is SAMPLERS.find(name)
