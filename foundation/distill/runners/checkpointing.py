"""Checkpoints of a run: written whole or not at all, with everything that continuing exactly needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from foundation.distill.checkpoint.files import CheckpointError, atomic_save
from foundation.distill.checkpoint.manifest import RESUME_FOLDER, Manifest, is_numbered, manifest_path, prune
from foundation.distill.checkpoint.run_state import RunState
from foundation.distill.history.buffer import RowBuffer
from foundation.distill.history.history_log import HistoryLog
from foundation.distill.log import logger

DEFAULT_KEEP_LAST, DEFAULT_KEEP_EVERY = 3, 1


class ResumableRun(Protocol):
    """The parts of a runner that are saved."""

    last_completed_iteration: int
    """Number of the last iteration that has ended; -1 before the first."""

    @property
    def run_dir(self) -> Path | None:
        """The run's folder; None if the run saves nothing."""
        ...

    @property
    def history(self) -> RowBuffer | None:
        """The history whose rows belong to a checkpoint; None without one."""
        ...

    def weights(self, infos: dict | None) -> dict[str, Any]:
        """Return the contents of ``model_<iteration>.pt``."""
        ...

    def run_state(self) -> RunState:
        """Return everything else that the next iteration reads, without the history's rows."""
        ...


class Checkpoints:
    """Saves a run.

    A disk that is full or gone costs a checkpoint and a warning. Earlier checkpoints stay, and the next one is
    tried again.
    """

    def __init__(self, run: ResumableRun, cfg: dict[str, Any]) -> None:
        """Begin with no checkpoint.

        Args:
            run: The run.
            cfg: The runner's configuration, which may hold ``keep_last`` and ``keep_every``.
        """
        self._run = run
        self._keep_last = cfg.get("keep_last", DEFAULT_KEEP_LAST)
        self._keep_every = cfg.get("keep_every", DEFAULT_KEEP_EVERY)
        self.last: Path | None = None
        """Newest checkpoint from which the run can continue exactly; None before the first."""
        self.last_iteration = -1
        """Last iteration that is in it."""
        self.failed: Path | None = None
        """The checkpoint that could not be written, until one of its name can."""
        self._history_log: HistoryLog | None = None

    def has(self, target: Path) -> bool:
        """Return whether a checkpoint has just been written.

        rsl_rl saves the last iteration twice if the save interval ends with it.
        """
        history, iteration = self._run.history, self._run.last_completed_iteration
        unchanged = history is None or not bool(history.storage.changed.any())
        return unchanged and target == self.last and iteration == self.last_iteration

    def save(self, target: Path, infos: dict | None = None) -> bool:
        """Write a checkpoint, and return whether it was written.

        In the run's folder, ``model_<iteration>.pt`` is saved with everything that continuing needs. Files
        elsewhere, or of another name, hold the weights only.
        """
        run_dir = self._run.run_dir
        try:
            if run_dir is not None and is_numbered(target) and target.parent.resolve() == run_dir.resolve():
                self._save_complete(target, infos)
            else:
                self._save_weights(target, infos)
        except OSError as error:
            newest = "this run has none yet" if self.last is None else f"the newest is {self.last}"
            logger.warning(f"[Checkpoint] {target.name} was not saved, training goes on; {newest}: {error}")
            self.failed = target
            return False
        self.failed = None if self.failed == target else self.failed
        return True

    def _save_weights(self, path: Path, infos: dict | None) -> None:
        # Remove the manifest first: the new weights would not match it.
        manifest_path(path).unlink(missing_ok=True)
        files = {path.name: atomic_save(self._run.weights(infos), path)}
        Manifest(files).write(manifest_path(path))

    def _save_complete(self, path: Path, infos: dict | None) -> None:
        history, run_dir, iteration = self._run.history, path.parent, self._run.last_completed_iteration
        manifest_path(path).unlink(missing_ok=True)
        # The state before the weights: weights in a run without a resume folder count as rsl_rl's own, which have
        # no manifest.
        state_name = f"{RESUME_FOLDER}/state_{path.stem.removeprefix('model_')}.pt"
        state = atomic_save(self._run.run_state().to_dict(), run_dir / state_name)
        weights = atomic_save(self._run.weights(infos), path)
        manifest = Manifest({path.name: weights, state_name: state}, state_name)
        if history is None:
            manifest.write(manifest_path(path))
        else:
            if self._history_log is None:
                self._history_log = HistoryLog(run_dir, history)
            with self._history_log.saved() as segments:
                manifest.files |= segments
                manifest.segments = list(segments)
                manifest.write(manifest_path(path))
        self.last, self.last_iteration = path, iteration
        try:
            prune(path, self._keep_last, self._keep_every)
        except OSError as error:
            logger.warning(f"[Checkpoint] what is no longer kept could not be removed: {error}")


def verified_manifest(checkpoint: Path) -> Manifest | None:
    """Return a checkpoint's manifest after comparing its files with it; None if there is no manifest.

    Raises:
        CheckpointError: If a file is missing or damaged.
    """
    path = manifest_path(checkpoint)
    if not path.is_file():
        return None
    manifest = Manifest.read(path)
    try:
        manifest.verify(checkpoint.parent)
    except CheckpointError as error:
        raise CheckpointError(
            f"checkpoint {checkpoint} is damaged: {error}; use an older one, as --resume does by itself"
        ) from error
    return manifest
