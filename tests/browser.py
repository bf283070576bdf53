"""A real headless Chromium for the tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1280, "height": 900}
# Software rendering: there may be no GPU, and scenes need WebGL.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium: apt-get install chromium, or name one in the environment variable CHROMIUM")
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = chromium()
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield started
        started.close()


class Page:
    """A page, with its errors and requests."""

    def __init__(self, browser, size: dict[str, int]) -> None:
        self.page = browser.new_page(viewport=size)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def _on_console(self, message) -> None:
        if message.type == "error":
            self.complaints.append(message.text)

    @property
    def outside(self) -> list[str]:
        """Requests to the network."""
        return [url for url in self.requests if not url.startswith(("file:", "data:", "blob:"))]


@pytest.fixture
def open_page(browser) -> Iterator:
    opened: list[Page] = []

    def open_(url: str, size: dict[str, int] = DESKTOP) -> Page:
        opened.append(Page(browser, size))
        opened[-1].page.goto(url)
        return opened[-1]

    yield open_
    for page in opened:
        page.page.close()
