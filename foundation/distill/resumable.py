"""What of the algorithm survives a restart."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from rsl_rl.algorithms import Distillation

from foundation.distill.aggregation import Aggregation
from foundation.distill.checkpoint import CheckpointError, check_models, moved
from foundation.distill.display import announce
from foundation.distill.schedule import Driver
from foundation.distill.teachers import TeacherEnsemble, teachers_in

_STATE_VERSION = 1


class ResumableDistillation(Distillation):
    """rsl_rl's ``Distillation`` that saves and loads history, hidden states and who drives, too."""

    aggregation: Aggregation | None
    driver: Driver
    _say: Callable[[str], None]

    @property
    def iteration(self) -> int:
        """Number of iterations completed so far, also before a resumed run."""
        return self.num_updates

    def save(self) -> dict[str, Any]:
        """Return models, optimiser and progress, without what :meth:`training_state` returns."""
        progress = {"version": _STATE_VERSION, "iteration": self.iteration}
        return super().save() | {"dagger_state_dict": progress}

    def load(self, loaded_dict: dict[str, Any], load_cfg: dict | None, strict: bool) -> bool:
        """Load a teacher from a PPO run's checkpoint, or everything from a distillation run's.

        Args:
            loaded_dict: The checkpoint.
            load_cfg: Which parts to load; ``actor`` means the student, as in play scripts written for PPO.
            strict: Whether missing and unexpected weights are errors.

        Returns:
            Whether the runner should take over the checkpoint's iteration.

        Raises:
            CheckpointError: If the weights do not fit or the file is from a newer version.
        """
        if load_cfg is not None and load_cfg.get("actor"):
            load_cfg = {**load_cfg, "student": True}
        progress = loaded_dict.get("dagger_state_dict", {"version": _STATE_VERSION})
        if progress["version"] > _STATE_VERSION:
            raise CheckpointError(
                f"the checkpoint has version {progress['version']}, this release reads up to {_STATE_VERSION}; "
                "upgrade foundation-distill"
            )
        if (
            count := teachers_in(loaded_dict.get("teacher_state_dict", {}))
        ) is not None and self._ensemble is None:
            raise CheckpointError(
                f"the checkpoint holds {count} teachers, the configuration one; set teacher_checkpoint to a "
                f"list of {count}"
            )
        if "optimizer_state_dict" in loaded_dict:
            loaded_dict = {
                **loaded_dict,
                "optimizer_state_dict": self._as_here(loaded_dict["optimizer_state_dict"]),
            }
        models = {"student": self._raw_student, "teacher": self._raw_teacher}
        check_models(models, loaded_dict, load_cfg, strict, "the checkpoint's")
        try:
            load_iteration = super().load(loaded_dict, load_cfg, strict)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"the checkpoint does not fit the configured models: {reason}") from error
        if load_iteration:
            self.num_updates = progress.get("iteration", loaded_dict.get("iter", -1) + 1)
        return load_iteration

    def _as_here(self, state: dict[str, Any]) -> dict[str, Any]:
        """Return an optimiser's state that makes its steps by the operations that this optimiser was made with."""
        own = {
            name: self.optimizer.defaults[name] for name in ("fused", "foreach") if name in self.optimizer.defaults
        }
        return {**state, "param_groups": [{**group, **own} for group in state["param_groups"]]}

    def training_state(self, with_rows: bool = True) -> dict[str, Any]:
        """Return what the next iteration reads besides :meth:`save`: history, hidden states, who drives.

        Args:
            with_rows: Whether the history's rows are wanted, too.
        """
        return {
            "aggregation": None if self.aggregation is None else self.aggregation.state_dict(with_rows),
            "student_hidden": moved(self.student.get_hidden_state(), "cpu"),
            "teacher_hidden": moved(self.teacher.get_hidden_state(), "cpu"),
            "update_hidden": moved(self.last_hidden_states[0], "cpu"),
            "driver": self.driver.state_dict(),
            "assignment": None if self._ensemble is None else self._ensemble.assignment,
        }

    def load_training_state(
        self,
        state: dict[str, Any],
        continues: bool,
        parts: Iterable[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> None:
        """Restore what :meth:`training_state` returned.

        Args:
            state: The state.
            continues: Whether the environment goes on where it was; if not, hidden states begin anew.
            parts: The rows of a history without rows; see :meth:`AggregatedBuffer.load_state_dict`.

        Raises:
            ValueError: If the saved history does not fit this one.
        """
        if self.aggregation is None and state["aggregation"] is not None:
            announce("[DAgger] use_dagger is off: the history of the earlier run is not used")
        if self.aggregation is not None:
            if state["aggregation"] is None:
                announce("[DAgger] the run kept no history: the aggregated buffer starts empty")
            else:
                self.aggregation.load_state_dict(state["aggregation"], continues, parts)
        if not continues:
            return
        self.student.reset(hidden_state=moved(state["student_hidden"], self.device))
        self.teacher.reset(hidden_state=moved(state["teacher_hidden"], self.device))
        self.last_hidden_states = (moved(state["update_hidden"], self.device), None)
        self.driver.load_state_dict(state["driver"])
        if self._ensemble is not None and state["assignment"] is not None:
            self._ensemble.assign(state["assignment"].to(self.device))

    @property
    def _ensemble(self) -> TeacherEnsemble | None:
        return self._raw_teacher if isinstance(self._raw_teacher, TeacherEnsemble) else None
