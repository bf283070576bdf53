"""Checkpoints and run folders that flags name, and files that commands write."""

from __future__ import annotations

import os
from pathlib import Path

from foundation.cli.errors import UsageError
from foundation.cli.flown import is_of_a_task
from foundation.tasks.packaged import EXPERT, WITH_STUDENT, packaged_policy

LOG_ROOT = Path("logs") / "rsl_rl"
"""Folder of all experiments, relative to the working directory."""
EXPORTED = "exported"
"""Folder of a run with its exported policies."""


def require_writable(flag: str, file: str | Path) -> None:
    """Raise if a file cannot be written.

    Raises:
        UsageError: If it is a folder, or its folder does not exist or is not writable.
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
    """Return the default path of an output: in the checkpoint's run folder.

    For the packaged teacher it is in the working directory, not in the installed package.
    """
    from foundation.tasks import is_packaged

    return Path(name) if is_packaged(checkpoint) else checkpoint.parent / name


def find_checkpoint(checkpoint: str | None, load_run: str | None, experiment: str | None) -> Path:
    """Return the checkpoint that the flags of Isaac Lab's scripts name.

    The newest checkpoint is the newest intact one; those passed over are printed with the reason.

    Args:
        checkpoint: ``expert``, or the path of a file, of a run folder (its newest checkpoint), of an experiment's
            folder or of that of all experiments (its newest run), or the name of a file in the run; None for the
            run's newest.
        load_run: Name of the run's folder under ``logs/rsl_rl/<experiment>``; None for the newest.
        experiment: Name of the experiment; None accepts paths only.

    Raises:
        UsageError: If there is no such checkpoint; lists those that exist.
    """
    if checkpoint == EXPERT:
        return Path(EXPERT)
    if checkpoint is not None:
        path = Path(checkpoint).expanduser()
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


def newest_or_packaged(task: str, experiment: str | None, label: str) -> Path:
    """Return the newest run's checkpoint, or the task's packaged policy if there are no runs yet, and say so.

    Args:
        task: Name of the task.
        experiment: Name of the experiment; None looks at all of them.
        label: Beginning of the line.
    """
    folder = LOG_ROOT if experiment is None else LOG_ROOT / experiment
    if any(path.is_file() for pattern in ("*/*.pt", "*/*/*.pt") for path in folder.glob(pattern)):
        return find_checkpoint(str(folder), None, None)
    packaged = packaged_policy(task)
    role = "student" if task in WITH_STUDENT else "teacher"
    print(f"[{label}] there are no runs under {folder} yet; the packaged {role} flies", flush=True)
    return packaged


def params_to_repeat(name: str) -> Path:
    """Return the saved parameters of a run, or of the newest run in a folder of runs."""
    from foundation.evaluation.runs import find_runs

    folder = Path(name).expanduser()
    if (folder / "params").is_dir():
        return folder / "params"
    run = next(reversed(find_runs(folder)), folder)
    if run != folder:
        print(f"[Run] repeats {run}, the newest run in {folder}", flush=True)
    return run / "params"


def _runs_in(folder: Path) -> list[Path]:
    """Return the runs that have checkpoints in a folder of runs or of experiments, newest first.

    None if the folder is itself a run.
    """
    from foundation.distill.checkpoint.manifest import RESUME_FOLDER

    # os.path.isdir returns False, where Path.is_dir may raise, for a name that no folder can have.
    if not os.path.isdir(folder) or any(path.is_file() for path in folder.glob("*.pt")):
        return []
    found = {path.parent for pattern in ("*/*.pt", "*/*/*.pt") for path in folder.glob(pattern) if path.is_file()}
    # A run has folders of its own that hold such files.
    runs = (path for path in found if path.name not in (RESUME_FOLDER, EXPORTED))
    return sorted(runs, key=lambda path: (path.name, str(path)), reverse=True)


def _newest_in(runs: list[Path]) -> Path:
    """Return the newest intact checkpoint of the first run that has one.

    Of several runs, those of other projects, and those whose saved parameters cannot be read, are passed over, and
    those without any as long as others have them.
    """
    from foundation.distill.checkpoint.manifest import BEST_MODEL, newest_intact

    described = [run for run in runs if (run / "params" / "agent.yaml").is_file()]
    for run in runs:
        reason = _why_not(run) if len(runs) > 1 else None
        if described and run not in described:
            reason = "it has no params/agent.yaml"
        if reason is not None:
            print(f"[Run] passed over {run}: {reason}", flush=True)
            continue
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


def _why_not(run: Path) -> str | None:
    """Return why a run's saved parameters cannot be used; None if they can, or it has none."""
    from foundation.tasks.saved_params import ConfigError, load_params

    try:
        env, _ = load_params(run, "env"), load_params(run, "agent")
    except (ConfigError, OSError) as error:
        return str(error)
    return None if env is None or is_of_a_task(env) else f"{run}/params/env.yaml is of another project"


def _checkpoints_in(run: Path) -> str:
    return ", ".join(sorted(file.name for file in run.glob("*.pt") if file.is_file())) or "no checkpoint"
