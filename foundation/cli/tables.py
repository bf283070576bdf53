"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable


def print_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table with aligned columns."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
