"""kill -9 at any moment, also while a checkpoint is being written."""

from __future__ import annotations

import random
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from foundation.distill.checkpoint import load_checkpoint
from tests.support.processes import SPAWN, Child
from tests.support.run_state import assert_same
from tests.support.saving_runs import build, newest_of, quiet

MOST_SAVES, LONGEST_PAUSE = 3, 0.25
"""Saves that a process may report before its last pause [s]; an iteration with its save takes 0.02 s or more."""


def train_for_ever(root: Path, number: int, may_begin: Event, saved: Connection) -> None:
    """Continue from the newest intact checkpoint when allowed, and report every iteration that has been saved."""
    may_begin.wait()
    with quiet():
        runner = build(root / f"run_{number}")
        newest = newest_of(root)
        if newest is not None:
            runner.load(str(newest))
        save = runner.save

        def reporting(path: str, infos: dict | None = None) -> None:
            save(path, infos)
            if runner.last_checkpoint == Path(path):
                saved.send(runner.last_completed_iteration)

        runner.save = reporting
        saved.send(-1)
        runner.learn(100_000)


def kill_again_and_again(root: Path, kills: int, seed: int) -> dict[str, int]:
    """Return how often a process died while it was saving, and how much was lost in all."""
    lives = random.Random(seed)
    newest, died_saving, last = -1, 0, -1
    # The next process imports its modules while one lives.
    permissions = [SPAWN.Event() for _ in range(kills + 1)]
    coming = Child(train_for_ever, root, 0, permissions[0])
    for number in range(kills):
        child, coming = coming, Child(train_for_ever, root, number + 1, permissions[number + 1])
        permissions[number].set()
        assert child.receive() == -1  # about to learn
        for _ in range(lives.randint(0, MOST_SAVES)):
            newest = child.receive()
        child.process.join(lives.uniform(0.0, LONGEST_PAUSE))
        assert child.process.exitcode is None
        child.kill()
        newest = max([newest, *child.messages()])
        run = root / f"run_{number}"
        died_saving += bool(list(run.glob("**/.*.tmp"))) or any(
            not path.with_suffix(".manifest.json").exists() for path in run.glob("model_*.pt")
        )
        found = newest_of(root)
        last = -1 if found is None else load_checkpoint(found)["iter"]
        assert last >= newest, (
            f"after kill {number} iteration {newest} was saved, but {last} is the newest intact one"
        )
    coming.kill()
    return {"kills": kills, "died_saving": died_saving, "iterations": last + 1}


def check(tmp_path: Path, kills: int, seed: int) -> dict[str, int]:
    figures = kill_again_and_again(tmp_path / "killed", kills, seed)
    newest = newest_of(tmp_path / "killed")
    with quiet():
        survivor = build(tmp_path / "killed" / "run_last")
        if newest is not None:
            survivor.load(str(newest))
        survivor.learn(3)
        whole = build(tmp_path / "whole" / "run_0", save_interval=10**9)
        whole.learn(survivor.last_completed_iteration + 1)
    assert_same(whole, survivor)
    return figures


def test_a_run_killed_at_random_moments_loses_no_saved_iteration_and_ends_as_one_that_was_not(tmp_path):
    figures = check(tmp_path, 6, seed=1)
    assert figures["iterations"] > 6


@pytest.mark.faults
def test_a_hundred_kills_lose_no_saved_iteration_and_some_of_them_struck_while_saving(tmp_path, record_figures):
    figures = check(tmp_path, 100, seed=0)
    record_figures("kill -9", **figures)
    assert figures["died_saving"] >= 5
    assert figures["iterations"] > 100
