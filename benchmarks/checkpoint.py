"""What saving costs: with 20 000 and with 1 000 000 transitions in the history, and writing all of it.

Task ``distillation`` at reference scale: between two saves one rollout of 10 000 transitions arrives. Checked
first: a run that loads the checkpoint has the same history. Sides take turns in one process.

Run: python benchmarks/checkpoint.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import torch
from report import in_turn, medians, record
from setups import make_runner

from foundation.distill.checkpoint import atomic_save
from foundation.distill.runners.dagger import DaggerRunner

SIZES = (20_000, 1_000_000)
REPEATS = 15


def filled(size: int, folder: Path) -> DaggerRunner:
    """Return a runner whose history is full."""
    runner = make_runner("ours", [f"agent.algorithm.max_buffer_size={size}"], log_dir=str(folder))
    assert isinstance(runner, DaggerRunner)
    runner.alg.storage.step = 0
    while len(runner.alg.history) < size:
        rollout(runner)
    runner.last_completed_iteration = 0
    return runner


def rollout(runner: DaggerRunner) -> None:
    """Append one rollout of random numbers."""
    storage = runner.alg.storage
    for values in (*storage.observations.values(), storage.privileged_actions, storage.actions):
        values.normal_()
    runner.alg.dataset.append(runner.alg.phases)


def save(runner: DaggerRunner) -> Path:
    runner.last_completed_iteration += 1
    path = Path(runner.logger.log_dir) / f"model_{runner.last_completed_iteration}.pt"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runner.save(str(path))
    assert not printed.getvalue(), printed.getvalue()
    return path


def check(runner: DaggerRunner, folder: Path) -> None:
    """Assert that what was saved is the history."""
    size = runner.alg.options.max_buffer_size
    other = make_runner("ours", [f"agent.algorithm.max_buffer_size={size}"], log_dir=str(folder))
    with contextlib.redirect_stdout(io.StringIO()):
        other.load(str(runner.last_checkpoint))
    for name, values in runner.alg.history[:].items():
        assert torch.equal(other.alg.history[:][name], values), name


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        runners = {f"{size}": filled(size, Path(folder) / f"{size}") for size in SIZES}
        first = in_turn({name: lambda runner=runner: save(runner) for name, runner in runners.items()}, 1)
        for name, runner in runners.items():
            for _ in range(3):
                rollout(runner)
                save(runner)
            check(runner, Path(folder) / f"again_{name}")
        seconds: dict[str, list[float]] = {}
        whole = runners[f"{SIZES[-1]}"]
        for _ in range(REPEATS):
            for runner in runners.values():
                rollout(runner)
            sides = {name: lambda runner=runner: save(runner) for name, runner in runners.items()}
            sides["everything"] = lambda: atomic_save(whole.alg.training_state(), Path(folder) / "everything.pt")
            for name, values in in_turn(sides, 1).items():
                seconds.setdefault(name, []).extend(values)
    typical = medians(seconds)
    for name, value in typical.items():
        print(f"{name:>12}: {1e3 * value:7.1f} ms a save, ratio {value / typical[f'{SIZES[0]}']:.2f}")
    print(f"first save of {SIZES[-1]} transitions: {1e3 * first[f'{SIZES[-1]}'][0]:.0f} ms")
    record("checkpoint", [], {"seconds": typical, "first": {name: values[0] for name, values in first.items()}})


if __name__ == "__main__":
    main()
