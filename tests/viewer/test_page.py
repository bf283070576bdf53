"""The recording as one HTML file, opened from the disk."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from foundation.rsl_rl import play
from foundation.rsl_rl.cli import packaged_teacher

pytest.importorskip("viser", reason="viser is not installed")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "flight.html"
    flags = ["--viewer", "html", "--checkpoint", str(packaged_teacher()), "--num_envs", "2", "--steps", "200"]
    play.main([*flags, "--output", str(path)])
    return path


def picture(page) -> np.ndarray:
    clip = {"x": 0, "y": 160, "width": 1280, "height": 650}
    return np.asarray(Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")).astype(int)


def test_a_recording_asks_for_nothing_from_outside_and_has_no_complaints(recording, open_page):
    opened = open_page(recording.as_uri())
    opened.page.locator("[role=slider]").wait_for(state="attached")
    assert opened.page.title() == "teacher, 2 vehicles of family cf2x"
    assert opened.complaints == []
    assert opened.outside == []


def test_a_recording_plays_by_itself_through_the_whole_flight(recording, open_page):
    page = open_page(recording.as_uri()).page
    page.locator("[role=slider]").wait_for(state="attached")
    at = "document.querySelector('[role=slider]')"
    assert float(page.evaluate(f"{at}.getAttribute('aria-valuemax')")) == pytest.approx(2.0, abs=0.05)
    page.wait_for_function(f"parseFloat({at}.getAttribute('aria-valuenow')) < 0.5", timeout=20_000)
    early = picture(page)
    page.wait_for_function(f"parseFloat({at}.getAttribute('aria-valuenow')) > 1.0", timeout=20_000)
    assert (np.abs(picture(page) - early).max(-1) > 60).sum() > 300
