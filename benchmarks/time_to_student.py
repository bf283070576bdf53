"""Target 1: seconds from the first environment step to a student with 95 % of its teacher's return.

Task ``distillation`` at 100 environments x 100 steps, the packaged teacher, the student driving from the first
step on, both sides with the task's settings. rsl_rl's ``Distillation`` gets the best learning rate of three: that
with the least median over all seeds. After every iteration the clock stops while the student flies 256 episodes.
Checked first: with both switches off, this project's algorithm gives the weights of rsl_rl's bit for bit.

A second line for the feed-forward student lets the teacher drive the first iteration, as two-stage training does.

Run: python benchmarks/time_to_student.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import statistics
import tempfile
import time

import torch
from report import Target, record
from setups import STUDENTS, make_env, make_runner

from foundation.evaluation.flights import fly

SHARE = 0.95
STOCK_RATES = (3e-4, 1e-3, 3e-3)
MOST_ITERATIONS = 80
TWO_STAGE = ["agent.algorithm.use_two_stage_training=true", "agent.algorithm.phase1_iterations=1"]


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


def flown(student, env, start) -> float:
    """Return the mean return of a student over the episodes that begin at ``start``, leaving no trace in it."""
    rng, hidden = torch.get_rng_state(), student.get_hidden_state()
    env.load_state_dict(start)
    student.eval()
    student.reset()
    value = fly(env, student).mean_return
    student.train()
    student.reset(hidden_state=hidden)
    torch.set_rng_state(rng)
    return value


def time_to(
    target: float, side: str, overrides: list[str], seed: int, num_envs: int = 100, device: str = "cpu"
) -> dict:
    """Train until the student's return reaches the target; return the seconds and iterations that took."""
    env = make_env(256, 1000, device)
    start = env.state_dict()
    clock, iterations = StoppedClock(), 0
    with tempfile.TemporaryDirectory() as log_dir, contextlib.redirect_stdout(io.StringIO()):
        runner = make_runner(side, overrides, num_envs, seed, log_dir, device)
        update = runner.alg.update

        def update_and_look() -> dict:
            nonlocal iterations
            losses = update()
            clock.stop()
            iterations += 1
            if flown(runner.alg.get_policy(), env, start) >= target:
                raise _Reached
            clock.go()
            return losses

        runner.alg.update = update_and_look  # pyright: ignore
        clock.go()
        try:
            runner.learn(MOST_ITERATIONS, init_at_random_ep_len=True)
            reached = False
        except _Reached:
            reached = True
    never = float("inf")
    return {
        "wall": clock.wall if reached else never,
        "cpu": clock.cpu if reached else never,
        "iterations": iterations,
    }


def check_both_off_is_stock() -> None:
    off = ["agent.algorithm.use_dagger=false"]
    weights = []
    for side in ("stock", "ours"):
        with contextlib.redirect_stdout(io.StringIO()):
            runner = make_runner(side, off)
            runner.learn(2)
        weights.append(runner.alg.get_policy().state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def teacher_return(device: str = "cpu") -> float:
    teacher = make_runner("ours", [], device=device).alg._raw_teacher
    return fly(make_env(256, 1000, device), teacher.eval()).mean_return  # pyright: ignore


def compare(student: str, seeds: int, target: float, limit: float) -> tuple[list[Target], dict]:
    sides: dict[str, tuple[str, list[str]]] = {
        f"stock {rate:g}": ("stock", [*STUDENTS[student], f"agent.algorithm.learning_rate={rate}"])
        for rate in STOCK_RATES
    }
    sides["ours"] = ("ours", STUDENTS[student])
    sides["ours, two-stage"] = ("ours", [*STUDENTS[student], *TWO_STAGE])
    runs: dict[str, list[dict]] = {name: [] for name in sides}
    for seed in range(seeds):
        for name, (side, overrides) in sides.items():
            run = time_to(target, side, overrides, seed)
            runs[name].append(run)
            print(
                f"{student:12} {name:16} seed {seed}  {run['wall']:6.2f} s  {run['cpu']:6.2f} CPU-s  "
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
            f"1 time to a flying {student} student, {unit}" + (", two-stage" if "two" in ours else ""),
            f">= {limit:g}",
            median[best[key]][key] / median[ours][key],
            f"{median[ours][key]:.2f} s against {median[best[key]][key]:.2f} s "
            f"(rsl_rl, learning rate {best[key].split()[1]})",
        )
        for ours in ("ours", "ours, two-stage")
        for key, unit in (("cpu", "CPU"), ("wall", "wall"))
    ]
    return targets, {"median": median, "runs": runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    check_both_off_is_stock()
    target = SHARE * teacher_return()
    for student, limit in (("feed-forward", 8), ("GRU", 5)):
        targets, details = compare(student, args.seeds, target, limit)
        record("time_to_student", targets, details)


if __name__ == "__main__":
    main()
