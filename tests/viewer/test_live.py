"""The live view in a real browser, as a user steers it."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import time

import numpy as np
import pytest
from PIL import Image

from foundation.cli import play
from foundation.tasks import packaged_teacher
from tests.browser import Page
from tests.viewer.conftest import served

pytest.importorskip("viser", reason="viser is not installed")
DT = 0.01
SIZE = {"width": 900, "height": 640}
"""Small, because the scene is rendered in software."""
SCENE = {"x": 0, "y": 140, "width": 560, "height": 490}
"""The part of the page where vehicles fly."""


class Panel:
    """The page's controls by their names."""

    def __init__(self, page) -> None:
        self.page = page

    def press(self, button: str) -> None:
        self.page.get_by_role("button", name=button, exact=True).click()

    def choose(self, menu: str, option: str) -> None:
        self.page.get_by_label(menu, exact=True).click()
        self.page.get_by_role("option", name=option).click()

    def shows(self, words: str | re.Pattern) -> None:
        self.page.get_by_text(words).first.wait_for(timeout=20_000)

    @property
    def time(self) -> float:
        return float(self.page.get_by_text(re.compile(r"^t = ")).inner_text().split()[2])

    def picture(self) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot(clip=SCENE))).convert("RGB")).astype(int)

    def settled_picture(self) -> np.ndarray:
        """Return what the page shows when it has caught up: the same twice."""
        deadline, before = time.monotonic() + 20.0, self.picture()
        while not np.array_equal(after := self.picture(), before):
            assert time.monotonic() < deadline
            before = after
        return after

    def changes_from(self, before: np.ndarray, pixels: int) -> None:
        """Wait until at least that many pixels are clearly different."""
        deadline = time.monotonic() + 20.0
        while (changed := (np.abs(self.picture() - before).max(-1) > 60).sum()) < pixels:
            assert time.monotonic() < deadline, f"only {changed} pixels changed"


@pytest.fixture(scope="module")
def command(tmp_path_factory, student_run):
    folder = tmp_path_factory.mktemp("live")
    flags = ["--viewer", "viser", "--port", "0", "--num_envs", "4", "--checkpoint", str(student_run)]
    with served("play", *flags, folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
def page(browser, command):
    opened = Page(browser, SIZE)
    opened.page.goto(command.url)
    opened.page.get_by_role("button", name="Pause", exact=True).wait_for()
    yield opened
    opened.page.close()


@pytest.fixture
def panel(page) -> Panel:
    panel = Panel(page.page)
    if page.page.get_by_role("button", name="Resume", exact=True).count():
        panel.press("Resume")
    return panel


def test_the_address_is_of_this_machine_only(command):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", command.url)


def test_paused_time_stands_still_and_a_step_is_one_control_step(panel):
    panel.press("Pause")
    panel.shows(re.compile("paused"))
    for _ in range(3):
        before = panel.time
        panel.press("Step")
        panel.shows(f"t = {before + DT:.2f} s")


def test_vehicles_move_while_time_passes_and_not_while_it_is_paused(panel):
    panel.press("New episodes")
    panel.press("Pause")
    panel.shows(re.compile("paused"))
    panel.press("New episodes")
    panel.shows("0 episodes ended")
    still = panel.settled_picture()
    assert np.array_equal(panel.picture(), still)
    panel.press("Resume")
    panel.page.get_by_role("button", name="Pause", exact=True).wait_for()
    panel.changes_from(still, 300)


def test_the_policy_is_switched_in_flight(panel, page, tmp_path):
    panel.shows(re.compile("student flies 4 vehicles"))
    panel.choose("Who flies", "teacher: packaged")
    panel.shows(re.compile("teacher flies 4 vehicles"))
    panel.page.screenshot(path=tmp_path / "teacher.png")
    assert (tmp_path / "teacher.png").stat().st_size > 20_000
    panel.choose("Who flies", "student:")
    panel.shows(re.compile("student flies 4 vehicles"))
    assert page.complaints == []


def test_any_checkpoint_may_take_over(panel, teacher_run):
    panel.page.locator(".mantine-TextInput-input:visible").fill(str(teacher_run / "best_model.pt"))
    panel.press("Load checkpoint")
    panel.shows(re.compile("teacher flies 4 vehicles"))
    assert panel.page.get_by_label("Who flies", exact=True).input_value().endswith("best_model.pt")
    panel.choose("Who flies", "student:")


def test_a_checkpoint_that_cannot_fly_is_named_and_the_flight_goes_on(panel, command):
    panel.page.locator(".mantine-TextInput-input:visible").fill("/no/such.pt")
    panel.press("Load checkpoint")
    panel.shows(re.compile(r"/no/such\.pt does not exist"))
    before = panel.time
    panel.page.wait_for_function(
        f"parseFloat(document.body.innerText.match(/t = ([0-9.]+) s/)[1]) > {before}", timeout=20_000
    )
    assert command.process.poll() is None


def test_vehicles_are_exchanged_in_flight(panel):
    panel.choose("Family", "none")
    panel.shows(re.compile(r"vehicles of family none"))
    # The nominal vehicle.
    panel.shows(re.compile(r"vehicle 0: 28\.2 g"))
    panel.choose("Family", "cf2x")
    panel.shows(re.compile(r"vehicles of family cf2x"))


def test_paths_are_exchanged_in_flight_and_an_impossible_one_is_named(panel, page):
    panel.choose("Path", "circle")
    panel.shows(re.compile(r"which follow circle at 1 m/s"))
    slider = panel.page.get_by_role("slider")
    slider.focus()
    slider.press("End")
    panel.shows(re.compile(r"path 'circle' is too fast"))
    panel.shows(re.compile(r"which follow circle at 1 m/s"))
    panel.choose("Path", "figure_eight")
    panel.shows(re.compile(r"which follow figure_eight at 1 m/s"))
    panel.choose("Path", "origin")
    panel.page.get_by_text(re.compile("which follow")).wait_for(state="detached", timeout=20_000)
    assert page.complaints == []


def test_camera_and_plots_follow_the_chosen_vehicle(panel):
    panel.press("Pause")
    before = panel.settled_picture()
    panel.choose("Camera follows", "vehicle 2")
    panel.shows(re.compile("vehicle 2: "))
    panel.changes_from(before, 5000)
    panel.choose("Camera follows", "whole fleet")
    panel.shows(re.compile("vehicle 0: "))


class SignalsItself(io.StringIO):
    """Standard output of a command that is sent SIGTERM as soon as it has printed its address."""

    def write(self, text: str) -> int:
        if "in a browser" in text:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().write(text)


def test_sigterm_ends_it_cleanly():
    flags = ["--viewer", "viser", "--port", "0", "--num_envs", "2", "--checkpoint", str(packaged_teacher())]
    with contextlib.redirect_stdout(SignalsItself()) as out:
        play.main(flags)
    assert re.search(r"\[Play\] ended after \d+ steps", out.getvalue())


def test_ctrl_c_ends_it_cleanly_while_it_is_watched(command):
    assert command.end(signal.SIGINT) == 0
    assert re.search(r"\[Play\] ended after \d+ steps", command.output)
    assert "Traceback" not in command.output
