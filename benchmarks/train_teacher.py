"""Distil the packaged teacher from the expert, measure it, and note where it comes from.

The network is that of task ``point_ctrl``'s actor, and reads what that reads. First states have the tilts of
RAPTOR and rotors from standstill to four fifths of full speed, so that it flies from those of either preset.

Run: python benchmarks/train_teacher.py --output DIR [--seed 0] [--run RUN]
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import tempfile
from pathlib import Path

import torch
from runs import WIDE, foundation

from foundation import __version__
from foundation.distill.checkpoint import atomic_save, load_checkpoint
from foundation.tasks import load_task
from foundation.tasks.config import compose
from foundation.tasks.saved_params import save_params

EVALUATION_SEEDS = (0, 5, 10)
STATES = {"present": [], "raptor": ["env.states=raptor"]}
ITERATIONS = 300
RECIPE = [
    "--task", "distillation", "--teacher", "expert", "--num_envs", "512", "--max_iterations", str(ITERATIONS),
    *WIDE,
    "agent.obs_groups.student=[teacher]", "agent.student.class_name=MLPModel", "agent.student.hidden_dims=[64,64]",
    "agent.student.activation=tanh", "agent.algorithm.phase1_iterations=8", "agent.algorithm.mini_batch_size=2048",
    "agent.algorithm.learning_rate=2e-3", "agent.algorithm.learning_rate_schedule=cosine",
    f"agent.algorithm.learning_rate_iterations={ITERATIONS}",
]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the packaged teacher")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--run", type=Path, help="folder of a finished run of the same settings and seed")
    args = parser.parse_args()
    output = args.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if args.run is None:
            foundation("train", *RECIPE, "--seed", str(args.seed), "--experiment_name", "flier", cwd=work)
        run = args.run or next((work / "logs" / "rsl_rl" / "flier").iterdir())
        make_teacher(run / f"model_{ITERATIONS - 1}.pt", output)
        rows = [
            (states, seed, evaluate(output / "best_model.pt", seed, overrides, work))
            for states, overrides in STATES.items()
            for seed in EVALUATION_SEEDS
        ]
    (output / "PROVENANCE.md").write_text(provenance(args.seed, rows))
    print((output / "PROVENANCE.md").read_text())


def make_teacher(student: Path, output: Path) -> None:
    """Write a student that reads the teacher's observations as PPO would have written a teacher."""
    state = load_checkpoint(student)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    kept = {"actor_state_dict": state["student_state_dict"], "iter": state["iter"], "infos": {}}
    atomic_save(kept, output / "best_model.pt")
    save_params(output, *compose(load_task("point_ctrl")))


def evaluate(teacher: Path, seed: int, overrides: list[str], work: Path) -> dict[str, float]:
    words = ["--task", "point_ctrl", "--teacher", str(teacher), "--seed", str(seed), "--no_report"]
    foundation("evaluate", *words, "--json", "result.json", *overrides, cwd=work)
    return json.loads((work / "result.json").read_text())["policies"]["teacher"]


def provenance(seed: int, rows: list[tuple[str, int, dict[str, float]]]) -> str:
    """Return the note that goes with the teacher."""
    lines = [
        "# Where this teacher comes from",
        "",
        "The actor's network of task `point_ctrl`, distilled from the expert, which knows every vehicle:",
        "",
        f"    foundation train {shlex.join(RECIPE)} --seed {seed}",
        "",
        f"with version {__version__} (torch {torch.__version__}, no GPU); the last policy, saved as by PPO.",
        "`params/` are the defaults of task `point_ctrl`: what it flies with, not how it was made.",
        "About five minutes on one core. `make teacher` repeats it; the number of threads changes the last bits.",
        "",
        "5 x 1024 episodes from each seed on, family cf2x",
        "(`foundation evaluate --task point_ctrl --teacher <this folder>/best_model.pt --seed S`, the second half",
        "with `env.states=raptor`):",
        "",
        "| first states | seed | survival | return | error, last second [m] | settle time [s] | command rate |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for states, evaluation_seed, row in rows:
        lines.append(
            f"| {states} | {evaluation_seed} | {row['survival']:.2%} | {row['mean_return']:.3f} "
            f"| {row['position_rmse_m']:.4f} | {row['settle_time_s']:.3f} | {row['command_rate']:.4f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
