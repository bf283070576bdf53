"""A recorded flight as an mp4 that every player opens."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.viewer.errors import ViewerError
from foundation.viewer.fleet import Fleet, frames

if TYPE_CHECKING:
    from foundation.evaluation.recording import Recording

FPS = 30
PATH_INTERVAL = 0.02
"""Time between two points of a drawn path [s]."""
RECENT_SECONDS = 1.0
"""The newest part of a path is drawn in full colour [s]."""


def write_video(path: Path, flight: Recording, vehicle: np.ndarray, fleet: Fleet, role: str, title: str) -> None:
    """Write a flight to ``path`` in real time; a failed write leaves no file.

    Args:
        path: The mp4 file (H.264, 4:2:0).
        flight: The flight.
        vehicle: Row of the vehicle table that each flies, shape (N,).
        fleet: The fleet.
        role: Role of the policy that flew.
        title: Line at the top.

    Raises:
        ViewerError: If ffmpeg fails; the message holds ffmpeg's.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.tmp.mp4")
    try:
        _encode(temporary, pictures(flight, vehicle, fleet, role, title))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def pictures(flight: Recording, vehicle: np.ndarray, fleet: Fleet, role: str, title: str) -> Iterator[np.ndarray]:
    """Yield the frames as RGB, uint8, shape (720, 1280, 3)."""
    from foundation.viewer.painter import Painter

    every = max(1, round(PATH_INTERVAL / flight.dt))
    references_w = None if flight.target_w is None else flight.target_w[::every] + fleet.targets
    painter = Painter(fleet, role, title, references_w)
    recent = max(2, round(RECENT_SECONDS / (every * flight.dt)))
    for step, moment in frames(flight, vehicle, FPS):
        # Counted back from the current step, so that a path ends at its vehicle.
        paths_w = flight.pos_w[step::-every][::-1] + fleet.targets
        yield painter.paint(moment, step * flight.dt, paths_w, recent)


def _encode(path: Path, frames: Iterator[np.ndarray]) -> None:
    import imageio_ffmpeg

    first = next(frames)
    height, width, _ = first.shape
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-loglevel", "error",
        "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FPS), "-i", "-",
        "-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "veryfast",
        "-movflags", "+faststart", f"file:{path}",
    ]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as encoder:
        assert encoder.stdin is not None
        assert encoder.stderr is not None
        try:
            encoder.stdin.write(first.tobytes())
            for frame in frames:
                encoder.stdin.write(frame.tobytes())
            encoder.stdin.close()
        except BrokenPipeError:
            pass  # ffmpeg's message has the reason
        message = " ".join(encoder.stderr.read().decode(errors="replace").split())
    if encoder.returncode != 0:
        raise ViewerError(f"ffmpeg failed: {message or f'exit code {encoder.returncode}'}")
