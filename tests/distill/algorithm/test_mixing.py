"""Who drives, against closed forms and binomial bounds."""

from __future__ import annotations

import pytest
import torch

from foundation.distill import TeacherSchedule
from foundation.distill.algorithm.mixing import ActionMixer
from tests.support.runners import stock_runner
from tests.support.toy import ToyEnv


class TestClosedForms:
    def test_two_stage_is_one_and_then_zero(self):
        schedule = TeacherSchedule("two_stage", 3)
        assert [schedule.teacher_probability(i) for i in range(6)] == [1, 1, 1, 0, 0, 0]
        assert [schedule.phase(i) for i in range(6)] == [1, 1, 1, 2, 2, 2]
        assert [schedule.switches_at(i) for i in range(6)] == [False, False, False, True, False, False]

    def test_without_a_first_phase_the_student_drives_and_nothing_switches(self):
        schedule = TeacherSchedule("two_stage", 0)
        assert [schedule.phase(i) for i in range(3)] == [2, 2, 2]
        assert not any(schedule.switches_at(i) for i in range(3))

    def test_linear_falls_by_the_same_amount_to_zero(self):
        schedule = TeacherSchedule("linear", 4)
        assert [schedule.teacher_probability(i) for i in range(6)] == [1, 0.75, 0.5, 0.25, 0, 0]

    def test_exponential_falls_by_the_same_factor(self):
        schedule = TeacherSchedule("exponential", decay=0.5)
        assert [schedule.teacher_probability(i) for i in range(4)] == [1, 0.5, 0.25, 0.125]

    def test_constant_stays(self):
        assert {TeacherSchedule("constant", fraction=0.3).teacher_probability(i) for i in range(9)} == {0.3}

    @pytest.mark.parametrize("name", ["1/(i+1)", "reciprocal"])
    def test_reciprocal_is_one_over_i_plus_one(self, name):
        schedule = TeacherSchedule(name)
        assert [schedule.teacher_probability(i) for i in range(4)] == [1, 1 / 2, 1 / 3, 1 / 4]


def drive(driver: ActionMixer, iteration: int, steps: int, num_envs: int, episode: int | None) -> torch.Tensor:
    """Return where the teacher drove, (steps, N); episodes of a fixed length end together."""
    student, teacher = torch.zeros(num_envs, 2), torch.ones(num_envs, 2)
    out = []
    for step in range(steps):
        actions, teacher_drives = driver.choose(iteration, student, teacher)
        assert torch.equal(actions, teacher_drives[:, None].float().expand(-1, 2))
        out.append(teacher_drives.clone())
        done = episode is not None and (step + 1) % episode == 0
        driver.episodes_ended(torch.full((num_envs,), int(done)))
    return torch.stack(out)


class TestMixing:
    N = 20_000

    @pytest.mark.parametrize("mixing", ["episode", "step"])
    @pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
    def test_the_teachers_frequency_is_the_probability_within_four_standard_errors(self, mixing, fraction):
        torch.manual_seed(0)
        driver = ActionMixer(TeacherSchedule("constant", fraction=fraction), self.N, "cpu", mixing)
        drove = drive(driver, 0, 1, self.N, None)
        assert abs(drove.double().mean() - fraction) < 4 * (fraction * (1 - fraction) / self.N) ** 0.5

    def test_per_episode_the_driver_changes_only_where_an_episode_begins_and_then_independently(self):
        torch.manual_seed(0)
        driver = ActionMixer(TeacherSchedule("constant", fraction=0.5), self.N, "cpu", "episode")
        drove = drive(driver, 0, 10, self.N, episode=5)
        assert torch.equal(drove[0:5], drove[0].expand(5, -1))
        assert torch.equal(drove[5:10], drove[5].expand(5, -1))
        both = (drove[0] & drove[5]).double().mean()
        assert abs(both - 0.25) < 4 * (0.25 * 0.75 / self.N) ** 0.5

    def test_per_step_consecutive_steps_are_independent(self):
        torch.manual_seed(0)
        driver = ActionMixer(TeacherSchedule("constant", fraction=0.5), self.N, "cpu", "step")
        drove = drive(driver, 0, 2, self.N, None)
        assert abs((drove[0] & drove[1]).double().mean() - 0.25) < 4 * (0.25 * 0.75 / self.N) ** 0.5

    def test_two_stage_switches_in_the_middle_of_episodes_without_drawing_random_numbers(self):
        driver = ActionMixer(TeacherSchedule("two_stage", 1), 4, "cpu")
        torch.manual_seed(0)
        assert drive(driver, 0, 3, 4, None).all()
        assert not drive(driver, 1, 3, 4, None).any()
        drawn = torch.rand(1)
        torch.manual_seed(0)
        assert torch.equal(drawn, torch.rand(1))

    def test_a_restored_driver_goes_on_with_the_same_drivers(self):
        torch.manual_seed(0)
        driver = ActionMixer(TeacherSchedule("constant", fraction=0.5), 50, "cpu")
        before = drive(driver, 0, 2, 50, None)[-1]
        restored = ActionMixer(TeacherSchedule("constant", fraction=0.5), 50, "cpu")
        restored.load_state_dict(driver.state_dict())
        assert torch.equal(drive(restored, 0, 1, 50, None)[0], before)


def test_the_gate_gives_the_teacher_exactly_the_steps_with_a_larger_distance_than_the_threshold():
    driver = ActionMixer(TeacherSchedule(), 4, "cpu", disagreement_threshold=0.5)
    teacher = torch.zeros(4, 2)
    student = torch.tensor([[0.3, 0.3], [0.5, 0.0], [0.4, 0.4], [-0.6, 0.0]])  # distances .42 .5 .57 .6
    actions, teacher_drives = driver.choose(0, student, teacher)
    assert teacher_drives.tolist() == [False, False, True, True]
    assert torch.equal(actions, torch.where(teacher_drives[:, None], teacher, student))


class TestUnderRslRlsRunner:
    def test_the_logged_fraction_is_the_share_of_steps_that_the_teacher_drove(self, tmp_path):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        env = ToyEnv()
        runner = stock_runner(
            tmp_path, env=env, teacher_schedule="linear", phase1_iterations=4, teacher_mixing="step",
            max_buffer_size=10_000,
        )  # fmt: skip
        runner.learn(6)
        phases = runner.alg.history[:]["phase"].view(6, 60)
        runner.logger.writer.flush()
        events = EventAccumulator(str(tmp_path))
        events.Reload()
        logged = [event.value for event in events.Scalars("Distillation/teacher_fraction")]
        assert logged == pytest.approx((phases == 1).double().mean(1).tolist())
        assert logged[0] == 1.0
        assert logged[4:] == [0.0, 0.0]
        assert all(0.0 < value < 1.0 for value in logged[1:4])

    @pytest.mark.parametrize("schedule", [{}, {"teacher_schedule": "constant", "teacher_fraction": 0.5}])
    def test_the_stored_phase_tells_whose_action_was_applied(self, tmp_path, schedule):
        env = ToyEnv()
        runner = stock_runner(tmp_path, env=env, phase1_iterations=1, max_buffer_size=10_000, **schedule)
        runner.learn(2)
        stored = runner.alg.history[:]
        applied = torch.cat(env.actions)
        teacher = (stored["phase"] == 1)[:, None]
        assert torch.equal(applied, torch.where(teacher, stored["teacher_actions"], stored["student_actions"]))
        assert 0 < teacher.sum() < len(teacher)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"phase1_iterations": -1}, "phase1_iterations must be at least 0, got -1"),
        ({"kind": "cubic"}, r"must be one of two_stage, .*, got 'cubic'"),
        ({"kind": "exponential", "decay": 1.5}, r"teacher_decay must lie in \[0, 1\], got 1.5"),
        ({"kind": "constant", "fraction": -0.1}, r"teacher_fraction must lie in \[0, 1\], got -0.1"),
    ],
)
def test_a_schedule_without_probabilities_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        TeacherSchedule(**options)
