"""Targets 6 and 7: the memory of a whole run, and the seconds before its first iteration.

Every measurement runs in a process of its own. Memory: the peak resident size of ``foundation train --task
distillation`` until its history of a million transitions is full, against the same run with a history of one
rollout plus the estimate that is printed before training. Checked: the console says that the history is full.
Start-up: ``--help``, and the first iteration with a warm and with an empty cache of compiled kernels.

Run: python benchmarks/run_costs.py
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from report import Target, record

FOUNDATION = [sys.executable, "-m", "foundation.cli.main"]
ROLLOUT, FULL = 10_000, 1_000_000


def train(folder: str, iterations: int, size: int, env: dict[str, str] | None = None) -> tuple[str, float, float]:
    """Return the console's text, the peak resident size [bytes], and the seconds to the first iteration's end."""
    command = [*FOUNDATION, "train", "--task", "distillation", "--max_iterations", str(iterations)]
    start, first, lines = time.perf_counter(), 0.0, []
    command.append(f"agent.algorithm.max_buffer_size={size}")
    options = {"cwd": folder, "env": {**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})}}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, **options) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if not first and "Learning iteration 0" in line:
                first = time.perf_counter() - start
            lines.append(line)
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    assert run.returncode == 0, "".join(lines[-5:])
    return "".join(lines), usage.ru_maxrss * 1024.0, first


def memory(folder: str) -> Target:
    _, baseline, _ = train(folder, 3, ROLLOUT)
    text, peak, _ = train(folder, FULL // ROLLOUT + 5, FULL)
    assert f"Total buffer size: {FULL}/{FULL}" in text
    each = re.search(r"(\d+) bytes a transition", text)
    assert each is not None
    estimate = int(each[1]) * FULL
    measured = f"{peak / 1e6:.0f} MB against {baseline / 1e6:.0f} MB + {estimate / 1e6:.0f} MB"
    return Target("6 peak memory of a run", "<= 1.2", peak / (baseline + estimate), measured)


def first_iteration(folder: str, cold: bool) -> float:
    seconds = []
    for repeat in range(3):
        env = {"WARP_CACHE_PATH": os.path.join(folder, f"kernels-{repeat}")} if cold else None
        seconds.append(train(folder, 1, FULL, env)[2])
    return statistics.median(seconds)


def help_seconds() -> float:
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([*FOUNDATION, "train", "--help"], check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        targets = [memory(folder)]
        # The runs above have filled the usual cache.
        for name, limit, seconds in (
            ("7 train --help", 0.5, help_seconds()),
            ("7 first iteration, warm kernel cache", 6, first_iteration(folder, cold=False)),
            ("7 first iteration, empty kernel cache", 15, first_iteration(folder, cold=True)),
        ):
            targets.append(Target(name, f"<= {limit:g}", seconds, f"{seconds:.2f} s"))
    record("run_costs", targets)


if __name__ == "__main__":
    main()
