"""Train the packaged teacher with the defaults of task point_ctrl, measure it, and note where it comes from.

Run: python benchmarks/train_teacher.py --output DIR [--seed 0]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from foundation import __version__
from foundation.distill.checkpoint import atomic_save, load_checkpoint

EVALUATION_SEEDS = (0, 1, 2)


def foundation(*words: str, cwd: Path) -> None:
    subprocess.run([sys.executable, "-m", "foundation.cli.main", *words], cwd=cwd, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder of the packaged teacher")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    output = args.output.resolve()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        start = time.monotonic()
        foundation("train", "--task", "point_ctrl", "--seed", str(args.seed), cwd=work)
        minutes = (time.monotonic() - start) / 60.0
        (run,) = (work / "logs" / "rsl_rl" / "point_ctrl_direct").iterdir()
        results = []
        for seed in EVALUATION_SEEDS:
            foundation(
                "evaluate", "--task", "point_ctrl", "--teacher", str(run / "best_model.pt"), "--seed", str(seed),
                "--json", "result.json", cwd=work,
            )  # fmt: skip
            results.append(json.loads((work / "result.json").read_text())["policies"]["teacher"])
        install(run / "best_model.pt", ("actor_state_dict", "iter", "infos"), output)
    (output / "PROVENANCE.md").write_text(provenance(args.seed, minutes, results))
    print((output / "PROVENANCE.md").read_text())


def install(checkpoint: Path, kept: tuple[str, ...], output: Path) -> None:
    """Copy parts of a run's checkpoint, without its optimiser, and the run's parameters."""
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    state = load_checkpoint(checkpoint)
    atomic_save({name: state[name] for name in kept}, output / "best_model.pt")
    shutil.copytree(checkpoint.parent / "params", output / "params")


def provenance(seed: int, minutes: float, results: list[dict[str, float]]) -> str:
    """Return the note that goes with the teacher."""
    lines = [
        "# Where this teacher comes from",
        "",
        f"`foundation train --task point_ctrl --seed {seed}` with version {__version__} and all defaults:",
        "the policy with the best mean reward.",
        f"Training took {minutes:.1f} minutes on {os.cpu_count()} cores without a GPU",
        f"(torch {torch.__version__}). `make teacher` repeats it.",
        "",
        "1024 episodes of 500 steps on family cf2x",
        "(`foundation evaluate --task point_ctrl --teacher <this folder>/best_model.pt --seed S`):",
        "",
        "| seed | survival | mean return | position RMSE, last second [m] | settle time [s] | settled |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for evaluation_seed, row in zip(EVALUATION_SEEDS, results, strict=True):
        lines.append(
            f"| {evaluation_seed} | {row['survival']:.2%} | {row['mean_return']:.3f} "
            f"| {row['position_rmse_m']:.4f} | {row['settle_time_s']:.3f} | {row['settled']:.2%} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
