"""Labels of a recorded dataset, and the actions of the environment: are both in the same units?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rsl_rl.env import VecEnv

from foundation.distill.algorithm.label_range import MANY, action_range, as_label_clip, own_action_range
from foundation.distill.datasets import DatasetError, Recording
from foundation.distill.log import logger

SLACK = 0.25
"""Distance beyond the range, as a share of half its width, that labels of an unclipped expert may have."""
LARGE, TOO_LARGE = 10.0, 100.0
"""Absolute labels to warn of and to refuse, where the environment does not tell its range."""

Bounds = tuple[np.ndarray, np.ndarray]
"""Lowest and highest actions, each a scalar or (A,)."""


@dataclass(frozen=True)
class RecordedLabels:
    """What is kept of the labels of a dataset until the environment is known."""

    folder: str
    """Folder of the dataset."""
    largest: float
    """Largest absolute label."""
    least: np.ndarray
    """Lowest label of each action but for a share of :data:`MANY` / 2, (A,)."""
    most: np.ndarray
    """Highest label of each action, likewise, (A,)."""
    bounds: Bounds | None
    """Lowest and highest action of the environment in which it was recorded; None if unknown."""
    is_exported: bool
    """Whether it is the history of a run, whose labels are a network's and may lie where nothing applies them."""
    is_clipped: bool
    """Whether ``label_clip`` clips the labels."""

    @staticmethod
    def of(recording: Recording, folder: str, is_clipped: bool) -> RecordedLabels:
        """Return what is kept of a recording."""
        labels = recording.fields["teacher_actions"]
        least, most = np.quantile(labels, (0.5 * MANY, 1.0 - 0.5 * MANY), axis=0)
        largest = float(np.abs(labels).max())
        return RecordedLabels(folder, largest, least, most, recording.bounds, recording.is_exported, is_clipped)

    def check(self, env: VecEnv) -> None:
        """Compare them with the actions that an environment applies.

        Raises:
            DatasetError: If they are in other units.
        """
        applied = _bounds(action_range(env))
        if applied is None:
            self._check_size()
            return
        own = _bounds(own_action_range(env))
        if self.bounds is not None and own is not None and _same(self.bounds, own) and not _same(own, applied):
            raise DatasetError(
                f"init_dataset {self.folder} has labels up to {self.largest:.3g} in the action space "
                f"{_text(own)}, and the environment scales actions in {_text(applied)} to it; take "
                f"GymnasiumVecEnv(scale_actions=False), or rescale the dataset, its action space included"
            )
        low, high = applied
        beyond = np.maximum(low - self.least, self.most - high)
        if self.is_clipped or not (beyond > SLACK * 0.5 * (high - low)).any():
            return
        self._refuse_or_warn(
            f"init_dataset {self.folder} has labels up to {self.largest:.3g}, and the environment applies actions "
            f"in {_text(applied)}",
            "rescale the dataset, leave actions in their own units (GymnasiumVecEnv(scale_actions=False)), or set "
            f"label_clip={as_label_clip(float(low.min()), float(high.max()))} if they are to be clipped",
        )

    def _check_size(self) -> None:
        if self.is_clipped or self.largest <= LARGE:
            return
        text = (
            f"init_dataset {self.folder} has labels up to {self.largest:.3g}, and the environment does not tell "
            "its range of actions (clip_actions or single_action_space)"
        )
        way = "rescale the dataset if it is in other units, or set label_clip to the largest label that is meant"
        if self.largest > TOO_LARGE:
            self._refuse_or_warn(text, way)
        else:
            logger.warning(f"[DAgger] {text}; {way}")

    def _refuse_or_warn(self, text: str, way: str) -> None:
        if not self.is_exported:
            raise DatasetError(f"{text}; {way}")
        logger.warning(f"[DAgger] {text}; {way}")


def _bounds(found: tuple | None) -> Bounds | None:
    return None if found is None else (found[0].numpy(), found[1].numpy())


def _same(one: Bounds, other: Bounds) -> bool:
    return all(np.allclose(a, b) for a, b in zip(one, other, strict=True))


def _text(bounds: Bounds) -> str:
    return f"[{bounds[0].min():g}, {bounds[1].max():g}]"
