"""Self-contained HTML pages of headings, tables, charts and text."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template

TEMPLATE = Path(__file__).parent / "templates" / "report.html"


def page(title: str, subtitle: str, highlights: Sequence[tuple[str, str]], sections: Sequence[str]) -> str:
    """Return a page.

    Args:
        title: Its title, as text.
        subtitle: The line under the title, as text.
        highlights: Value and label of the figures at the top, as text.
        sections: HTML as returned by :func:`section`.
    """
    items = "".join(f"<li><b>{escape(value)}</b>{escape(label)}</li>" for value, label in highlights)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        highlights=f'<ul class="key">{items}</ul>' if items else "",
        sections="\n".join(sections),
    )


def is_report(path: Path) -> bool:
    """Return whether a file is a page that :func:`page` returned."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return '<link rel="icon" href="data:,">' in text and text.rstrip().endswith("</body>\n</html>")


def section(title: str, *parts: str) -> str:
    """Return a heading with parts, which are HTML, under it."""
    return f"<section><h2>{escape(title)}</h2>\n" + "\n".join(parts) + "</section>"


def text(words: str) -> str:
    """Return a paragraph."""
    return f"<p>{escape(words)}</p>"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that scrolls if it is wider than the page."""
    head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def side_by_side(*figures: str | None) -> str:
    """Return charts in as many columns as fit; None is left out."""
    return '<div class="grid">' + "\n".join(figure for figure in figures if figure) + "</div>"


def chart(svg: str | None, title: str, words: str) -> str | None:
    """Return a chart with its caption; None without a drawing.

    Args:
        svg: The drawing.
        title: Title, also the alternative text.
        words: How to read it.
    """
    if svg is None:
        return None
    data = base64.b64encode(svg.encode()).decode()
    # As an image: identifiers of several inline drawings would collide.
    image = f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}">'
    return f"<figure>{image}<figcaption><b>{escape(title)}.</b> {escape(words)}</figcaption></figure>"


def code(words: str) -> str:
    """Return preformatted text."""
    return f"<pre>{escape(words)}</pre>"


def folded(summary: str, words: str) -> str:
    """Return preformatted text that is shown on demand."""
    return f"<details><summary>{escape(summary)}</summary>{code(words)}</details>"


def write_whole(path: Path, words: str) -> None:
    """Write a file; a failed write leaves the old one."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(words, encoding="utf-8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
