"""Train a packaged student of an expert, or install one that was trained, and note where it comes from.

Run: python benchmarks/train_foundation_policy.py --output DIR [--task tracking] [--run RUN] [WORD ...]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path

import torch
import yaml
from runs import foundation, last_checkpoint, student_weights, training_minutes

from foundation import __version__
from foundation.distill.checkpoint import atomic_save, load_checkpoint
from foundation.tasks.packaged import WITH_STUDENT

KEPT = ("student_state_dict", "teacher_state_dict", "dagger_state_dict", "iter", "infos")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder of the packaged student")
    parser.add_argument("--task", choices=WITH_STUDENT, default="foundation")
    parser.add_argument("--run", type=Path, help="folder of a finished run of the same settings")
    parser.add_argument(
        "settings", nargs="*", help="words of the command beside the task, as agent.student.rnn_hidden_dim=32"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        if args.run is None:
            foundation("train", "--task", args.task, *args.settings, cwd=work)
        run = args.run or next((work / "logs" / "rsl_rl" / args.task).iterdir())
        install(last_checkpoint(run), KEPT, args.output)
        student = str((args.output / "best_model.pt").resolve())
        flags = ["--task", args.task, "--teacher", "expert", "--student", student]
        foundation("evaluate", *flags, "--no_report", "--json", "result.json", cwd=work)
        result = json.loads((work / "result.json").read_text())
    (args.output / "PROVENANCE.md").write_text(provenance(run, args.task, args.settings, result))
    print((args.output / "PROVENANCE.md").read_text())


def install(checkpoint: Path, kept: tuple[str, ...], output: Path) -> None:
    """Copy parts of a run's checkpoint, without its optimiser, and the run's parameters."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    state = load_checkpoint(checkpoint)
    atomic_save({name: state[name] for name in kept}, output / "best_model.pt")
    shutil.copytree(checkpoint.parent / "params", output / "params")


def provenance(run: Path, task: str, settings: list[str], result: dict) -> str:
    """Return the note that goes with the student."""
    last = last_checkpoint(run)
    env, agent = (yaml.safe_load((run / "params" / f"{name}.yaml").read_text()) for name in ("env", "agent"))
    iterations = int(last.stem.removeprefix("model_")) + 1
    steps = iterations * agent["num_steps_per_env"] * env["num_envs"]
    count, minutes = student_weights(last), training_minutes(run)
    lines = [
        "# Where this student comes from",
        "",
        f"`{' '.join(['foundation train --task', task, *settings])}` with seed {agent['seed']} and",
        f"version {__version__}: {count} weights, the last policy after {iterations} iterations and",
        f"{steps / 1e6:.1f} million environment steps, {minutes:.1f} minutes on one of {os.cpu_count()} cores,",
        f"the other one being busy, without a GPU (torch {torch.__version__}).",
        "",
        f"{result['episodes']} episodes of seeds {result['seeds'][0]} to {result['seeds'][-1]} with the sensors",
        f"of the training (`foundation evaluate --task {task} --teacher expert --student <this folder>`):",
        "",
        "| policy | survival | mean return | position RMSE, last second [m] | settle time [s] | command rate |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for policy, row in result["policies"].items():
        lines.append(
            f"| {policy} | {row['survival']:.2%} | {row['mean_return']:.1f} | {row['position_rmse_m']:.4f} "
            f"| {row['settle_time_s']:.3f} | {row['command_rate']:.4f} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
