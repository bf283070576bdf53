"""Bring the pages that live outside ``docs/`` into the site, with their links adapted."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "README.zh-CN.md": "README.zh-CN.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "benchmarks/NOTES.md": "benchmark_notes.md",
    "LICENSE": "LICENSE.md",
}
"""Files by their path in the repository, and their path in the site."""
LINK = re.compile(r"(\]\()([^)#\s]+)(#[^)]*)?(\))")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages."""
    for source, target in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        text = f"# Licence\n\n```text\n{text}```\n" if source == "LICENSE" else text
        files.append(File.generated(config, target, content=_adapted(text, Path(source).parent)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Adapt links that leave ``docs/``."""
    return _adapted(markdown, Path("docs")) if page.file.src_uri not in PAGES.values() else markdown


def _adapted(text: str, folder: Path) -> str:
    """Return a page of a folder of the repository with links between the site's pages."""

    def adapt(match: re.Match) -> str:
        begin, target, anchor, end = match.groups()
        if "://" in target or target.startswith("mailto:"):
            return match.group()
        path = (ROOT / folder / target).resolve().relative_to(ROOT).as_posix()
        if not (ROOT / path).exists():
            raise PluginError(f"a page of {folder} links to {path}, which does not exist")
        if path in PAGES:
            return f"{begin}{PAGES[path]}{anchor or ''}{end}"
        if path.startswith("docs/"):
            return f"{begin}{path.removeprefix('docs/')}{anchor or ''}{end}"
        # Files of the repository that are no pages: their name is enough.
        return f"{begin}index.md{end}"

    return LINK.sub(adapt, text)
