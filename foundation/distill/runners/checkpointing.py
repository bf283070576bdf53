"""Checkpoints of a run: written whole or not at all, with everything that continuing exactly needs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from foundation.distill import ranks
from foundation.distill.checkpoint.files import CheckpointError, FileDigest, atomic_save
from foundation.distill.checkpoint.manifest import (
    RESUME_FOLDER,
    Manifest,
    Shard,
    is_numbered,
    manifest_path,
    prune,
)
from foundation.distill.checkpoint.run_state import RunState
from foundation.distill.history.buffer import RowBuffer
from foundation.distill.history.history_log import HistoryLog
from foundation.distill.log import logger

DEFAULT_KEEP_LAST, DEFAULT_KEEP_EVERY = 3, 1
Written = TypeVar("Written")


class ResumableRun(Protocol):
    """The parts of a runner that are saved."""

    last_completed_iteration: int
    """Number of the last iteration that has ended; -1 before the first."""

    @property
    def run_dir(self) -> Path | None:
        """The run's folder; None if the run saves nothing."""
        ...

    @property
    def shard_dir(self) -> Path | None:
        """The folder of the first process's run, where every process saves its part; None if nothing is saved."""
        ...

    @property
    def saves_together(self) -> bool:
        """Whether every process of the run takes part in a save, and not the first alone."""
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
        run_dir = self._run.shard_dir
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
        iteration, is_first = self._run.last_completed_iteration, ranks.rank() == 0
        with contextlib.ExitStack() as stack:
            # The state before the weights: weights in a run without a resume folder count as rsl_rl's own, which
            # have no manifest.
            shards = self._on_every_rank(lambda: self._save_shard(path, stack))
            self._on_every_rank(lambda: self._save_weights_of(path, infos, shards) if is_first else None)
        self.last, self.last_iteration = path, iteration
        if not is_first:
            return
        try:
            prune(path, self._keep_last, self._keep_every)
        except OSError as error:
            logger.warning(f"[Checkpoint] what is no longer kept could not be removed: {error}")

    def _save_shard(self, path: Path, stack: contextlib.ExitStack) -> tuple[Shard, dict[str, FileDigest]]:
        """Write what this process adds to a checkpoint; the history counts as saved when the stack is left."""
        history, run_dir = self._run.history, path.parent
        if ranks.rank() == 0:
            manifest_path(path).unlink(missing_ok=True)
        prefix = f"rank{ranks.rank()}_" if ranks.rank() else ""
        state_name = f"{RESUME_FOLDER}/{prefix}state_{path.stem.removeprefix('model_')}.pt"
        files = {state_name: atomic_save(self._run.run_state().to_dict(), run_dir / state_name)}
        if history is None:
            return Shard(state_name, []), files
        if self._history_log is None:
            self._history_log = HistoryLog(run_dir, history, prefix)
        segments = stack.enter_context(self._history_log.saved())
        return Shard(state_name, list(segments)), files | segments

    def _save_weights_of(
        self, path: Path, infos: dict | None, shards: list[tuple[Shard, dict[str, FileDigest]]]
    ) -> None:
        """Write the weights, and the manifest of all processes' files."""
        files = {path.name: atomic_save(self._run.weights(infos), path)}
        for number, (_, digests) in enumerate(shards):
            for name in digests:
                if not (path.parent / name).is_file():
                    raise OSError(
                        f"{name} of process {number} is not there: all processes need a common file system"
                    )
            files |= digests
        (first, _), *others = shards
        Manifest(files, first.state, first.segments, [shard for shard, _ in others]).write(manifest_path(path))

    def _on_every_rank(self, write: Callable[[], Written]) -> list[Written]:
        """Return what a function returns on every rank; if it fails on one, no rank goes on.

        Raises:
            OSError: If it fails on one.
        """
        own: OSError | None = None
        written: Any = None
        try:
            written = write()
        except OSError as error:
            own = error
        result = written, None if own is None else str(own)
        results = ranks.gathered(result) if self._run.saves_together else [result]
        for _, message in results:
            if message is not None:
                raise own or OSError(message)
        return [written for written, _ in results]


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
