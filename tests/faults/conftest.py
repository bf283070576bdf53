"""Figures of the slow fault injections, printed at the end of the test run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_FIGURES: list[str] = []


@pytest.fixture
def record_figures() -> Callable[..., None]:
    def record(fault: str, **figures: object) -> None:
        _FIGURES.append(f"{fault}: " + ", ".join(f"{name} {value}" for name, value in figures.items()))

    return record


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _FIGURES:
        terminalreporter.section("faults injected")
        for line in _FIGURES:
            terminalreporter.write_line(line)
