"""Take the picture of a report in a real browser.

Run: python docs/figures/report.py logs/rsl_rl/demo/<run>/report.html (needs the extra `dev` and Chromium)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGE = Path(__file__).parents[1] / "images" / "report.png"


def main(report: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1180, "height": 1150})
        page.goto(Path(report).resolve().as_uri())
        page.screenshot(path=str(IMAGE))
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
