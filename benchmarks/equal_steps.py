"""DAgger against rsl_rl's ``Distillation`` in equal environment steps: what the benchmarks of hosts share.

``Distillation`` is tuned over a grid of gradient lengths, epochs and learning rates on the first seed.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

SEEDS = (0, 1, 2)
STOCK_GRID = [(8, 2, 1e-3), (8, 2, 3e-3), (32, 8, 1e-3), (32, 8, 3e-3)]
"""Gradient length, epochs and learning rate."""

Choice = tuple[int, int, float]


def stock_algorithm(choice: Choice) -> dict[str, Any]:
    """Return the configuration of rsl_rl's algorithm."""
    gradient_length, epochs, learning_rate = choice
    return {
        "class_name": "Distillation",
        "gradient_length": gradient_length,
        "num_learning_epochs": epochs,
        "learning_rate": learning_rate,
        "rnd_cfg": None,
    }


def compare(
    make_runner: Callable[[int, Choice | None], Any],
    mean_return: Callable[[Any], float],
    iterations: int,
    seeds: Iterable[int] = SEEDS,
    grid: Iterable[Choice] = STOCK_GRID,
) -> dict[str, Any]:
    """Train students of both sides, and return their returns and times.

    Args:
        make_runner: Returns a new runner for a seed, ours without a choice.
        mean_return: Returns the mean return of a policy.
        iterations: Iterations of every run.
        seeds: Seeds of both sides.
        grid: Settings that ``Distillation`` is tuned over.
    """

    def train(seed: int, choice: Choice | None) -> dict[str, float]:
        runner = make_runner(seed, choice)
        start, cpu = time.perf_counter(), time.process_time()
        with contextlib.redirect_stdout(io.StringIO()):
            runner.learn(iterations, init_at_random_ep_len=True)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        runner.alg.eval_mode()
        result = {"return": mean_return(runner.alg.get_policy()), "seconds": seconds, "cpu_seconds": cpu}
        print(seed, choice or "ours", {name: round(value, 3) for name, value in result.items()}, flush=True)
        return result

    seeds = list(seeds)
    results: dict[str, Any] = {"teacher": mean_return(make_runner(0, None).alg.teacher)}
    print(f"teacher {results['teacher']:.3f}", flush=True)
    results["tuning"] = [[*choice, train(seeds[0], choice)["return"]] for choice in grid]
    *best, _ = max(results["tuning"], key=lambda row: row[-1])
    results["ours"] = [train(seed, None) for seed in seeds]
    results["stock"] = [train(seed, tuple(best)) for seed in seeds]  # pyright: ignore
    return results


def table(results: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    lines = ["| | return | of the teacher's | CPU time |", "| --- | --- | --- | --- |"]
    lines.append(f"| teacher, PPO, sees velocities | {results['teacher']:.4g} | | |")
    for side, name in (("ours", "DAgger, defaults"), ("stock", "rsl_rl's Distillation, tuned")):
        runs = results[side]
        returns = [run["return"] for run in runs]
        shares = ", ".join(f"{100 * value / results['teacher']:.1f}" for value in returns)
        seconds = statistics.mean(run["cpu_seconds"] for run in runs)
        lines.append(f"| {name} | {statistics.mean(returns):.4g} | {shares} % | {seconds / 60:.1f} min |")
    return "\n".join(lines)
