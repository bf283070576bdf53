"""Several processes of one run, as torchrun starts them: who prints, which device, what a restart does."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from foundation.cli.errors import UsageError
from foundation.cli.paths import LOG_ROOT

COMMAND = ("torchrun", "--nproc_per_node")
_UNTIL_FILE = "torchrun.json"
"""Where a run of several processes keeps its last iteration, for a restart."""


def check_launch(args: argparse.Namespace) -> None:
    """Check that the flag and torchrun belong together, and give the process its GPU.

    Raises:
        UsageError: If one is there without the other, or a flag has no effect.
    """
    from foundation.distill import ranks

    started = ranks.launched_size()
    if not args.distributed:
        if started > 1:
            raise UsageError(f"torchrun has started {started} processes; add --distributed to train together")
        return
    if "WORLD_SIZE" not in os.environ:
        raise UsageError(
            f"--distributed needs torchrun: {' '.join(COMMAND)} 2 -m foundation.rsl_rl.train --distributed ..."
        )
    if args.task == "point_ctrl":
        raise UsageError("--distributed is for students; task point_ctrl trains its teacher in one process")
    if args.dashboard:
        raise UsageError("--dashboard shows the fleet of one process; drop it, or --distributed")
    if args.device.startswith("cuda"):
        args.device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"


@contextlib.contextmanager
def only_first_prints() -> Iterator[None]:
    """Hide what other processes than the first print, errors excepted."""
    from foundation.distill import ranks

    if ranks.launched_rank() == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def continue_after_restart(args: argparse.Namespace, experiment: str) -> None:
    """Let flags continue this command's last run, if torchrun has started its processes again.

    Args:
        args: The flags, which are changed.
        experiment: Name of the experiment.

    Raises:
        SystemExit: With code 0 if that run had ended.
    """
    if not args.distributed or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        return
    from foundation.distill.checkpoint.loading import load_checkpoint
    from foundation.distill.checkpoint.manifest import newest_intact

    runs = sorted((LOG_ROOT / experiment).glob(f"*/{_UNTIL_FILE}"), key=lambda path: path.stat().st_mtime)
    checkpoint = newest_intact(runs[-1].parent)[0] if runs else None
    if checkpoint is None:
        print("[Run] started again before a checkpoint was saved: from the beginning", flush=True)
        return
    left = json.loads(runs[-1].read_text())["until"] - int(load_checkpoint(checkpoint)["iter"]) - 1
    if left <= 0:
        print(f"[Run] started again, but finished: {checkpoint}", flush=True)
        raise SystemExit(0)
    args.checkpoint, args.max_iterations = str(checkpoint), left
    args.resume, args.load_run, args.teacher = False, None, None


def of_first(run_dir: Path | None) -> Path:
    """Return the run's folder as the first process has created it."""
    from foundation.distill import ranks

    found = ranks.gathered(run_dir)[0]
    assert found is not None
    return found


def keep_last_iteration(run_dir: Path, until: int) -> None:
    """Write down before which iteration a run of several processes ends."""
    from foundation.distill import ranks

    if ranks.world_size() > 1:
        (run_dir / _UNTIL_FILE).write_text(json.dumps({"until": until}))


def leave() -> None:
    """Leave the other processes at the end of the run."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
