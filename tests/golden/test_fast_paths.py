"""Everything in ``distill/fast`` gives the plain result up to rounding, and can be deleted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from foundation.distill.algorithm.imitation import Imitation
from foundation.distill.fast_paths import FAST, fastest
from tests.golden.cases import cases
from tests.golden.record import WEIGHTS, make_runner, train_reseeded, working_directory

KEPT = torch.load(WEIGHTS, weights_only=True)
BLOCKED = f"""
import sys
sys.modules[{FAST!r}] = None
from tests.golden.record import cases, train_reseeded, working_directory
with working_directory():
    train_reseeded(*cases()["gru: dagger two-stage"])
assert not [name for name in sys.modules if name.startswith({FAST!r} + ".")]
"""


@pytest.fixture(autouse=True, scope="module")
def _teachers() -> Iterator[None]:
    with working_directory():
        yield


@pytest.mark.parametrize("name", cases())
def test_without_the_fast_paths_the_weights_are_the_kept_ones_up_to_rounding(name):
    student, options = cases()[name]
    weights = train_reseeded(student, options | {"use_fast_paths": False})
    for key, value in KEPT[name].items():
        torch.testing.assert_close(weights[key], value, rtol=0, atol=5e-6, msg=lambda m, k=key: f"{k}: {m}")


def test_the_switch_changes_what_runs_and_another_option_changes_the_weights():
    for use_fast_paths in (True, False):
        with torch.random.fork_rng():
            runner = make_runner("gru", {"use_fast_paths": use_fast_paths}, None)
        kind = fastest(Imitation, use_fast_paths)
        assert type(runner.alg.imitation) is kind
        assert (kind is Imitation) != use_fast_paths
    one, other = KEPT["gru: dagger two-stage"], KEPT["gru: huber"]
    assert max((one[key] - other[key]).abs().max() for key in one) > 1e-3


def test_training_works_when_the_folder_is_gone():
    subprocess.run(
        [sys.executable, "-c", BLOCKED],
        check=True,
        timeout=120,
        cwd=pytest.importorskip("tests").__path__[0] + "/..",
    )
