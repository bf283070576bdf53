"""The version of rsl_rl that the suite runs on."""

from __future__ import annotations

import os
from importlib.metadata import version

import pytest
import rsl_rl


@pytest.mark.skipif("RSL_RL_VERSION" not in os.environ, reason="set by make test-rsl-rl")
def test_the_suite_runs_on_the_version_that_was_asked_for():
    asked = os.environ["RSL_RL_VERSION"]
    assert version("rsl-rl-lib") == asked
    assert f".venv-rsl-rl/{asked}/" in rsl_rl.__file__
