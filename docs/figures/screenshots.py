"""Take the pictures of VIEWER.md: the live view and the dashboard, in a headless Chromium.

Run: python docs/figures/screenshots.py [--checkpoint CHECKPOINT]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).parents[1] / "images"
SIZE = {"width": 1360, "height": 820}
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
ITERATION = 90
"""The iteration at which the dashboard is pictured."""


@contextlib.contextmanager
def serving(*words: str) -> Iterator[str]:
    """Run a command in a folder of its own, and yield the address that it prints."""
    with tempfile.TemporaryDirectory() as folder:
        command = subprocess.Popen(
            [sys.executable, "-m", "foundation.cli.main", *words],
            cwd=folder,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert command.stdout is not None
        try:
            for line in command.stdout:
                if found := re.search(r"open (http://\S+) in a browser", line):
                    yield found.group(1)
                    break
            else:
                raise SystemExit(f"{' '.join(words)} ended without an address")
        finally:
            command.send_signal(signal.SIGINT)
            command.communicate()


def open_page(page: Page, url: str) -> None:
    page.goto(url)
    # Close the notice that there is no GPU.
    notice = page.locator(".mantine-Notification-root")
    notice.get_by_role("button").click()
    notice.wait_for(state="detached")


def picture_viewer(page: Page, checkpoint: str | None) -> None:
    """Nine vehicles one second after their episodes began."""
    given = [] if checkpoint is None else ["--checkpoint", str(Path(checkpoint).resolve())]
    with serving("play", "--viewer", "viser", "--port", "0", "--num_envs", "9", *given) as url:
        open_page(page, url)
        page.get_by_label("Speed", exact=True).click()
        page.get_by_role("option", name="1/4").click()
        page.get_by_role("button", name="New episodes").click()
        page.wait_for_timeout(4000)
        page.get_by_role("button", name="Pause").click()
        page.wait_for_timeout(2500)
        page.screenshot(path=IMAGES / "viewer.png")


def picture_dashboard(page: Page) -> None:
    """A run shortly after the student has begun to drive."""
    flags = ["--max_iterations", "800", "agent.algorithm.phase1_iterations=60", "--quiet", "--port", "0"]
    with serving("train", "--task", "distillation", *flags, "--dashboard") as url:
        open_page(page, url)
        reached = f"parseInt(document.body.innerText.match(/iteration ([0-9]+) of/)?.[1] ?? 0) > {ITERATION}"
        page.wait_for_function(reached, timeout=300_000)
        page.wait_for_timeout(1000)
        page.screenshot(path=IMAGES / "dashboard.png")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", help="who flies in the live view (default: the packaged teacher)")
    chosen = parser.parse_args().checkpoint
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"), args=FLAGS
        )
        picture_viewer(browser.new_page(viewport=SIZE), chosen)
        picture_dashboard(browser.new_page(viewport=SIZE))
        browser.close()
