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
_CLOCKS_DIFFER = 60.0
"""Most seconds between the clocks of the machines of a run."""
_ONLY_OF_NEW_RUNS = ("agent.algorithm.init_dataset=", "agent.algorithm.teacher_checkpoint=")
_LAUNCH_FILE = "torchrun.json"
"""Where a run of several processes keeps its last iteration and the torchrun that started it, for a restart."""


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


def continue_after_restart(args: argparse.Namespace, overrides: list[str], experiment: str) -> bool:
    """Let flags continue this command's last run, if torchrun has started its processes again.

    Args:
        args: The flags, which are changed.
        overrides: The settings, which are changed.
        experiment: Name of the experiment.

    Returns:
        Whether they do.

    Raises:
        SystemExit: With code 0 if that run had ended.
    """
    if not args.distributed or os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0":
        return False
    import psutil

    from foundation.distill.checkpoint.loading import load_checkpoint
    from foundation.distill.checkpoint.manifest import newest_intact

    # Another torchrun may have had the same address.
    started = psutil.Process(os.getppid()).create_time() - _CLOCKS_DIFFER
    checkpoint, until = None, 0
    for path in sorted((LOG_ROOT / experiment).glob(f"*/{_LAUNCH_FILE}"), reverse=True):
        launch = json.loads(path.read_text())
        if launch["torchrun"] == _torchrun() and path.stat().st_mtime > started:
            # A run that was started again may have ended before it saved anything: then the one before counts.
            checkpoint, until = newest_intact(path.parent)[0], launch["until"]
        if checkpoint is not None:
            break
    if checkpoint is None:
        print("[Run] started again before a checkpoint was saved: from the beginning", flush=True)
        return False
    left = until - int(load_checkpoint(checkpoint)["iter"]) - 1
    if left <= 0:
        print(f"[Run] started again, but finished: {checkpoint}", flush=True)
        raise SystemExit(0)
    args.checkpoint, args.max_iterations = str(checkpoint), left
    # What else the run began with is in the checkpoint.
    args.resume, args.load_run, args.teacher, args.init_dataset = False, None, None, None
    overrides[:] = [word for word in overrides if not word.lstrip("+").startswith(_ONLY_OF_NEW_RUNS)]
    return True


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
        (run_dir / _LAUNCH_FILE).write_text(json.dumps({"until": until, "torchrun": _torchrun()}))


def _torchrun() -> str:
    """Return what all processes of a torchrun, and those that it starts again, have in common."""
    identity = os.environ.get("TORCHELASTIC_RUN_ID", "none")
    # With a rendezvous the port may change, and without one the identity says nothing.
    return (
        identity if identity != "none" else ":".join(os.environ[name] for name in ("MASTER_ADDR", "MASTER_PORT"))
    )


def leave() -> None:
    """Leave the other processes at the end of the run."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.destroy_process_group()
