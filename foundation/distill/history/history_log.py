"""The history's rows on disk: each save writes only the rows that changed since the save before.

A segment is a file with records and their slots. Writing the segments of a checkpoint into an empty history, in
order, restores it; a segment whose rows have all been overwritten by later ones is dropped.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from foundation.distill import ranks
from foundation.distill.checkpoint.files import FileDigest, atomic_save
from foundation.distill.checkpoint.loading import load_checkpoint
from foundation.distill.checkpoint.manifest import RESUME_FOLDER
from foundation.distill.history.buffer import RowBuffer


@dataclass
class _Segment:
    name: str
    digest: FileDigest
    rows: int
    live: int  # rows that no later segment overwrote


class HistoryLog:
    """Writes one history to a run's folder, the changed rows with every checkpoint.

    Evictions that overwrite scattered rows leave segments with a few live rows each. So while the segments hold
    more than twice the history's rows, a save also rewrites the live rows of the emptiest segments, at most as
    many as have changed. The cost of a save stays proportional to the new data, and the space to the stored data.
    """

    SEGMENT_BYTES = 16 * 2**20
    """Largest size of a segment, which is assembled in memory [bytes]."""
    _NONE = -1

    def __init__(self, run_dir: Path, buffer: RowBuffer, prefix: str = "") -> None:
        """Begin with no segment.

        Args:
            run_dir: The run's folder; segments that are there already are not touched.
            buffer: The history.
            prefix: Begins the names of the files; every process that writes into the folder has its own.
        """
        self._run_dir, self._buffer, self._prefix = run_dir, buffer, f"{RESUME_FOLDER}/{prefix}rows_"
        self._segments: dict[int, _Segment] = {}
        self._owner = torch.full((buffer.max_size,), self._NONE, dtype=torch.int32)
        taken = [int(path.stem.rpartition("_")[2]) for path in run_dir.glob(f"{self._prefix}*.pt")]
        self._next = max(taken, default=-1) + 1

    @contextlib.contextmanager
    def saved(self) -> Iterator[dict[str, FileDigest]]:
        """Write the changed rows, and yield the names and digests of all segments of the history.

        The save counts when the block is left normally. Otherwise the new files are removed, and the next save
        writes their rows.

        Raises:
            OSError: If a segment cannot be written.
        """
        self._rewrite_if_files_are_lost()
        storage = self._buffer.storage
        slots = self._slots_to_write(storage.changed.nonzero()[:, 0].cpu())
        written: dict[int, _Segment] = {}
        rows_per_segment = max(1, self.SEGMENT_BYTES // storage.format.num_bytes)
        parts = dict(enumerate(slots.split(rows_per_segment), self._next)) if len(slots) else {}
        try:
            for number, part in parts.items():
                name = f"{self._prefix}{number:06d}.pt"
                written[number] = _Segment(name, FileDigest(0, ""), len(part), len(part))
                state = {"slots": part.int(), "rows": storage.records(part)}
                written[number].digest = atomic_save(state, self._run_dir / name)
            lost = self._lost(slots)
            kept = {number: one for number, one in self._segments.items() if one.live > lost.get(number, 0)}
            yield {one.name: one.digest for one in (*kept.values(), *written.values())}
        except ranks.LostRankError:
            # The first process may have listed the files by then.
            raise
        except BaseException:
            for one in written.values():
                (self._run_dir / one.name).unlink(missing_ok=True)
            raise
        for number, one in kept.items():
            one.live -= lost.get(number, 0)
        self._segments = kept | written
        for number, part in parts.items():
            self._owner[part] = number
        self._next += len(written)
        storage.changed[slots.to(storage.changed.device)] = False

    def _lost(self, slots: torch.Tensor) -> dict[int, int]:
        """Return how many live rows each segment loses when these slots are rewritten."""
        numbers, counts = self._owner[slots].unique(return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist(), strict=True))

    def _slots_to_write(self, changed: torch.Tensor) -> torch.Tensor:
        stored, budget, slots = sum(one.rows for one in self._segments.values()), len(changed), changed
        lost = self._lost(changed)
        by_share = sorted(self._segments.items(), key=lambda item: item[1].live / item[1].rows)
        for number, one in by_share:
            live = one.live - lost.get(number, 0)
            if stored + len(slots) <= 2 * len(self._buffer) or live > budget:
                break
            stored -= one.rows
            budget -= live
            if live:
                slots = torch.cat([slots, (self._owner == number).nonzero()[:, 0]]).unique()
        return slots

    def _rewrite_if_files_are_lost(self) -> None:
        """Rewrite everything if a file was removed."""
        if all((self._run_dir / one.name).is_file() for one in self._segments.values()):
            return
        self._segments = {}
        self._owner.fill_(self._NONE)
        self._buffer.storage.changed[: len(self._buffer)] = True


def saved_rows(run_dir: Path, segments: Iterable[str]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield slots (B,) and records (B, words) of segments, in the order in which they have to be written.

    Raises:
        CheckpointError: If a file cannot be used.
    """
    for name in segments:
        state = load_checkpoint(run_dir / name)
        yield state["slots"].long(), state["rows"]
