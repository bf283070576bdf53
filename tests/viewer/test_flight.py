"""The flight behind the live view, on a clock that the tests set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import foundation
from foundation.evaluation.policies import Policy, load_policy
from foundation.tasks import packaged_teacher
from foundation.viewer.flight import LONGEST_JUMP, Flight
from tests.export.models import policy

DT = 0.01
PREVIOUS_ACTION = slice(18, 22)
"""Columns of the student's observation."""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make_env(num_envs: int = 4, seed: int = 0, **settings):
    overrides = [f"env.{name.replace('__', '.')}={value}" for name, value in settings.items()]
    return foundation.make_env("distillation", num_envs=num_envs, seed=seed, overrides=overrides)


@pytest.fixture(scope="module")
def teacher():
    env = make_env()
    return load_policy(packaged_teacher(), env.get_observations(), env.num_actions, "cpu")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def half_thrust(obs) -> torch.Tensor:
    return torch.zeros(len(obs), 4)


def fly_frames(flight: Flight, clock: Clock, seconds: float, fps: float = 30.0) -> None:
    for _ in range(round(seconds * fps)):
        clock.now += 1.0 / fps
        flight.advance()


def test_a_paused_flight_does_not_advance_and_makes_up_for_nothing_afterwards(teacher, clock):
    flight = Flight(make_env(), teacher, clock=clock)
    flight.paused = True
    before = flight.env.sim.pos_w.clone()
    fly_frames(flight, clock, 5.0)
    assert flight.steps == 0
    assert torch.equal(flight.env.sim.pos_w, before)
    flight.paused = False
    fly_frames(flight, clock, 0.1)
    assert flight.steps == 10


def test_a_single_step_is_exactly_one_control_step_of_the_environment(teacher, clock):
    flight, twin = Flight(make_env(), teacher, clock=clock), make_env()
    flight.paused = True
    flight.step()
    with torch.inference_mode():
        twin.step(teacher(twin.get_observations()))
    assert flight.time == DT
    for name in ("pos_w", "quat_wb", "vel_w", "rotor"):
        assert torch.equal(getattr(flight.env.sim, name), getattr(twin.sim, name)), name


@pytest.mark.parametrize("speed", [0.25, 1.0, 2.0, 4.0])
def test_simulated_time_is_speed_times_wall_time(speed, teacher, clock):
    flight = Flight(make_env(), teacher, clock=clock)
    flight.speed = speed
    fly_frames(flight, clock, 2.0)
    # Less than one step may be due but not yet whole.
    assert abs(flight.time - 2.0 * speed) <= DT


def test_a_machine_that_is_too_slow_flies_slower_instead_of_jumping(teacher, clock):
    flight = Flight(make_env(), teacher, clock=clock)
    clock.now += 60.0
    assert flight.advance() == round(LONGEST_JUMP / DT)
    assert flight.advance() == 0


def test_another_policy_takes_over_from_the_next_step_on(teacher, clock):
    flight = Flight(make_env(), half_thrust, clock=clock)
    flight.step()
    assert torch.equal(flight.env.get_observations()["student"][:, PREVIOUS_ACTION], torch.zeros(4, 4))
    obs = flight.env.get_observations()
    flight.switch(teacher)
    flight.step()
    with torch.inference_mode():
        expected = teacher(obs).clamp(-1.0, 1.0)
    assert torch.equal(flight.env.get_observations()["student"][:, PREVIOUS_ACTION], expected)
    assert expected.abs().max() > 0.01


class Counting:
    """Counts the steps of each episode."""

    def __init__(self, num_envs: int) -> None:
        self.count = torch.zeros(num_envs)

    def __call__(self, obs) -> torch.Tensor:
        self.count += 1.0
        return torch.zeros(len(obs), 4)

    def reset(self, dones: torch.Tensor) -> None:
        self.count[dones > 0] = 0.0


def test_a_policy_that_takes_over_again_remembers_nothing_of_its_last_turn(clock):
    remembering = Counting(4)
    flight = Flight(make_env(), remembering, clock=clock)
    for _ in range(3):
        flight.step()
    flight.switch(half_thrust)
    flight.step()
    assert torch.equal(remembering.count, torch.full((4,), 3.0))
    flight.switch(remembering)
    flight.step()
    assert torch.equal(remembering.count, torch.ones(4))


def test_a_policy_is_reset_where_episodes_end(clock):
    remembering = Counting(4)
    flight = Flight(make_env(episode_steps=5), remembering, clock=clock)
    for _ in range(7):
        flight.step()
    assert torch.equal(remembering.count, torch.full((4,), 2.0))
    assert (flight.episodes, flight.failures) == (4, 0)


def test_episodes_that_leave_the_bounds_count_as_failed(clock):
    flight = Flight(make_env(), lambda obs: torch.full((len(obs), 4), -1.0), clock=clock)
    for _ in range(120):
        flight.step()
    # In free fall with less than 1 m/s upwards 1.2 s lead out of the bound of 1.5 m plus the highest start.
    assert flight.failures == flight.episodes >= 4


def test_a_limited_flight_ends_after_its_steps_however_much_time_passes(teacher, clock):
    flight = Flight(make_env(), teacher, limit=7, clock=clock)
    fly_frames(flight, clock, 1.0)
    assert flight.ended
    assert flight.steps == 7


def test_new_vehicles_fly_on_with_the_same_policy_from_their_first_state(teacher, clock):
    flight = Flight(make_env(), teacher, clock=clock)
    flight.step()
    flight.set_env(make_env(randomization__family="foundation"))
    twin = make_env(randomization__family="foundation")
    flight.step()
    with torch.inference_mode():
        twin.step(teacher(twin.get_observations()))
    assert torch.equal(flight.env.sim.pos_w, twin.sim.pos_w)
    assert flight.steps == 2
    masses = [flight.fleet.mass(int(row)) for row in flight.moment.vehicle]
    assert max(masses) > 0.1


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_recurrent_policy_is_reset_where_an_episode_starts_or_another_policy_flew(kind, teacher, clock):
    student = Policy(policy(kind), "student", Path("student.pt"))
    flight = Flight(make_env(), student, clock=clock)
    flight.step()
    first = flight.moment.pos_w.copy()
    for begin_again in (
        lambda: flight.set_env(make_env()),
        lambda: switch_there_and_back(flight, student, teacher),
    ):
        flight.step()
        begin_again()
        flight.step()
        np.testing.assert_array_equal(flight.moment.pos_w, first)
    flight.restart()
    flight.step()


def switch_there_and_back(flight: Flight, student: Policy, teacher: Policy) -> None:
    flight.switch(teacher)
    flight.step()
    flight.switch(student)
    flight.set_env(make_env())
