"""Metrics of a run, read from its TensorBoard files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundation.distill.log import logger

LOSS = "Loss/behavior"
REWARD = "Train/mean_reward"
PHASE = "Distillation/training_phase"
TEACHER_FRACTION = "Distillation/teacher_fraction"
BUFFER_SIZE = "Distillation/buffer_size"
BUFFER_CAPACITY = "Distillation/buffer_capacity"


@dataclass(frozen=True)
class Curve:
    """A metric over the iterations."""

    steps: np.ndarray
    """Iterations, rising, shape (K,)."""
    values: np.ndarray
    """Shape (K,)."""
    wall_time: np.ndarray
    """Wall time of each value [s], shape (K,)."""


def read_curves(run_dir: Path) -> dict[str, Curve]:
    """Return the metrics of a run by name; empty without TensorBoard files that can be read."""
    if not list(run_dir.glob("events.out.tfevents*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(str(run_dir), size_guidance={SCALARS: 0})
    try:
        events.Reload()
    except OSError as error:
        logger.warning(f"[Log] TensorBoard's files in {run_dir} cannot be read: {error.strerror}")
        return {}
    return {name: _curve(events.Scalars(name)) for name in events.Tags()["scalars"]}


def phase_switch(curves: dict[str, Curve]) -> int | None:
    """Return the first iteration that the student drives, or None if there is no switch."""
    phase = curves.get(PHASE)
    if phase is None or phase.values.min() == phase.values.max():
        return None
    return int(phase.steps[phase.values > 1.0][0])


def _curve(events: list) -> Curve:
    # A run that was killed and continued may have logged an iteration twice; the last value counts.
    by_step = {event.step: event for event in events}
    kept = [by_step[step] for step in sorted(by_step)]
    steps, values, times = zip(*((event.step, event.value, event.wall_time) for event in kept), strict=True)
    return Curve(np.array(steps), np.array(values, dtype=float), np.array(times))
