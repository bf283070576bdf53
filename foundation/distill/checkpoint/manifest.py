"""Manifests: the files that make up a checkpoint, with their sizes and checksums.

A numbered checkpoint ``model_50.pt`` is complete once ``model_50.manifest.json`` is there: it is written last, and
lists the checkpoint's files with their sizes and checksums. rsl_rl loads the ``.pt`` file without knowing of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from foundation.distill.checkpoint.files import CheckpointError, FileDigest, atomic_write

FORMAT_VERSION = 2
"""Newest version of the layout on disk; a newer one is refused."""
_ONE_RANK = 1
"""Version of a checkpoint of one process, as earlier releases wrote all."""
BEST_MODEL = "best_model.pt"
"""The policy with the best mean reward; the name must not match rsl_rl's pattern for the latest checkpoint."""
RESUME_FOLDER = "resume"
"""Folder of a run with everything besides the models that continuing it needs."""
_FORMER_FIELDS = ("iteration", "checksum")
"""Fields of earlier manifests of this format that are no longer read."""


class _NewerFormat(Exception):
    """A manifest was written by a newer release."""


class Shard(NamedTuple):
    """The files of one of several processes."""

    state: str
    """Name of the file with its training state."""
    segments: list[str]
    """Names of the files with its rows of the history, oldest first."""


@dataclass
class Manifest:
    """The files of one checkpoint."""

    files: dict[str, FileDigest] = field(default_factory=dict)
    """Digests by name relative to the run's folder."""
    state: str | None = None
    """Name of the file with the training state; None if only the weights are kept."""
    segments: list[str] = field(default_factory=list)
    """Names of the files with the history's rows, oldest first; see
    :mod:`foundation.distill.history.history_log`."""
    shards: list[Shard] = field(default_factory=list)
    """The parts of the processes after the first, which has ``state`` and ``segments``."""

    @property
    def of_ranks(self) -> list[Shard]:
        """The parts of all processes; empty if only the weights are kept."""
        return [] if self.state is None else [Shard(self.state, self.segments), *self.shards]

    def write(self, path: Path) -> None:
        """Write the manifest, whole or not at all."""
        contents = {"format": FORMAT_VERSION if self.shards else _ONE_RANK, **asdict(self)}
        if not self.shards:
            del contents["shards"]
        atomic_write(_text(contents), path)

    @staticmethod
    def read(path: Path) -> Manifest:
        """Read a manifest.

        Raises:
            CheckpointError: If it is damaged, or from a newer release.
        """
        try:
            text = path.read_bytes()
            contents = json.loads(text)
            # A manifest that is not exactly as we write it was changed; the files' digests vouch for its values.
            intact = text == _text(contents)
            version = contents.pop("format")
            intact &= type(version) is int
            if intact and version > FORMAT_VERSION:
                raise _NewerFormat(version)
            for name in _FORMER_FIELDS:
                contents.pop(name, None)
            files = {name: FileDigest(**digest) for name, digest in contents.pop("files").items()}
            shards = [Shard(*shard) for shard in contents.pop("shards", [])]
            manifest = Manifest(files=files, shards=shards, **contents)
            intact &= version == (FORMAT_VERSION if shards else _ONE_RANK)
            needed = {name for shard in manifest.of_ranks for name in (shard.state, *shard.segments)}
            intact &= needed <= set(files)
        except _NewerFormat as newer:
            raise CheckpointError(
                f"manifest {path} has format {newer}, this release reads up to {FORMAT_VERSION}; upgrade "
                "foundation-distill"
            ) from None
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise CheckpointError(f"manifest {path} is damaged") from error
        if not intact:
            raise CheckpointError(f"manifest {path} is damaged: it is not as it was written")
        return manifest

    def verify(self, run_dir: Path) -> None:
        """Compare the checkpoint's files with their digests.

        Raises:
            CheckpointError: If one is missing or differs.
        """
        for name, digest in self.files.items():
            if (wrong := digest.difference(run_dir / name)) is not None:
                raise CheckpointError(wrong)


def manifest_path(checkpoint: Path) -> Path:
    """Return where the manifest of a ``.pt`` file is."""
    return checkpoint.with_suffix(".manifest.json")


def digest_beside(checkpoint: Path) -> FileDigest | None:
    """Return a file's digest in the manifest beside it; None if there is no manifest.

    Raises:
        CheckpointError: If the manifest is damaged.
    """
    path = manifest_path(checkpoint)
    if not path.is_file():
        return None
    files = Manifest.read(path).files
    if checkpoint.name not in files:
        raise CheckpointError(
            f"manifest {path} does not list {checkpoint.name}: it is damaged, or belongs to another file"
        )
    return files[checkpoint.name]


def numbered_checkpoints(run_dir: Path) -> list[Path]:
    """Return a run's ``model_<iteration>.pt``, newest first."""
    found = (path for path in run_dir.glob("model_*.pt") if is_numbered(path) and path.is_file())
    return sorted(found, key=_iteration, reverse=True)


def is_numbered(checkpoint: Path) -> bool:
    """Return whether a file's name is that of a checkpoint with a number."""
    return re.fullmatch(r"model_\d+\.pt", checkpoint.name) is not None


def newest_intact(run_dir: Path) -> tuple[Path | None, list[str]]:
    """Return a run's newest intact checkpoint, and why newer ones were passed over.

    Runs of rsl_rl's own runners have no manifests: there, the newest checkpoint counts as intact.
    """
    skipped: list[str] = []
    foreign = not (run_dir / RESUME_FOLDER).is_dir()
    for path in numbered_checkpoints(run_dir):
        manifest = manifest_path(path)
        try:
            if manifest.is_file():
                Manifest.read(manifest).verify(run_dir)
            elif not foreign:
                raise CheckpointError(f"{manifest.name} is missing: its saving was not finished")
        except CheckpointError as error:
            skipped.append(f"{path.name}: {error}")
        else:
            return path, skipped
    return None, skipped


def prune(current: Path, keep_last: int, keep_every: int) -> None:
    """Remove the files that a run no longer keeps.

    Args:
        current: The checkpoint that was just written, which stays.
        keep_last: Number of complete checkpoints that keep their training state, this one included.
        keep_every: Of the rest, the weights are kept where this divides the iteration.
    """
    run_dir, used = current.parent, set()
    others = [path for path in numbered_checkpoints(run_dir) if path != current and manifest_path(path).is_file()]
    for number, path in enumerate([current, *others]):
        try:
            manifest = Manifest.read(manifest_path(path))
        except CheckpointError:
            # Nothing can continue from it, so keep nothing for it.
            continue
        if number < keep_last:
            used.update(manifest.files)
        elif _iteration(path) % keep_every:
            # The manifest first: weights without one do not count as a checkpoint.
            manifest_path(path).unlink()
            path.unlink()
        elif manifest.state is not None:
            Manifest({path.name: manifest.files[path.name]}).write(manifest_path(path))
    for path in (run_dir / RESUME_FOLDER).glob("*.pt"):
        if f"{RESUME_FOLDER}/{path.name}" not in used:
            path.unlink()


def _iteration(path: Path) -> int:
    return int(path.stem.removeprefix("model_"))


def _text(contents: Mapping[str, object]) -> bytes:
    return json.dumps(contents, indent=1).encode()
