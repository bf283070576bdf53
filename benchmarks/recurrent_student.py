"""A GRU student against feed-forward ones of as many parameters, on vehicles that differ widely.

Family cf2x with spreads of 50 % and a disturbance force of 15 % of weight per axis. Trains a teacher for it unless
one is given, distils every student from it with every seed, and compares returns on the same 1024 episodes. Takes
about 20 minutes for the teacher and 2 minutes for each student on one core.

Run: python benchmarks/recurrent_student.py [--teacher RUN] [--seeds 0 1 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

FAMILY = [
    "env.randomization.family=cf2x",
    *(f"env.randomization.cf2x.{name}=0.5" for name in ("mass", "inertia", "thrust", "tau")),
    "env.randomization.cf2x.force_std=0.15",
]
GRU = ["agent.student.class_name=RNNModel", "agent.student.rnn_type=gru", "agent.student.rnn_hidden_dim=32"]
MLP = ["agent.student.class_name=MLPModel"]
UPDATE = [
    "agent.algorithm.mini_batch_size=2048",
    "agent.algorithm.max_updates_per_iteration=25",
    "agent.student.activation=tanh",
    "agent.student.distribution_cfg.init_std=0.05",
]
STUDENTS = {
    "gru-32": [*GRU, "agent.student.hidden_dims=[32]"],
    "mlp-68-68": [*MLP, "agent.student.hidden_dims=[68,68]"],
    "mlp-50-50-50": [*MLP, "agent.student.hidden_dims=[50,50,50]"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", help="checkpoint of a teacher that was trained on this family")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--iterations", type=int, default=400, help="iterations of each student")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    teacher = args.teacher or train_teacher()
    rows = [
        measure(name, settings, seed, teacher, args.iterations)
        for seed in args.seeds
        for name, settings in STUDENTS.items()
    ]
    if args.json:
        result = {
            "machine": platform.processor() or platform.machine(),
            "iterations": args.iterations,
            "runs": rows,
        }
        args.json.write_text(json.dumps(result, indent=1) + "\n")


def train_teacher() -> str:
    train("point_ctrl", "wide_teacher", 1, 1200, ["agent.actor.hidden_dims=[128,128]"])
    return str(newest("wide_teacher") / "best_model.pt")


def measure(name: str, settings: list[str], seed: int, teacher: str, iterations: int) -> dict:
    """Distil one student, fly it and its teacher, print and return the figures."""
    import torch

    settings = [*settings, *UPDATE, "agent.algorithm.phase1_iterations=40"]
    train("distillation", f"wide_{name}", seed, iterations, ["--checkpoint", teacher, *settings])
    run = newest(f"wide_{name}")
    weights = torch.load(run / "best_model.pt", weights_only=True)["student_state_dict"]
    parameters = sum(value.numel() for key, value in weights.items() if key.startswith(("mlp.", "rnn.")))
    out = run / "evaluation.json"
    flags = ["--teacher", teacher, "--student", str(run), "--seed", "100", "--json", str(out)]
    foundation("evaluate", flags)
    result = json.loads(out.read_text())["policies"]
    student, its_teacher = result["student"], result["teacher"]
    share = student["mean_return"] / its_teacher["mean_return"]
    print(f"{name:14} seed {seed}  {parameters} parameters  {share:.2%} of the teacher's return", flush=True)
    return {"student": name, "seed": seed, "parameters": parameters, "share": share, **student}


def train(task: str, experiment: str, seed: int, iterations: int, more: list[str]) -> None:
    run = [
        "--task",
        task,
        "--experiment_name",
        experiment,
        "--seed",
        str(seed),
        "--max_iterations",
        str(iterations),
    ]
    foundation("train", [*run, *more])


def foundation(command: str, arguments: list[str]) -> None:
    words = [sys.executable, "-m", "foundation.cli.main", command, *arguments, *FAMILY]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def newest(experiment: str) -> Path:
    return max(Path("logs/rsl_rl", experiment).iterdir())


if __name__ == "__main__":
    main()
