"""What the scripts share: flags, overrides, checkpoints on disk, and errors as one line."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

LOG_ROOT = Path("logs") / "rsl_rl"
"""Where runs live, relative to the working directory."""
USAGE_ERROR = 2
"""Exit code of bad input."""
INTERRUPTED = 130
"""Exit code of Ctrl-C, as shells have it."""
RUN_FAILED = 1
"""Exit code of a run that NaN or infinity ended, and of an export that failed."""


class UsageError(ValueError):
    """A flag has a value that cannot work."""


def packaged_teacher() -> Path:
    """Return the checkpoint of the teacher that comes with the package."""
    import foundation

    return Path(foundation.__file__).parent / "tasks" / "point_ctrl" / "assets" / "teacher" / "best_model.pt"


def is_packaged(checkpoint: Path) -> bool:
    """Return whether a checkpoint is the teacher that comes with the package."""
    return checkpoint.resolve() == packaged_teacher().resolve()


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


def add_server_flags(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the flags of a web server; ``what`` is the flag that starts it."""
    parser.add_argument(
        "--host",
        help=f"with {what}: address to listen on (default: 127.0.0.1, which only this machine reaches; "
        "0.0.0.0 lets in everyone who reaches this machine)",
    )
    parser.add_argument(
        "--port", type=int, help=f"with {what}: port, 0 for any (default: the first free one from 8080 on)"
    )


def server_address(args: argparse.Namespace, what: str | None) -> tuple[str, int] | None:
    """Return where to listen, checked, or None if nothing is to be served: ``what``, the flag, is None.

    Raises:
        UsageError: If the flags have no effect.
        ViewerError: If viser is not installed, or nothing can listen there.
    """
    if what is None:
        for flag, value in (("--host", args.host), ("--port", args.port)):
            if value is not None:
                raise UsageError(f"{flag} {value} has no effect: nothing is served")
        return None
    from foundation.viewer import server

    server.require("viser", what)
    host = server.DEFAULT_HOST if args.host is None else args.host
    return host, server.free_port(host, args.port)


@contextlib.contextmanager
def errors_as_one_line() -> Iterator[None]:
    """Turn errors of bad input into one line on stderr and exit code 2."""
    from foundation.distill.checkpoint import CheckpointError
    from foundation.sim.usd import UsdVehicleError
    from foundation.tasks.config import ConfigError
    from foundation.viewer.errors import ViewerError

    try:
        yield
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    except (UsageError, ConfigError, CheckpointError, UsdVehicleError, ViewerError, OSError) as error:
        print(f"error: {_one_line(error)}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None


def _one_line(error: Exception) -> str:
    """Return a message on one line: names and values in it can hold anything, even what steers a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(error))


def require_writable(flag: str, file: str | Path) -> None:
    """Raise if a file cannot be written.

    Raises:
        UsageError: If it is a folder, or its folder does not exist or takes no files.
    """
    path = Path(file)
    folder = path.resolve().parent
    if path.is_dir():
        raise UsageError(f"{flag} {file} is a folder; give the name of a file")
    if not folder.is_dir():
        raise UsageError(f"{flag} {file}: there is no folder {folder}")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{flag} {file}: nothing can be written to {folder}")


def beside(checkpoint: Path, name: str) -> Path:
    """Return where something made of a checkpoint goes: into its run's folder, of the packaged one to here."""
    return Path(name) if is_packaged(checkpoint) else checkpoint.parent / name


def check_device(device: str) -> None:
    """Raise if torch does not have the device.

    Raises:
        UsageError: If the name is unknown, the kind is another than these two, or there is no such device.
    """
    import torch

    try:
        if torch.device(device).type not in ("cpu", "cuda"):
            raise RuntimeError("neither cpu nor cuda")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"--device {device} cannot be used ({reason}); use --device cpu") from None


def find_checkpoint(checkpoint: str | None, load_run: str | None, experiment: str | None) -> Path:
    """Return the checkpoint that the flags of Isaac Lab's scripts name.

    ``checkpoint`` may be the path of a file, of a run folder (its newest checkpoint), or of an experiment's
    folder (its newest run). Otherwise, unless ``experiment`` is None, both names are looked up under
    ``logs/rsl_rl/<experiment>``: the run defaults to the newest, the checkpoint to the run's newest. The newest is
    the newest that is intact; what is passed over is printed with the reason.

    Raises:
        UsageError: If there is no such checkpoint; lists what there is.
    """
    if checkpoint is not None:
        path = Path(checkpoint)
        if os.path.exists(path):
            if load_run is not None:
                raise UsageError(f"--load_run {load_run} has no effect: --checkpoint {checkpoint} is a path")
            return path if path.is_file() else _newest_in(_runs_in(path) or [path])
        if experiment is None or (load_run is None and (path.parent != Path(".") or path.suffix != ".pt")):
            raise UsageError(f"{checkpoint} does not exist; give a .pt file or a run folder")
    folder = LOG_ROOT / str(experiment)
    runs = _runs_in(folder)
    if not runs:
        raise UsageError(f"there are no runs under {folder}; give --checkpoint the path of a file")
    if load_run is not None:
        names = [run.name for run in runs]
        if load_run not in names:
            raise UsageError(f"--load_run {load_run} is not under {folder}; there are {', '.join(sorted(names))}")
        runs = [folder / load_run]
    if checkpoint is None:
        return _newest_in(runs)
    path = runs[0] / checkpoint
    if not path.is_file():
        raise UsageError(f"there is no {checkpoint} in {runs[0]}; it holds {_checkpoints_in(runs[0])}")
    return path


def _runs_in(folder: Path) -> list[Path]:
    """Return an experiment's runs that have checkpoints, newest first; none if the folder is itself a run."""
    # os.path answers for names, too, that no folder can have.
    if not os.path.isdir(folder) or list(folder.glob("*.pt")):
        return []
    return sorted((path for path in folder.glob("*") if list(path.glob("*.pt"))), reverse=True)


def _newest_in(runs: list[Path]) -> Path:
    """Return the newest intact checkpoint of the first run that has one."""
    from foundation.distill.checkpoint.manifest import BEST_MODEL, newest_intact

    for run in runs:
        path, passed_over = newest_intact(run)
        for reason in passed_over:
            print(f"[Run] passed over {run.name}/{reason}", flush=True)
        if path is None and not passed_over and (run / BEST_MODEL).is_file():
            path = run / BEST_MODEL
        if path is not None:
            return path
    raise UsageError(
        f"there is no intact checkpoint in {', '.join(str(run) for run in runs)}; the newest run holds "
        f"{_checkpoints_in(runs[0])}"
    )


def _checkpoints_in(run: Path) -> str:
    return ", ".join(sorted(file.name for file in run.glob("*.pt"))) or "no checkpoint"
