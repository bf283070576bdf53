"""Several processes that train one student: messages and time of an iteration for 1, 2 and 4, and a model of it.

Task ``distillation``, 50 environments x 100 steps and 50 gradient steps a process, joined by gloo on one machine.
Checked first: the weights of all processes are equal. An iteration takes

    T(K) = T(1) + steps * (latency * log2(K) + 2 (K - 1) / K * bytes / bandwidth),

a ring's all-reduce of the gradients, where every process has a core of its own; on two cores that is true of 2.
Latency and bandwidth are those of all-reduces that are timed by themselves.

Run: python benchmarks/ranks.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from report import RESULTS, machine
from setups import make_runner
from torch import distributed

from foundation.distill import ranks

RESULT = RESULTS / "ranks.json"
NUM_ENVS, UPDATES, WARM, MEASURED, REPEATS = 50, 50, 2, 8, 200
LARGE = 2**20
"""Numbers of the message whose time is all bandwidth."""
OPTIONS = [f"agent.algorithm.max_updates_per_iteration={UPDATES}"]


def all_reduce_seconds(numbers: int) -> float:
    message = torch.zeros(numbers)
    distributed.barrier()
    start = time.perf_counter()
    for _ in range(REPEATS):
        distributed.all_reduce(message)
    return (time.perf_counter() - start) / REPEATS


def measure(folder: Path) -> None:
    """Train in this process among others, and write what the first one has measured."""
    with contextlib.redirect_stdout(io.StringIO()):
        runner = make_runner("ours", OPTIONS, NUM_ENVS, ranks.launched_rank(), None, "cpu")
        runner.learn(WARM)
        start = time.perf_counter()
        runner.learn(MEASURED)
        seconds = (time.perf_counter() - start) / MEASURED
    weights = [{name: value.clone() for name, value in runner.alg.get_policy().state_dict().items()}]
    for other in ranks.gathered(weights[0]):
        assert all(torch.equal(value, other[name]) for name, value in weights[0].items())
    numbers = sum(parameter.numel() for parameter in runner.alg.student.parameters())
    result = {"processes": ranks.world_size(), "iteration_s": seconds, "gradient_bytes": 4 * numbers}
    if ranks.world_size() > 1:
        result["small_all_reduce_s"] = all_reduce_seconds(numbers)
        result["large_all_reduce_s"] = all_reduce_seconds(LARGE)
    if ranks.rank() == 0:
        (folder / "result.json").write_text(json.dumps(result))


def launched(processes: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc_per_node",
            str(processes),
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        subprocess.run([*command, __file__, "--measure", folder], check=True, env=environment)
        return json.loads((Path(folder) / "result.json").read_text())


def model(measured: list[dict]) -> dict[str, float]:
    """Return latency [s] and bandwidth [bytes/s] of the all-reduces of two processes."""
    (two,) = (row for row in measured if row["processes"] == 2)
    bandwidth = 4 * LARGE / (two["large_all_reduce_s"] - two["small_all_reduce_s"])
    return {"latency_s": two["small_all_reduce_s"], "bandwidth_bytes_per_s": bandwidth}


def predicted(
    processes: int, alone: float, num_bytes: int, latency_s: float, bandwidth_bytes_per_s: float
) -> float:
    """Return the seconds of an iteration where every process has a core of its own."""
    transfer = 2 * (processes - 1) / processes * num_bytes / bandwidth_bytes_per_s
    return alone + UPDATES * (latency_s * math.log2(processes) + transfer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure is not None:
        torch.set_num_threads(1)
        measure(args.measure)
        return
    measured = [launched(processes) for processes in (1, 2, 4)]
    fitted, alone = model(measured), measured[0]["iteration_s"]
    num_bytes = measured[0]["gradient_bytes"]
    rows = {k: predicted(k, alone, num_bytes, **fitted) for k in (1, 2, 4, 8, 16, 64)}
    results = {
        "machine": machine(),
        "updates": UPDATES,
        "measured": measured,
        "model": fitted,
        "predicted_s": rows,
    }
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    for row in measured:
        steps = row["processes"] * NUM_ENVS * 100 / row["iteration_s"]
        print(f"{row['processes']} processes: {1e3 * row['iteration_s']:.0f} ms an iteration, {steps:.0f} steps/s")
    print(f"gradients: {num_bytes} bytes, {UPDATES} times an iteration; {fitted}")
    for processes, seconds in rows.items():
        print(f"model, {processes} processes on their own cores: {1e3 * seconds:.0f} ms an iteration")


if __name__ == "__main__":
    main()
