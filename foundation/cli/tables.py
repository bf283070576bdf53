"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable


def print_table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Print a table with aligned columns."""
    from foundation.evaluation.columns import aligned

    print(aligned(header, rows))
