"""Exports are checked with a C compiler."""

from __future__ import annotations

import shutil

import pytest


@pytest.fixture(autouse=True, scope="session")
def compiler() -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
