"""Students of task ``distillation`` on family ``cf2x``: distil them, fly each beside its teacher, write the table.

The recipe of ``make demo`` with three seeds, a longer run from wider first states, short windows, and feed-forward
students, which are trained on as many transitions. 5 x 4096 episodes from the present first states and from
RAPTOR's, where vehicles begin tilted by up to 1 rad with their rotors standing. Every run is made by ``foundation
train`` and flown by ``foundation evaluate``.

Run: python benchmarks/cf2x_student.py [--only NAME] [--runs FOLDER] [--page]
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import tempfile
from pathlib import Path
from typing import Any

import torch
from report import machine, write_blocks
from runs import WIDE, foundation, last_checkpoint, student_weights, training_minutes

from foundation.tasks import packaged_teacher

ROOT = Path(__file__).resolve().parents[1]
RESULT, PAGE = ROOT / "benchmarks" / "results" / "cf2x_student.json", ROOT / "docs" / "RESULTS.md"
FIRST_SEED = 100
PRESENT = ["env.init.tilt=0.5", "env.init.rotor=[0.8,1.1]", "env.init.rotor_over_hover=true"]
"""The task's first states, by name because a run is flown from its own."""
STATES = {"present": PRESENT, "RAPTOR's": [*PRESENT, "env.states=raptor"]}
FEED_FORWARD = ["agent.student.class_name=MLPModel"]
LONG = ["--max_iterations", "400", "agent.algorithm.max_updates_per_iteration=100"]
METRICS = ("survival", "mean_return", "position_rmse_m", "settle_time_s", "command_rate")


def demo() -> list[str]:
    """Return the settings of ``make demo``."""
    found = re.search(r"^DEMO := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found is not None
    return found.group(1).replace("\\\n", " ").split()


STUDENTS = {
    **{f"GRU 16, seed {seed}": [*demo(), "--seed", str(seed)] for seed in (0, 1, 2)},
    "GRU 16, longer, wide": [*demo(), *LONG, "agent.algorithm.learning_rate_iterations=400", *WIDE],
    "GRU 16, windows of 15": [*demo(), "agent.algorithm.gradient_length=15"],
    "128 x 128": [*demo(), *FEED_FORWARD],
    "64 x 64": [*demo(), *FEED_FORWARD, "agent.student.hidden_dims=[64,64]"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="distil this student alone, and keep the others' results")
    parser.add_argument("--runs", type=Path, help="folder to keep the runs in")
    parser.add_argument("--page", action="store_true", help="only write the page from the kept results")
    args = parser.parse_args()
    if unknown := set(args.only or ()) - set(STUDENTS):
        parser.error(f"--only {', '.join(unknown)}: no such student; there are {'; '.join(STUDENTS)}")
    results: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in () if args.page else args.only or STUDENTS:
            results[name] = distil(name, (args.runs or Path(folder)).resolve())
            print(name, json.dumps(results[name], indent=1), flush=True)
    if not args.page:
        RESULT.write_text(
            json.dumps({name: results[name] for name in STUDENTS if name in results}, indent=1) + "\n"
        )
    write_blocks(PAGE, {"cf2x": table(results)})


def distil(name: str, folder: Path) -> dict[str, Any]:
    """Make a run, fly it and its teacher, and return the figures."""
    experiment = re.sub(r"\W+", "_", name)
    words = ["train", "--task", "distillation", "--experiment_name", experiment, *STUDENTS[name]]
    foundation(*words, cwd=folder)
    run = max((folder / "logs" / "rsl_rl" / experiment).iterdir())
    last = last_checkpoint(run)
    return {
        "command": shlex.join(["foundation", *words]),
        "weights": student_weights(last),
        "minutes": training_minutes(run),
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS", str(torch.get_num_threads())),
        "flights": {states: fly(last, overrides, folder) for states, overrides in STATES.items()},
    }


def fly(student: Path, overrides: list[str], folder: Path) -> dict[str, Any]:
    """Return the metrics of teacher and student, each as mean and 95 % confidence interval."""
    flags = [
        "--teacher",
        str(packaged_teacher()),
        "--student",
        str(student),
        "--no_report",
        "--json",
        "result.json",
    ]
    episodes = ["--num_envs", "4096", "--num_seeds", "5", "--seed", str(FIRST_SEED)]
    foundation("evaluate", "--task", "distillation", *flags, *episodes, *overrides, cwd=folder)
    result = json.loads((folder / "result.json").read_text())
    interval = result["confidence_95"]
    figures: dict[str, Any] = {
        role: {metric: [row[metric], interval[role][metric]] for metric in METRICS}
        for role, row in result["policies"].items()
    }
    return {**figures, "share": result["relative_return"]["student"]["mean"]}


def table(results: dict[str, Any]) -> str:
    """Return Markdown: a block of rows for each kind of first states, the teacher's first."""
    lines = [
        "| first states | policy | weights | survival | return | of the teacher's | error, last second "
        "| settles in | command rate |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for states in STATES:
        flights = {name: result["flights"][states] for name, result in results.items()}
        teacher = next(iter(flights.values()))["teacher"]
        lines.append(f"| {states} | teacher | | {cells(teacher, '')} |")
        for name, flight in flights.items():
            share = f"{100.0 * flight['share']:.2f} %"
            lines.append(f"| {states} | {name} | {results[name]['weights']} | {cells(flight['student'], share)} |")
    return "\n".join(lines)


def cells(metrics: dict[str, list[float]], share: str) -> str:
    def shown(metric: str, factor: float, digits: int, unit: str = "") -> str:
        mean, interval = (factor * value for value in metrics[metric])
        return f"{mean:.{digits}f} ± {interval:.{digits}f}{unit}"

    return " | ".join(
        [
            shown("survival", 100.0, 2, " %"),
            shown("mean_return", 1.0, 2),
            share,
            shown("position_rmse_m", 1e3, 1, " mm"),
            shown("settle_time_s", 1.0, 3, " s"),
            shown("command_rate", 1.0, 4),
        ]
    )


if __name__ == "__main__":
    main()
