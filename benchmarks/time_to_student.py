"""Target 1: seconds from the first environment step to a student with 95 % of its teacher's return.

Task ``distillation`` at 100 environments x 100 steps and the packaged teacher. rsl_rl's ``Distillation`` has the
task's settings and the best learning rate of three: that with the least median over all seeds. Ours has

- the task's settings, the student acting from the first step on,
- the same, the teacher acting in the first iteration (``two-stage``),
- nothing but its class name, under rsl_rl's own runner (``class defaults``), in a run of 20 iterations.

After every iteration the clock stops while the student flies 256 episodes. Checked first: with both switches off,
this project's algorithm gives the weights of rsl_rl's bit for bit.

Run: python benchmarks/time_to_student.py [--seeds 5]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io

import stopped_clock
import torch
from report import record
from setups import STUDENTS, make_env, make_runner

from foundation.evaluation.flights import fly

SHARE = 0.95
STOCK_RATES = (3e-4, 1e-3, 3e-3)
MOST_ITERATIONS, SHORT_RUN = 80, 20
TWO_STAGE = ["agent.algorithm.use_two_stage_training=true", "agent.algorithm.phase1_iterations=1"]
LIMITS = {
    "feed-forward": {
        "ours": {"cpu": 8, "wall": 8},
        "two-stage": {"cpu": 8, "wall": 8},
        "class defaults": {"cpu": 10, "wall": 7},
    },
    "GRU": {
        "ours": {"cpu": 5, "wall": 5},
        "two-stage": {"cpu": 5, "wall": 5},
        "class defaults": {"cpu": 7, "wall": 5},
    },
}
"""Least ratio of rsl_rl's seconds to ours."""


def flown(student, env, start) -> float:
    """Return the mean return of a student over the episodes that begin at ``start``, leaving no trace in it."""
    rng = torch.get_rng_state()
    env.load_state_dict(start)
    value = fly(env, student).mean_return
    torch.set_rng_state(rng)
    return value


def time_to(
    target: float,
    side: str,
    overrides: list[str],
    seed: int,
    num_envs: int = 100,
    device: str = "cpu",
    most_iterations: int = MOST_ITERATIONS,
) -> dict:
    """Train until the student's return reaches the target; return the seconds and iterations that took."""
    env = make_env(256, 1000, device)
    start = env.state_dict()
    return stopped_clock.time_to(
        target,
        lambda log_dir: make_runner(side, overrides, num_envs, seed, log_dir, device),
        lambda runner: flown(runner.alg.get_policy(), env, start),
        most_iterations,
    )


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    check_both_off_is_stock()
    target = SHARE * teacher_return()
    for student, overrides in STUDENTS.items():

        def run(side: str, more: list[str], iterations: int, seed: int, overrides: list[str] = overrides) -> dict:
            return time_to(target, side, [*overrides, *more], seed, most_iterations=iterations)

        sides = {
            f"stock {rate:g}": functools.partial(
                run, "stock", [f"agent.algorithm.learning_rate={rate}"], MOST_ITERATIONS
            )
            for rate in STOCK_RATES
        }
        sides["ours"] = functools.partial(run, "ours", [], MOST_ITERATIONS)
        sides["two-stage"] = functools.partial(run, "ours", TWO_STAGE, MOST_ITERATIONS)
        sides["class defaults"] = functools.partial(run, "class", [], SHORT_RUN)
        title = f"1 time to a flying {student} student"
        targets, details = stopped_clock.compare(title, sides, LIMITS[student], args.seeds)
        record("time_to_student", targets, details)


if __name__ == "__main__":
    main()
