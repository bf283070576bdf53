"""The history's rows on disk: each save writes the rows that changed since the one before, and no others.

A segment is a file with records and their slots. Applied in order, the segments of a checkpoint give the history;
one whose rows have all been overwritten since is no longer part of it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from foundation.distill.buffer import AggregatedBuffer
from foundation.distill.checkpoint import FileDigest, atomic_save, load_checkpoint
from foundation.distill.manifest import RESUME_FOLDER


@dataclass
class _Segment:
    name: str
    digest: FileDigest
    rows: int
    live: int  # rows that no later segment overwrote


class HistoryLog:
    """Writes one history to a run's folder, a little with every checkpoint.

    Evictions that overwrite rows here and there leave segments with a few live rows each. So while the segments
    hold more than twice the history's rows, a save also writes the live rows of the emptiest ones anew, at most as
    many as have changed: its cost stays in proportion to what is new, and the space to what is stored.
    """

    SEGMENT_BYTES = 16 * 2**20
    """Largest size of a segment, which is put together in memory [bytes]."""
    _NONE = -1

    def __init__(self, run_dir: Path, buffer: AggregatedBuffer) -> None:
        """Begin with nothing written.

        Args:
            run_dir: The run's folder; what other logs left there is not touched.
            buffer: The history.
        """
        self._run_dir, self._buffer = run_dir, buffer
        self._segments: dict[int, _Segment] = {}
        self._owner = torch.full((buffer.max_size,), self._NONE, dtype=torch.int32)
        taken = [int(re.sub(r"\D", "", path.stem)) for path in (run_dir / RESUME_FOLDER).glob("rows_*.pt")]
        self._next = max(taken, default=-1) + 1

    @contextlib.contextmanager
    def saved(self) -> Iterator[dict[str, FileDigest]]:
        """Write what changed, and yield the names and digests of all segments that make up the history.

        Leaving the block normally is what makes the save count. Otherwise the new files are removed, and what they
        held is written by the next save.

        Raises:
            OSError: If a segment cannot be written.
        """
        self._forget_lost_files()
        storage = self._buffer.storage
        slots = self._slots_to_write(storage.changed.nonzero()[:, 0].cpu())
        written: dict[int, _Segment] = {}
        rows_per_segment = max(1, self.SEGMENT_BYTES // storage.record.num_bytes)
        parts = dict(enumerate(slots.split(rows_per_segment), self._next)) if len(slots) else {}
        try:
            for number, part in parts.items():
                name = f"{RESUME_FOLDER}/rows_{number:06d}.pt"
                written[number] = _Segment(name, FileDigest(0, ""), len(part), len(part))
                state = {"slots": part.int(), "rows": storage.records(part)}
                written[number].digest = atomic_save(state, self._run_dir / name)
            lost = self._lost(slots)
            kept = {number: one for number, one in self._segments.items() if one.live > lost.get(number, 0)}
            yield {one.name: one.digest for one in (*kept.values(), *written.values())}
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
        """Return how many live rows each segment loses when these slots are written anew."""
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

    def _forget_lost_files(self) -> None:
        """Write everything anew if somebody removed a file."""
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
