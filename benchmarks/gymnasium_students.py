"""Students without velocities on MuJoCo tasks of gymnasium: DAgger against Distillation in equal steps.

``make bench-gymnasium`` trains a PPO teacher for the double pendulum and for the half-cheetah, and three GRU
students of each side, prints the tables and writes ``benchmarks/results/gymnasium_students.json``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from equal_steps import Choice, compare, stock_algorithm, table
from gymnasium_setups import CHEETAH, PENDULUM, STUDENTS, Setup, make_envs, mean_return, model, train_teacher
from report import RESULTS, ROOT, write_blocks
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerRunner

RESULT = RESULTS / "gymnasium_students.json"
NUM_ENVS, STEPS, EPISODES = 32, 50, 32
GRID = [(10, 4, 1e-3), (10, 4, 3e-3), (50, 8, 1e-3), (50, 8, 3e-3)]
"""Gradient length, epochs and learning rate that rsl_rl's Distillation is tuned over."""
SETUPS = {"pendulum": (PENDULUM, 140), "cheetah": (CHEETAH, 200)}
"""Task and iterations of the students."""


def students(setup: Setup, iterations: int, teacher: str) -> dict[str, Any]:
    flown = make_envs(setup, EPISODES, 1000, "GRU")

    def make_runner(seed: int, choice: Choice | None) -> Any:
        torch.manual_seed(seed)
        cfg = {
            "num_steps_per_env": STEPS,
            "save_interval": 1000,
            "obs_groups": {"student": ["student"], "teacher": ["teacher"]},
            "student": dict(STUDENTS["GRU"]),
            "teacher": model(0.6),
        }
        envs = make_envs(setup, NUM_ENVS, seed, "GRU")
        if choice is None:
            ours = {"class_name": "foundation.distill:DaggerDistillation", "teacher_checkpoint": teacher}
            return DaggerRunner(envs, {**cfg, "algorithm": {**ours, "rnd_cfg": None}}, None, "cpu")
        runner = DistillationRunner(envs, {**cfg, "algorithm": stock_algorithm(choice)}, None, "cpu")
        runner.load(teacher)
        return runner

    results = compare(make_runner, lambda policy: mean_return(policy, flown, 1000), iterations, grid=GRID)
    return results | {"task": setup.task, "environment_steps": iterations * NUM_ENVS * STEPS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SETUPS, help="one task")
    parser.add_argument("--page", action="store_true", help="write the tables of the results into the documents")
    args = parser.parse_args()
    results = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if args.page:
        write_blocks(
            ROOT / "docs" / "INTEGRATIONS.md", {f"students of {name}": table(results[name]) for name in SETUPS}
        )
        return
    for name, (setup, iterations) in SETUPS.items():
        if args.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                teacher = str(Path(folder) / "teacher.pt")
                train_teacher(setup, teacher)
                results[name] = students(setup, iterations, teacher)
            RESULT.write_text(json.dumps(results, indent=1) + "\n")
            print(table(results[name]))


if __name__ == "__main__":
    main()
