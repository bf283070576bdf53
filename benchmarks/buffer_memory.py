"""Peak resident memory of a full history, growth included, against the estimate that is printed before training.

Each storage kind fills a history of 1 000 000 transitions at the sizes of task ``distillation`` in a process of
its own, drawing mini-batches in between. Checked, too: the history then holds the newest rollouts and no others.

Run: python benchmarks/buffer_memory.py [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import re
import subprocess
import sys
import tempfile

KINDS = ("memory", "memory-gru", "files", "files-gru", "gpu", "gpu-host-memory")
TRANSITIONS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, help="measure this kind in this process, and print one JSON line")
    parser.add_argument("--json", help="file to write the figures to")
    args = parser.parse_args()
    if args.kind:
        print(json.dumps(measure(args.kind)))
        return
    import torch

    results = []
    for kind in KINDS:
        if kind.startswith("gpu") and not torch.cuda.is_available():
            print(f"{kind}: skipped, no NVIDIA GPU")
            continue
        command = [sys.executable, __file__, "--kind", kind]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        results.append(json.loads(out.splitlines()[-1]))
    print(f"{'kind':16} {'estimate [MB]':>14} {'host peak [MB]':>15} {'GPU peak [MB]':>14} {'peak/estimate':>14}")
    for row in results:
        gpu = "" if row["gpu_peak_mb"] is None else f"{row['gpu_peak_mb']:.1f}"
        ratio = f"{row['ratio']:.3f}"
        print(f"{row['kind']:16} {row['estimate_mb']:14.1f} {row['host_peak_mb']:15.1f} {gpu:>14} {ratio:>14}")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(results, file, indent=1)


def measure(kind: str) -> dict:
    """Fill a history and return the estimate and the peaks."""
    import torch

    torch.set_num_threads(1)
    device = "cuda:0" if kind.startswith("gpu") else "cpu"
    options: dict = {"max_updates_per_iteration": 2}
    with tempfile.TemporaryDirectory() as folder:
        if kind.startswith("files"):
            options["buffer_dir"] = folder
        if kind == "gpu-host-memory":
            options["buffer_device"] = "cpu"
        fill(build(device, kind.endswith("gru"), {**options, "max_buffer_size": 30_000})[0], 4)
        alg, estimate = build(device, kind.endswith("gru"), {**options, "max_buffer_size": TRANSITIONS})
        before = resident("VmRSS")
        reset_peak()
        gpu_before = torch.cuda.memory_allocated() if device != "cpu" else 0
        if kind == "gpu":
            gpu_before -= alg.history.capacity * alg.history.storage.format.num_bytes
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        fill(alg, 102)
        peak = resident("VmHWM") - before
        gpu_peak = torch.cuda.max_memory_allocated() - gpu_before if device != "cpu" else None
        check_newest(alg, 102)
    measured = gpu_peak if kind == "gpu" else peak
    return {
        "kind": kind,
        "estimate_mb": estimate / 1e6,
        "host_peak_mb": peak / 1e6,
        "gpu_peak_mb": None if gpu_peak is None else gpu_peak / 1e6,
        "ratio": measured / estimate,
    }


def check_newest(alg, rollouts: int) -> None:
    """Assert that the history is full, of the newest rollouts and nothing else."""
    rows = alg.history[:]
    numbers = rows["student_actions"]
    if "trained" in alg.history.storage.fields:
        numbers = numbers[rows["trained"]]
    kept = numbers.unique().tolist()
    assert alg.history.num_transitions() > 0.95 * TRANSITIONS
    assert kept == [float(number) for number in range(rollouts - len(kept), rollouts)]


def build(device: str, recurrent: bool, options: dict) -> tuple:
    """Return the algorithm at the task's sizes, and the printed estimate [bytes]."""
    from rsl_rl.runners import DistillationRunner
    from setups import FEED_FORWARD, GRU

    import foundation
    from foundation.tasks import load_task
    from foundation.tasks.config import compose

    _, cfg = compose(load_task("distillation"), [*FEED_FORWARD, *(GRU if recurrent else [])])
    for name, value in options.items():
        setattr(cfg.algorithm, name, value)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        env = foundation.make_env("distillation", num_envs=100, device=device)
        runner = DistillationRunner(env, cfg.to_dict(), None, device)
    # What is printed in MB is too coarse to compare with: this is the number behind it.
    each = re.search(r"(\d+) bytes a transition", printed.getvalue())
    growing = re.search(r"at most (\d+) MB while it grows", printed.getvalue())
    assert each is not None
    estimate = int(growing[1]) * 1e6 if growing else int(each[1]) * options["max_buffer_size"]
    return runner.alg, estimate


def fill(alg, rollouts: int) -> None:
    """Append numbered rollouts of 10 000 transitions, and draw after each."""
    import torch

    for number in range(rollouts):
        for step in range(alg.storage.num_transitions_per_env):
            alg.dataset.layout.before_step(step)
        alg.storage.actions.fill_(number)
        alg.storage.privileged_actions.normal_()
        alg.dataset.append(torch.full_like(alg.phases, 2))
        for _ in alg.dataset.mini_batches():
            pass


def resident(name: str) -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))


def reset_peak() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


if __name__ == "__main__":
    main()
