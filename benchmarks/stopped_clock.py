"""Seconds until a student in training reaches a return, without those in which it is measured."""

from __future__ import annotations

import contextlib
import io
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
        Seconds ``wall`` and ``cpu``, infinite if the run ended before, and ``iterations``.
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
    never = float("inf")
    return {
        "wall": clock.wall if reached else never,
        "cpu": clock.cpu if reached else never,
        "iterations": iterations,
    }


def compare(
    title: str,
    sides: dict[str, Callable[[int], dict[str, float]]],
    limits: dict[str, dict[str, float]],
    seeds: int,
) -> tuple[list[Target], dict]:
    """Run every side with every seed, and compare medians with the best of rsl_rl's.

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
                f"{run['iterations']} iterations",
                flush=True,
            )
    median = {
        name: {key: statistics.median(run[key] for run in of) for key in ("wall", "cpu", "iterations")}
        for name, of in runs.items()
    }
    best = {
        key: min((name for name in sides if name.startswith("stock")), key=lambda name: median[name][key])
        for key in ("cpu", "wall")
    }
    targets = [
        Target(
            ", ".join([title, unit, *([ours] if ours != "ours" else [])]),
            f">= {limit[key]:g}",
            median[best[key]][key] / median[ours][key],
            f"{median[ours][key]:.2f} s against {median[best[key]][key]:.2f} s "
            f"(rsl_rl, learning rate {best[key].split()[1]})",
        )
        for ours, limit in limits.items()
        for key, unit in (("cpu", "CPU"), ("wall", "wall"))
    ]
    return targets, {"median": median, "runs": runs}
