"""The folder of a new run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from foundation.cli.errors import UsageError
from foundation.cli.paths import LOG_ROOT

LONGEST_NAME = 100
"""Longest name of a run or an experiment [characters]."""
MOST_NUMBERED = 1000
"""Runs of one name that begin in the same second."""


def new_run_dir(agent_cfg: Any) -> Path:
    """Return a path under the experiment's folder that does not exist yet."""
    for name, value in (("run_name", agent_cfg.run_name), ("experiment_name", agent_cfg.experiment_name)):
        if any(mark in value for mark in ("/", "\\", "\0")) or value in (".", "..") or len(value) > LONGEST_NAME:
            raise UsageError(
                f"{name}={value[:LONGEST_NAME]!r} is to be part of a folder's name: at most {LONGEST_NAME} "
                "characters, none of them a path separator"
            )
    stamp = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    name = f"{stamp}_{agent_cfg.run_name}" if agent_cfg.run_name else stamp
    return next(path for path in _numbered(LOG_ROOT / agent_cfg.experiment_name / name) if not path.exists())


def claim(run_dir: Path) -> Path:
    """Create the run's folder, or the next one if another run has just created it, and return it."""
    for path in _numbered(run_dir):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise UsageError(f"the run's folder {path} cannot be created: {error.strerror}") from None
        return path
    raise UsageError(f"there are {MOST_NUMBERED} runs named {run_dir}; set agent.run_name")


def _numbered(path: Path) -> Iterator[Path]:
    """Yield the path, and after it those with a number appended."""
    yield path
    for i in range(2, MOST_NUMBERED):
        yield path.with_name(f"{path.name}_{i}")
