"""Small runs that save after every iteration, to do faults to."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foundation.distill import DaggerRunner
from foundation.distill.checkpoint.manifest import newest_intact
from tests.support.run_state import NoisyEnv
from tests.support.toy import runner_cfg, teacher_checkpoint


def build(
    folder: Path, env: Any = None, save_interval: int = 1, student: dict | None = None, **algorithm: Any
) -> DaggerRunner:
    """Return a runner on a small environment that saves after every iteration."""
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)
    teacher = folder.parent / "teacher.pt"
    if not teacher.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        torch.save(teacher_checkpoint(), teacher)
        torch.manual_seed(0)
    options = {
        "teacher_checkpoint": str(teacher),
        "phase1_iterations": 2,
        "max_buffer_size": 240,
        "mini_batch_size": 16,
        "max_updates_per_iteration": 4,
    }
    cfg = runner_cfg(student=student, **(options | algorithm)) | {"save_interval": save_interval, "keep_last": 2}
    return DaggerRunner(env or NoisyEnv(), cfg, str(folder), "cpu")


def newest_of(root: Path) -> Path | None:
    """Return the newest intact checkpoint of the newest run that has one; runs are numbered ``run_<n>``."""
    runs = sorted(root.glob("run_*"), key=lambda path: int(path.name.removeprefix("run_")), reverse=True)
    return next((found for run in runs if (found := newest_intact(run)[0]) is not None), None)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
