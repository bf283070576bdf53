"""What the benchmarks that train through the command line share: the command, and what a run's folder tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from foundation.distill.checkpoint import load_checkpoint

WIDE = ["env.init.tilt=1.0", "env.init.rotor=[0,0.8]", "env.init.rotor_over_hover=false"]
"""First states with RAPTOR's tilts, and rotors from standstill to four fifths of full speed."""


def foundation(*words: str, cwd: Path) -> None:
    """Run the project's command in a folder."""
    subprocess.run([sys.executable, "-m", "foundation.cli.main", *words], cwd=cwd, check=True)


def last_checkpoint(run: Path) -> Path:
    return max(run.glob("model_*.pt"), key=lambda path: int(path.stem.removeprefix("model_")))


def training_minutes(run: Path) -> float:
    """Return the time from a run's beginning to its last checkpoint [min]."""
    return (last_checkpoint(run).stat().st_mtime - (run / "params" / "agent.yaml").stat().st_mtime) / 60.0


def student_weights(checkpoint: Path) -> int:
    """Return how many a student has, its normaliser and its noise left out."""
    beside = ("distribution.", "obs_normalizer.")
    weights = load_checkpoint(checkpoint)["student_state_dict"]
    return sum(value.numel() for name, value in weights.items() if not name.startswith(beside))
