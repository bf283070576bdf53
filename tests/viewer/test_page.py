"""The recording as one HTML file, opened from the disk."""

from __future__ import annotations

import io
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from foundation.cli import play
from foundation.tasks import packaged_teacher

pytest.importorskip("viser", reason="viser is not installed")

SMALL = {"width": 800, "height": 560}
SLIDER = "[role=slider]"
LASTING = 4
"""Equal pictures in a row, so many that a slow browser would have drawn another one."""
# The scene lags behind the bar by frames and not by seconds: on a busy machine both take longer.
SOME_FRAMES = """() => new Promise(resolve => {
    let frames = 0;
    const count = () => ++frames > 8 ? resolve() : requestAnimationFrame(count);
    requestAnimationFrame(count);
})"""


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "flight.html"
    flags = ["--viewer", "html", "--checkpoint", str(packaged_teacher()), "--num_envs", "2", "--steps", "200"]
    play.main([*flags, "--output", str(path)])
    return path


class Player:
    """The recording's page with the bar at its bottom."""

    def __init__(self, page) -> None:
        self.page = page
        page.locator(SLIDER).wait_for(state="attached")

    @property
    def time(self) -> float:
        return float(self.page.locator(SLIDER).get_attribute("aria-valuenow"))

    @property
    def end(self) -> float:
        return float(self.page.locator(SLIDER).get_attribute("aria-valuemax"))

    def pause(self) -> None:
        self.page.locator("button:has(.tabler-icon-player-pause-filled)").click()
        self.page.locator("button:has(.tabler-icon-player-play-filled)").wait_for()

    def go_to(self, share: float) -> None:
        """Click on the bar at a share of its length."""
        bar = self.page.locator(".mantine-Slider-trackContainer").bounding_box()
        self.page.mouse.click(bar["x"] + share * bar["width"], bar["y"] + bar["height"] / 2)
        self.page.wait_for_function(
            f"Math.abs(document.querySelector('{SLIDER}').ariaValueNow - {share * self.end}) < 0.05",
            timeout=20_000,
        )

    def picture(
        self, holds: Callable[[np.ndarray], bool] = lambda picture: True, lasting: int = LASTING
    ) -> np.ndarray:
        """Return the picture once a condition holds and it has stopped changing; it lags behind the bar."""
        deadline, pictures = time.monotonic() + 60.0, [self._take()]
        while not (len(pictures) >= lasting and holds(pictures[-1])):
            assert time.monotonic() < deadline, "the expected picture did not come"
            after = self._take()
            pictures = [*pictures[-LASTING + 1 :], after] if np.array_equal(after, pictures[-1]) else [after]
        return pictures[-1]

    def _take(self) -> np.ndarray:
        self.page.evaluate(SOME_FRAMES)
        clip = {"x": 0, "y": 160, "width": SMALL["width"], "height": SMALL["height"] - 210}
        return np.asarray(Image.open(io.BytesIO(self.page.screenshot(clip=clip))).convert("RGB")).astype(int)


def different(one: np.ndarray, other: np.ndarray) -> int:
    """Return the number of blocks of 10 x 10 pixels whose mean colours differ.

    Not of pixels: the page lowers its resolution where drawing is slow, and then lines look different.
    """

    def blocks(picture: np.ndarray) -> np.ndarray:
        height, width, _ = picture.shape
        return picture.reshape(height // 10, 10, width // 10, 10, 3).mean((1, 3))

    return int((np.abs(blocks(one) - blocks(other)).max(-1) > 25).sum())


def test_a_recording_asks_for_nothing_from_outside_and_has_no_complaints(recording, open_page):
    opened = open_page(recording.as_uri(), SMALL)
    Player(opened.page)
    assert opened.page.title() == "teacher, 2 vehicles of family cf2x"
    assert opened.complaints == []
    assert opened.outside == []


def test_a_recording_lasts_as_long_as_the_flight_and_plays_by_itself(recording, open_page):
    player = Player(open_page(recording.as_uri(), SMALL).page)
    assert player.end == pytest.approx(2.0)
    begin = player.time
    player.page.wait_for_function(f"parseFloat(document.querySelector('{SLIDER}').ariaValueNow) != {begin}")


def test_vehicles_are_elsewhere_at_another_time_and_back_at_the_same(recording, open_page):
    player = Player(open_page(recording.as_uri(), SMALL).page)
    player.pause()
    player.go_to(0.9)
    late = player.picture()
    player.go_to(0.1)
    early = player.picture(lambda picture: different(picture, late) > 10)
    player.go_to(0.5)
    player.picture(lambda picture: different(picture, early) > 10, lasting=1)
    player.go_to(0.1)
    player.picture(lambda picture: different(picture, early) == 0, lasting=1)
