"""Paths that are exchanged in the live view, without a browser."""

from __future__ import annotations

import asyncio

import pytest

import foundation
from foundation.evaluation.policies import load_policy
from foundation.tasks import packaged_teacher
from foundation.viewer.courses import CONFIGURED, COURSES, FASTEST, Course
from foundation.viewer.errors import ViewerError
from foundation.viewer.flight import Flight
from foundation.viewer.live import LiveView, Sources
from foundation.viewer.server import DEFAULT_HOST, serving

viser = pytest.importorskip("viser", reason="viser is not installed")
FEW = ["env.paths.number=8", "env.randomization.num_vehicles=16", "env.expert=null"]


def make(family: str = "cf2x", seed: int = 0, task: str = "distillation"):
    overrides = FEW if task == "tracking" else [f"env.randomization.family={family}"]
    return foundation.make_env(task, num_envs=3, seed=seed, overrides=overrides)


class View:
    """A live view that is told what a page would choose."""

    def __init__(self, server, task: str = "distillation") -> None:
        env = make(task=task)
        policy = load_policy(packaged_teacher(), env.get_observations(), env.num_actions, "cpu")
        self.flight = Flight(env, policy)
        self.made: list = []
        sources = Sources(
            lambda family, seed: self.made.append(make(family, seed, task)) or self.made[-1],
            lambda path: policy,
            env.cfg.randomization.family,
            0,
        )
        self.live = LiveView(server, self.flight, {"teacher": policy}, sources)
        self.controls = self.live._controls

    def choose(self, handle, value=None) -> None:
        """Let a page set a value, or press a button, and draw the next frame."""
        if value is not None:
            handle._impl.value = value
        for callback in handle._impl.update_cb:
            called = callback(viser.GuiEvent(None, 1, handle))
            asyncio.run_coroutine_threadsafe(called, handle._impl.gui_api._event_loop).result()
        self.live.frame()

    @property
    def complaint(self) -> str:
        return self.controls.message.content if self.controls.message.visible else ""

    @property
    def speed(self) -> float:
        """Largest speed of the references [m/s]; 0 without paths."""
        paths = self.flight.env.paths
        return 0.0 if paths is None else float(paths.samples[:, 3:6].norm(dim=1).max())


@pytest.fixture
def server():
    with serving(DEFAULT_HOST, 0, "test") as server:
        yield server


@pytest.mark.parametrize("name", COURSES)
def test_every_path_in_the_menu_can_be_followed_and_left_in_flight(name, server):
    view = View(server)
    policy = view.flight.policy
    view.choose(view.controls.course, name)
    assert view.complaint == ""
    assert (view.flight.env.reference is None) == (name == "origin")
    assert (f"which follow {name}" in view.controls.status.content) == (name != "origin")
    view.flight.step()
    view.choose(view.controls.course, "origin")
    assert view.flight.env.reference is None
    assert view.flight.policy is policy


def test_the_slider_sets_the_largest_speed_of_the_path_and_rests_where_there_is_none(server):
    view = View(server)
    assert view.controls.course_speed.disabled
    view.choose(view.controls.course, "circle")
    assert not view.controls.course_speed.disabled
    assert view.speed == pytest.approx(1.0, rel=1e-5)
    view.choose(view.controls.course_speed, 2.5)
    assert view.speed == pytest.approx(2.5, rel=1e-5)
    view.choose(view.controls.course, "hover")
    assert view.controls.course_speed.disabled


def test_a_slider_that_stays_where_it_is_starts_no_new_episodes(server):
    view = View(server)
    view.choose(view.controls.course, "circle")
    paths = view.flight.env.paths
    view.choose(view.controls.course_speed, 1.0)
    assert view.flight.env.paths is paths


def test_an_impossible_path_is_named_and_the_former_one_is_flown_on(server):
    view = View(server)
    view.choose(view.controls.course, "circle")
    paths = view.flight.env.paths
    view.choose(view.controls.course_speed, FASTEST)
    assert "path 'circle' is too fast" in view.complaint
    assert view.flight.env.paths is paths
    assert view.controls.chosen_course == Course("circle", 1.0)
    # What the view itself sets is no request, which would take the message away.
    view.live.frame()
    assert view.complaint


def test_other_vehicles_follow_the_chosen_path(server):
    view = View(server)
    view.choose(view.controls.course, "figure_eight")
    for handle, value in ((view.controls.family, "none"), (view.controls.draw_vehicles, None)):
        view.choose(handle, value)
        assert view.flight.env is view.made[-1]
        assert view.speed == pytest.approx(1.0, rel=1e-5)
        assert "which follow figure_eight at 1 m/s" in view.controls.status.content


def test_an_environment_with_paths_starts_on_them_and_comes_back_to_them(server):
    view = View(server, "tracking")
    assert view.controls.course.value == CONFIGURED
    paths = view.flight.env.paths
    assert paths is not None
    view.live.frame()
    assert "which follow the configured paths" in view.controls.status.content
    view.choose(view.controls.course, "origin")
    assert view.flight.env.paths is None
    view.choose(view.controls.draw_vehicles)
    assert view.flight.env.paths is None
    view.choose(view.controls.course, CONFIGURED)
    own = view.flight.env.paths
    assert own is not None
    assert own.paths == paths.paths == 8


def test_an_impossible_path_is_an_error_of_the_viewer():
    env = make()
    with pytest.raises(ViewerError, match="it could fly this shape at"):
        Course("lissajous", 50.0).table(env, None, 0)
