"""Seconds until a student in training reaches a return, without those in which it is measured."""

from __future__ import annotations

import contextlib
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable

from report import Target
from rsl_rl.runners import DistillationRunner


class _Reached(Exception):
    pass


class StoppedClock:
    """Counts wall and CPU seconds while it runs."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def go(self) -> None:
        self._started = time.perf_counter(), time.process_time()

    def stop(self) -> None:
        self.wall += time.perf_counter() - self._started[0]
        self.cpu += time.process_time() - self._started[1]


def time_to(
    target: float,
    make_runner: Callable[[str], DistillationRunner],
    mean_return: Callable[[DistillationRunner], float],
    most_iterations: int,
) -> dict[str, float]:
    """Train until the student's return reaches the target.

    Args:
        target: The return to reach.
        make_runner: Makes the runner, given the folder of its run.
        mean_return: Measures the runner's student while the clock stands, leaving no trace in the run.
        most_iterations: Length of the run.

    Returns:
        Seconds ``wall`` and ``cpu`` and ``iterations``, and whether it ``reached`` the target.
    """
    clock, iterations = StoppedClock(), 0
    with tempfile.TemporaryDirectory() as log_dir, contextlib.redirect_stdout(io.StringIO()):
        runner = make_runner(log_dir)
        update = runner.alg.update

        def update_and_measure() -> dict:
            nonlocal iterations
            losses = update()
            clock.stop()
            iterations += 1
            if mean_return(runner) >= target:
                raise _Reached
            clock.go()
            return losses

        runner.alg.update = update_and_measure  # pyright: ignore
        clock.go()
        try:
            runner.learn(most_iterations, init_at_random_ep_len=True)
            reached = False
        except _Reached:
            reached = True
    return {"wall": clock.wall, "cpu": clock.cpu, "iterations": iterations, "reached": reached}


def compare(
    title: str,
    sides: dict[str, Callable[[int], dict[str, float]]],
    limits: dict[str, dict[str, float]],
    seeds: int,
) -> tuple[list[Target], dict]:
    """Run every side with every seed, and compare medians with the best of rsl_rl's.

    A run of rsl_rl's that ended before it reached the target counts with its whole length, so that the ratio is a
    lower bound; with a run of ours the ratio is 0.

    Args:
        title: What is measured, for example ``1 time to a flying GRU student``.
        sides: Name to a function of the seed that returns what :func:`time_to` does; rsl_rl's names begin with
            ``stock``.
        limits: For each of our sides, the least ratio of ``cpu`` and of ``wall`` seconds.
        seeds: Number of seeds.

    Returns:
        Two targets for each of our sides, and all figures.
    """
    runs: dict[str, list[dict]] = {name: [] for name in sides}
    for seed in range(seeds):
        for name, run_side in sides.items():
            run = run_side(seed)
            runs[name].append(run)
            print(
                f"{title}: {name:24} seed {seed}  {run['wall']:6.2f} s  {run['cpu']:6.2f} CPU-s  "
                f"{run['iterations']} iterations{'' if run['reached'] else ', not reached'}",
                flush=True,
            )
    median = {
        name: {key: statistics.median(run[key] for run in of) for key in ("wall", "cpu", "iterations")}
        | {"reached": sum(run["reached"] for run in of)}
        for name, of in runs.items()
    }
    stock = [name for name in sides if name.startswith("stock")]
    targets = []
    for (ours, limit), (key, unit) in itertools.product(limits.items(), (("cpu", "CPU"), ("wall", "wall"))):
        best = min(stock, key=lambda name: (-median[name]["reached"], median[name][key]))
        seconds, missed = median[best][key], seeds - median[best]["reached"]
        ratio = seconds / median[ours][key] if median[ours]["reached"] == seeds else 0.0
        bound = f", {missed} of {seeds} runs never reached it" if missed else ""
        targets.append(
            Target(
                ", ".join([title, unit, *([ours] if ours != "ours" else [])]),
                f">= {limit[key]:g}",
                ratio,
                f"{median[ours][key]:.2f} s against {seconds:.2f} s "
                f"(rsl_rl, learning rate {best.split()[1]}{bound})",
            )
        )
    return targets, {"median": median, "runs": runs}
