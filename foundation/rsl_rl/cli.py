"""What the scripts share: flags, overrides, checkpoints on disk, and errors as one line."""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

LOG_ROOT = Path("logs") / "rsl_rl"
"""Where runs live, relative to the working directory."""
USAGE_ERROR = 2
"""Exit code of bad input."""
INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells have it."""


class UsageError(ValueError):
    """A flag has a value that cannot work."""


def packaged_teacher() -> Path:
    """Return the checkpoint of the teacher that comes with the package."""
    import foundation

    return Path(foundation.__file__).parent / "tasks" / "point_ctrl" / "assets" / "teacher" / "best_model.pt"


def parse(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Return flags and overrides, which may stand anywhere; anything else is an error."""
    args, rest = parser.parse_known_args(argv)
    for word in rest:
        if word.startswith("-") or "=" not in word:
            parser.error(f"unrecognized argument {word!r}; settings look like env.sim.dt=0.01")
    return args, rest


def add_common_flags(parser: argparse.ArgumentParser, default_task: str | None = None) -> None:
    """Add the flags that every script has."""
    parser.add_argument(
        "--task",
        required=default_task is None,
        default=default_task,
        help="task: point_ctrl (teacher) or distillation (student)",
    )
    parser.add_argument("--num_envs", type=int, help="number of environments")
    parser.add_argument("--seed", type=int, help="seed of the environment and of the learning")
    parser.add_argument("--device", default="cpu", help="torch device, cpu or cuda[:i] (default: cpu)")


def flight_parser(prog: str, description: str | None, num_envs: int) -> argparse.ArgumentParser:
    """Return the parser of a script that flies policies, with the flags that all of them have."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        epilog="Settings of the environment follow the flags in Hydra's grammar: env.randomization.family=none",
    )
    add_common_flags(parser, default_task="distillation")
    parser.add_argument("--steps", type=int, help="steps to fly (default: the task's episode)")
    parser.set_defaults(num_envs=num_envs, seed=0)
    return parser


@contextlib.contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turn errors of bad input into one line on stderr and exit code 2."""
    from foundation.distill.checkpoint import CheckpointError
    from foundation.sim.usd import UsdVehicleError
    from foundation.tasks.config import ConfigError

    try:
        yield
    except (UsageError, ConfigError, CheckpointError, UsdVehicleError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None


def check_device(device: str) -> None:
    """Raise if torch does not have the device.

    Raises:
        UsageError: If the name is unknown or there is no such device.
    """
    import torch

    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device} cannot be used ({reason}); use --device cpu") from None


def find_checkpoint(checkpoint: str | None, load_run: str | None, experiment: str | None) -> Path:
    """Return the checkpoint that the flags of Isaac Lab's scripts name.

    ``checkpoint`` may be the path of a file, of a run folder (its newest checkpoint), or of an experiment's
    folder (its newest run). Otherwise, unless ``experiment`` is None, both names are looked up under
    ``logs/rsl_rl/<experiment>``: the run defaults to the newest, the checkpoint to the run's newest.

    Raises:
        UsageError: If there is no such checkpoint; lists what there is.
    """
    if checkpoint is not None:
        path = Path(checkpoint)
        if path.exists():
            if load_run is not None:
                raise UsageError(f"--load_run {load_run} has no effect: --checkpoint {checkpoint} is a path")
            return path if path.is_file() else _in_run(path, None)
        if experiment is None or (load_run is None and (path.parent != Path(".") or path.suffix != ".pt")):
            raise UsageError(f"{checkpoint} does not exist; give a .pt file or a run folder")
    folder = LOG_ROOT / str(experiment)
    runs = sorted(path.name for path in folder.glob("*") if list(path.glob("*.pt")))
    if not runs:
        raise UsageError(f"there are no runs under {folder}; give --checkpoint the path of a file")
    run = load_run or runs[-1]
    if run not in runs:
        raise UsageError(f"--load_run {run} is not under {folder}; there are {', '.join(runs)}")
    return _in_run(folder / run, checkpoint)


def _in_run(run: Path, name: str | None) -> Path:
    runs = sorted(path for path in run.glob("*") if list(path.glob("*.pt")))
    if runs and not list(run.glob("*.pt")):
        run = runs[-1]
    numbered = sorted(run.glob("model_*.pt"), key=lambda path: int(re.sub(r"\D", "", path.stem) or 0))
    best = run / "best_model.pt"
    path = run / name if name else (numbered[-1] if numbered else best)
    if not path.is_file():
        names = {file.name for file in run.glob("*.pt")} - {"training_state.pt"}
        found = ", ".join(sorted(names)) or "no checkpoint"
        raise UsageError(f"there is no {path.name} in {run}; it holds {found}")
    return path
