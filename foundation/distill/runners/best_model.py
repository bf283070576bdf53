"""The best policy of a run, by mean return."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.loading import load_checkpoint
from foundation.distill.checkpoint.manifest import BEST_MODEL, manifest_path
from foundation.distill.log import logger


class BestModel:
    """Keeps ``best_model.pt`` of a run, also across a resume."""

    def __init__(self, save: Callable[[Path], bool], min_episodes: int) -> None:
        """Begin with no best policy.

        Args:
            save: Saves the policy to a file, and returns whether it could.
            min_episodes: Episodes that a mean return needs to count; the first ones to end are the first to fail.
        """
        self._save, self._min_episodes = save, min_episodes
        self.mean_reward = -math.inf
        """Mean return of the best policy so far."""
        self._inherited: Path | None = None

    def update(self, run_dir: Path, rewards: Sequence[float]) -> None:
        """Save the policy if it is better than all before it.

        Args:
            run_dir: The run's folder.
            rewards: Returns of the policy's last episodes.
        """
        if len(rewards) < self._min_episodes:
            return
        mean_reward = statistics.mean(rewards)
        if mean_reward > self.mean_reward:
            before, self.mean_reward = self.mean_reward, mean_reward
            if not self._save(run_dir / BEST_MODEL):
                self.mean_reward = before

    def save_last(self, run_dir: Path) -> None:
        """Save the policy of the last iteration if there is no best one."""
        if not (run_dir / BEST_MODEL).exists():
            self._save(run_dir / BEST_MODEL)

    def inherit(self, run_dir: Path, mean_reward: float) -> None:
        """Continue from the best policy of the run that is continued, if it is intact."""
        best = run_dir / BEST_MODEL
        if not best.is_file():
            return
        try:
            load_checkpoint(best)
        except CheckpointError as error:
            logger.warning(f"[Resume] the best model so far is lost, and chosen anew: {error}")
        else:
            self.mean_reward, self._inherited = mean_reward, best

    def hand_on(self, run_dir: Path | None) -> None:
        """Copy the inherited policy into the run's folder, so that the run has one from the beginning."""
        if self._inherited is None or run_dir is None:
            return
        try:
            run_dir.mkdir(parents=True, exist_ok=True)
            for path in (self._inherited, manifest_path(self._inherited)):
                if path.is_file() and path.resolve() != (run_dir / path.name).resolve():
                    shutil.copy2(path, run_dir / path.name)
        except OSError as error:
            logger.warning(f"[Resume] the best model so far could not be copied, and is chosen anew: {error}")
            self.mean_reward = -math.inf
        self._inherited = None
