"""Logging services that cannot be reached, or lose their folder."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from foundation.distill.checkpoint import load_checkpoint
from tests.support.run_state import assert_same
from tests.support.saving_runs import build, quiet

ROOT = Path(__file__).parents[2]


class BrokenWriter:
    """A logging service that fails in every call."""

    def __init__(self, log_dir: str) -> None:
        self.log_dir = log_dir

    def add_scalar(self, *_: object, **__: object) -> None:
        raise ConnectionError("the service is gone")


class UnreachableWriter:
    """A logging service that cannot even be started."""

    def __init__(self, log_dir: str) -> None:
        raise TimeoutError("no answer from the service")


@pytest.mark.parametrize(
    ("writer", "reason"),
    [("BrokenWriter", "the service is gone"), ("UnreachableWriter", "no answer from the service")],
)
def test_a_service_that_fails_costs_one_warning_and_nothing_of_the_training(tmp_path, writer, reason):
    printed = io.StringIO()
    runner = build(tmp_path / "run_0")
    runner.cfg["logger"] = {"class_name": f"tests.faults.test_logging:{writer}"}
    with contextlib.redirect_stdout(printed):
        runner.learn(4)
    out = printed.getvalue()
    assert out.count(f"[Log] logging failed, training goes on without it: {reason}") == 1
    assert out.count("Learning iteration") == 4
    assert load_checkpoint(tmp_path / "run_0" / "model_3.pt")["iter"] == 3
    with quiet():
        whole = build(tmp_path / "whole")
        whole.learn(4)
    assert_same(whole, runner)


def remove(folder: Path) -> None:
    """Remove a folder into which TensorBoard's thread may be writing."""
    while folder.exists():
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


def test_a_removed_folder_costs_nothing_of_the_training(tmp_path):
    with quiet():
        runner = build(tmp_path / "run_0")
        end = runner._after_iteration

        def removing(it: int) -> None:
            if it == 1:
                remove(tmp_path / "run_0")
            end(it)

        runner._after_iteration = removing
        runner.learn(5)
        whole = build(tmp_path / "whole")
        whole.learn(5)
    assert_same(whole, runner)
    assert load_checkpoint(tmp_path / "run_0" / "model_4.pt")["iter"] == 4


@pytest.mark.faults
def test_wandb_without_a_network_costs_one_warning_and_nothing_of_the_training(tmp_path):
    pytest.importorskip("wandb")
    with socket.socket() as free:  # a port where nobody listens
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "foundation.cli.main", "train", "--task", "distillation", "--num_envs", "4",
        "--max_iterations", "3", "--logger", "wandb", "agent.num_steps_per_env=10",
    ]  # fmt: skip
    service = {
        "WANDB_MODE": "online",
        "WANDB_BASE_URL": f"http://127.0.0.1:{port}",
        "WANDB_API_KEY": "0" * 40,
        "WANDB_INIT_TIMEOUT": "10",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **service}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[Log] logging failed, training goes on without it") == 1
    (run,) = (tmp_path / "logs" / "rsl_rl" / "distillation").iterdir()
    assert load_checkpoint(run / "model_2.pt")["iter"] == 2
