"""SIGTERM and SIGINT, once and twice."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from foundation.distill.checkpoint import load_checkpoint
from foundation.distill.checkpoint.manifest import newest_intact
from tests.support.processes import Child
from tests.support.run_state import NoisyEnv
from tests.support.saving_runs import build, quiet

COMMAND = [sys.executable, "-m", "foundation.cli.main"]
FLAGS = [
    "train", "--task", "distillation", "--num_envs", "8", "--max_iterations", "60", "agent.num_steps_per_env=10",
    "agent.algorithm.phase1_iterations=2", "agent.algorithm.max_updates_per_iteration=3",
    "agent.algorithm.learning_rate_schedule=linear",
]  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("whole")
    subprocess.run([*COMMAND, *FLAGS], cwd=folder, check=True, capture_output=True, timeout=120)
    (run,) = (folder / "logs" / "rsl_rl" / "distillation").iterdir()
    return load_checkpoint(run / "model_59.pt")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_printed_command_ends_the_run_as_if_nothing_had_happened(
    tmp_path, uninterrupted, signum
):
    process = subprocess.Popen([*COMMAND, *FLAGS], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "Learning iteration 20/" in line:
            process.send_signal(signum)
            break
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 128 + signum
    saved = re.search(r"checkpoint saved: (\S+); continue with: foundation (.*)", rest)
    assert saved is not None, rest
    stopped_after = load_checkpoint(tmp_path / saved[1])["iter"]
    assert 20 <= stopped_after < 59
    done = subprocess.run(
        [*COMMAND, *shlex.split(saved[2])], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    runs = sorted((tmp_path / "logs" / "rsl_rl" / "distillation").iterdir())
    assert len(runs) == 2  # a run's folder is never used again
    final = load_checkpoint(runs[1] / "model_59.pt")
    for part in ("student_state_dict", "optimizer_state_dict"):
        assert str(final[part]) == str(uninterrupted[part])
    for name, value in uninterrupted["student_state_dict"].items():
        assert torch.equal(final["student_state_dict"][name], value), name


class Hanging(NoisyEnv):
    """Tells when it is in the third iteration, and then never comes back."""

    def __init__(self, reached) -> None:
        super().__init__()
        self.reached = reached

    def step(self, actions):
        if len(self.actions) == 25:
            self.reached.send(os.getpid())
            while True:
                threading.Event().wait(3600.0)
        return super().step(actions)


def hang(folder: Path, reached) -> None:
    with quiet():
        build(folder, env=Hanging(reached)).learn(10)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_at_once_and_leaves_the_checkpoint_before_intact(tmp_path, signum):
    child = Child(hang, tmp_path / "run_0")
    child.receive()
    process = child.process
    os.kill(process.pid, signum)
    process.join(0.5)
    assert process.exitcode is None  # the iteration is not finished
    os.kill(process.pid, signum)
    process.join(5.0)
    assert process.exitcode == 128 + signum
    assert "a second signal ends the run at once" in child.errors()
    assert newest_intact(tmp_path / "run_0")[0] == tmp_path / "run_0" / "model_1.pt"


def test_a_run_outside_the_main_thread_leaves_signals_alone(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    class Watching(NoisyEnv):
        def step(self, actions):
            seen.append(signal.getsignal(signal.SIGTERM))
            return super().step(actions)

    def learn() -> None:
        with quiet():
            build(tmp_path / "run_0", env=Watching()).learn(1)

    thread = threading.Thread(target=learn)
    thread.start()
    thread.join()
    assert seen
    assert set(seen) == {before}
    with quiet():
        build(tmp_path / "run_1", env=Watching()).learn(1)
    assert seen[-1] is not before  # in the main thread they are taken over
    assert signal.getsignal(signal.SIGTERM) is before
