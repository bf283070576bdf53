"""The policies of ``foundation track``, by the names under which they appear."""

from __future__ import annotations

import argparse
from pathlib import Path

from foundation.cli.errors import UsageError
from foundation.cli.paths import find_checkpoint
from foundation.tasks.packaged import EXPERT, is_packaged, packaged_policy

RAPTOR, PID = "raptor", "pid"
BASELINES = (RAPTOR, EXPERT, PID)
"""Names that stand for policies besides checkpoints."""


def checkpoints_of(args: argparse.Namespace) -> dict[str, Path]:
    """Return the policies by name, that which was asked for first; baselines have paths that are their names."""
    given = _asked_for(args)
    found = {_name_of(given): given}
    for words in [] if args.compare is None else args.compare.split(","):
        if not words:
            raise UsageError(f"--compare {args.compare!r} has an empty name; give names or paths by comma")
        if words not in BASELINES and not Path(words).expanduser().exists():
            raise UsageError(f"--compare {words} is none of {', '.join(BASELINES)}, and no such file exists")
        path = Path(words) if words in BASELINES else find_checkpoint(words, None, None)
        if path.resolve() in {other.resolve() for other in found.values()}:
            raise UsageError(f"--compare {words}: it flies already; name each policy once")
        name = _name_of(path)
        found[str(path) if name in found else name] = path
    return found


def _asked_for(args: argparse.Namespace) -> Path:
    if args.checkpoint in BASELINES:
        if args.load_run is not None:
            raise UsageError(f"--load_run {args.load_run} has no effect with --checkpoint {args.checkpoint}")
        return Path(args.checkpoint)
    if args.checkpoint is None and args.load_run is None:
        packaged = packaged_policy(args.task)
        print(f"[Track] without --checkpoint the packaged {_name_of(packaged)} flies", flush=True)
        return packaged
    from foundation.tasks import load_task, resolve

    experiment = resolve(load_task(args.task).agent_cfg)().experiment_name
    return find_checkpoint(args.checkpoint, args.load_run, experiment)


def _name_of(path: Path) -> str:
    if str(path) in BASELINES:
        return str(path)
    if is_packaged(path):  # tasks/<task>/assets/<policy>/best_model.pt
        return f"{path.parents[2].name} {path.parent.name}"
    return f"{path.parent.name}/{path.stem}"
