"""A runner that continues from a checkpoint: the models, and everything else that the next iteration reads."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any

from rsl_rl.runners import OnPolicyRunner

from foundation.distill import ranks
from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.foreign import convert_checkpoint
from foundation.distill.checkpoint.loading import load_checkpoint
from foundation.distill.checkpoint.manifest import Manifest, Shard
from foundation.distill.env_state import counter_in
from foundation.distill.history.history_log import saved_rows
from foundation.distill.history.row_format import Parts
from foundation.distill.log import logger
from foundation.distill.runners.best_model import BestModel
from foundation.distill.runners.checkpointing import verified_manifest
from foundation.distill.runners.environment import ResumableEnvironment
from foundation.distill.runners.logger import RunLogger


class ContinuedRunner(OnPolicyRunner):
    """Loads checkpoints, of the same number of processes or of another one."""

    logger: RunLogger
    environment: ResumableEnvironment
    best: BestModel
    last_completed_iteration: int
    _rng_to_restore: dict[str, Any] | None = None

    def load(
        self, path: str, load_cfg: dict | None = None, strict: bool = True, map_location: str | None = None
    ) -> Any:
        """Load a checkpoint; one of the same kind of run continues at the iteration after its last.

        Raises:
            CheckpointError: If a file cannot be used, or does not fit environment and models.
        """
        state = convert_checkpoint(load_checkpoint(path, map_location or self.device), f"checkpoint {path}")
        manifest = verified_manifest(Path(path))
        self._check_models(state, path, load_cfg, strict)
        try:
            continues = self.alg.load(state, load_cfg, strict)
            iteration = int(state["iter"]) if continues else self.last_completed_iteration
        except CheckpointError:
            raise
        except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"checkpoint {path} does not fit the configured models: {reason}") from error
        if continues:
            self.last_completed_iteration = iteration
            self.current_learning_iteration = iteration + 1
            self._load_run_state(Path(path), manifest, state.get("infos"))
        return state.get("infos")

    @abstractmethod
    def _load_own_state(self, state: dict[str, Any], env_restored: bool, parts: Parts) -> None:
        """Restore the fields that a kind of run adds to :class:`RunState`, and the history's rows."""

    def _load_dealt_state(self, shards: list[tuple[dict[str, Any], Shard]], run_dir: Path) -> None:
        """Take this process's share of what another number of processes has saved, besides the models."""

    def _check_models(self, state: dict[str, Any], path: str, load_cfg: dict | None, strict: bool) -> None:
        """Check that a checkpoint's weights fit the models, if the algorithm does not."""

    def _load_run_state(self, checkpoint: Path, manifest: Manifest | None, infos: Any) -> None:
        run_dir = checkpoint.parent
        if manifest is None or manifest.state is None:
            kept = self.environment.restore_training(counter_in(infos))
            logger.warning(
                f"[Resume] no training state belongs to {checkpoint.name}: only models and optimiser continue; "
                f"history, environment and random states begin anew{kept}",
            )
            return
        shards = manifest.of_ranks
        is_same_size = len(shards) == ranks.world_size()
        shard = shards[ranks.rank() if is_same_size else 0]
        state = load_checkpoint(run_dir / shard.state, "cpu")
        self.best.inherit(run_dir, state["best_mean_reward"])
        self.logger.load_counters_state(state["counters"])
        if not is_same_size:
            self.environment.restore_training(state.get("env_training", {}))
            self._load_dealt_state([(load_checkpoint(run_dir / one.state, "cpu"), one) for one in shards], run_dir)
            logger.warning(
                f"[Resume] saved by {_processes(len(shards))}, continued by {_processes(ranks.world_size())}: a "
                "history is dealt out anew, episodes and random states begin anew"
            )
            return
        self._rng_to_restore = state["rng"]
        self.environment.restore(state["env"], state.get("env_training", {}))
        env_restored = self.environment.is_restored
        if env_restored:
            self.logger.load_episodes_state(state["episodes"])
        self._load_own_state(state, env_restored, saved_rows(run_dir, shard.segments))


def _processes(count: int) -> str:
    return "one process" if count == 1 else f"{count} processes"
