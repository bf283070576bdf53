"""Watching a training run."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

import foundation
from foundation.cli import train
from foundation.distill.runners.report import IterationReport
from foundation.viewer import dashboard
from foundation.viewer.clips import ClipCamera
from foundation.viewer.dashboard import acting_role
from tests.browser import Page
from tests.viewer.conftest import served

FLAGS = [
    "--num_envs", "8", "--max_iterations", "4", "agent.num_steps_per_env=40",
    "agent.algorithm.phase1_iterations=2", "agent.algorithm.max_updates_per_iteration=3",
]  # fmt: skip


def run(folder: Path, *flags: str) -> dict[str, torch.Tensor]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train.main(["--task", "distillation", *FLAGS, *flags])
    (path,) = folder.glob("logs/rsl_rl/distillation/*/model_3.pt")
    return torch.load(path, weights_only=True)["student_state_dict"]


def test_weights_with_the_dashboard_are_those_without_bit_for_bit(tmp_path, monkeypatch):
    pytest.importorskip("viser", reason="viser is not installed")
    (tmp_path / "without").mkdir()
    (tmp_path / "with").mkdir()
    without = run(tmp_path / "without")
    # Short clips, so that at least the first is made while these few steps are trained on.
    monkeypatch.setattr(dashboard, "CLIP_SECONDS", 0.05)
    made = []
    take, close = ClipCamera.take, ClipCamera.close
    monkeypatch.setattr(ClipCamera, "take", lambda camera: made.append(take(camera)) or made[-1])
    monkeypatch.setattr(ClipCamera, "close", lambda camera: (made.append(take(camera)), close(camera)))
    watched = run(tmp_path / "with", "--dashboard", "--port", "0")
    assert any(clip is not None for clip in made)
    assert without.keys() == watched.keys()
    assert all(torch.equal(without[name], watched[name]) for name in without)


def test_a_clip_holds_consecutive_steps_of_the_first_vehicles_and_reading_changes_nothing():
    env, twin = (
        foundation.make_env("distillation", num_envs=5, overrides=["env.episode_steps=4"]) for _ in range(2)
    )
    camera = ClipCamera(env, 3, 6)
    actions = torch.full((5, 4), 0.1)
    for number in range(9):
        if number == 2:
            camera.request()
        env.step(actions)
    clip = camera.take()
    assert clip is not None
    states = []
    for _ in range(9):
        _, _, dones, _ = twin.step(actions)
        states.append((twin.sim.pos_w[:3].numpy().copy(), dones[:3].numpy() > 0))
    assert torch.equal(env.sim.pos_w, twin.sim.pos_w)
    assert len(clip.moments) == 6
    for moment, ended, (pos_w, done) in zip(clip.moments, clip.ended, states[2:8], strict=True):
        np.testing.assert_array_equal(moment.pos_w, pos_w)
        np.testing.assert_array_equal(ended, done)
    assert clip.ended.any()


def test_a_clip_is_taken_once_and_none_is_made_unless_one_is_wanted():
    env = foundation.make_env("distillation", num_envs=2)
    camera = ClipCamera(env, 2, 2)
    actions = torch.zeros(2, 4)

    def two_steps() -> None:
        env.step(actions)
        env.step(actions)

    two_steps()
    assert camera.take() is None
    camera.request()
    two_steps()
    assert camera.take() is not None
    assert camera.take() is None
    camera.close()
    camera.request()
    two_steps()
    assert camera.take() is None


@pytest.mark.parametrize(
    ("probability", "trained", "role"),
    [
        (None, "teacher", "teacher"),
        (None, "student", "student"),
        (1.0, "student", "teacher"),
        (0.0, "student", "student"),
        (0.6, "student", "teacher"),
        (0.2, "student", "student"),
    ],
)
def test_vehicles_have_the_colour_of_the_policy_that_acts_more_often(probability, trained, role):
    assert acting_role(IterationReport(0, 10, teacher_probability=probability), trained) == role


def test_the_page_shows_iterations_as_they_end_and_offers_nothing_to_change(browser, tmp_path):
    pytest.importorskip("viser", reason="viser is not installed")
    long = ["--num_envs", "8", "--max_iterations", "100000", "agent.algorithm.phase1_iterations=2", "--quiet"]
    # Iterations are short, so that the run reacts to Ctrl-C soon.
    long += ["agent.num_steps_per_env=20", "agent.algorithm.max_updates_per_iteration=3"]
    with served(
        "train", "--task", "distillation", *long, "--dashboard", "--port", "0", folder=tmp_path
    ) as running:
        opened = Page(browser, {"width": 800, "height": 560})
        opened.page.goto(running.url)
        shown = opened.page.get_by_text(re.compile(r"iteration \d+ of 100000"))
        shown.wait_for()
        first = int(shown.inner_text().split()[1])
        opened.page.wait_for_function(
            f"parseInt(document.body.innerText.match(/iteration ([0-9]+) of/)[1]) > {first}", timeout=20_000
        )
        opened.page.get_by_text("Phase 2 (student actions)").wait_for()
        opened.page.get_by_text("mean return over iteration").first.wait_for()
        # viser's own settings of the page are hidden in a menu.
        controls = opened.page.locator("input:visible, button:visible, select:visible, textarea:visible")
        names = [control.inner_text() for control in controls.all()]
        assert [name for name in names if name] == []
        assert opened.page.locator("input:visible").count() == 0
        assert opened.complaints == []
        opened.page.close()
        assert running.end(signal.SIGINT) == 130
    assert "continue with: foundation train" in running.output
