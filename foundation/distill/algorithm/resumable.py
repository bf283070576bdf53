"""Saving and loading the algorithm: models, history, hidden states and the acting policies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from rsl_rl.algorithms import Distillation
from rsl_rl.models import MLPModel

from foundation.distill.algorithm.label_range import LabelRange
from foundation.distill.algorithm.losses import LOSSES
from foundation.distill.algorithm.mixing import ActionMixer
from foundation.distill.algorithm.options import DaggerOptions
from foundation.distill.algorithm.recorded_labels import RecordedLabels
from foundation.distill.algorithm.teachers import (
    TeacherEnsemble,
    TeacherSite,
    lacks_noise,
    match_noise,
    parts_of,
    teachers_in,
)
from foundation.distill.checkpoint import CheckpointError, check_models, convert_checkpoint
from foundation.distill.checkpoint.policy_files import CONTENTS, PolicyFile
from foundation.distill.checkpoint.run_state import AlgorithmState
from foundation.distill.checkpoint.weights import check_weights, require_optimizer
from foundation.distill.history.buffer import RowBuffer
from foundation.distill.history.dataset import AggregatedDataset
from foundation.distill.log import logger
from foundation.distill.observations import groups_of, prepare_inputs
from foundation.distill.tensors import moved

_STATE_VERSION = 1


class ResumableDistillation(Distillation):
    """rsl_rl's ``Distillation`` with a history, saved and loaded as a whole."""

    options: DaggerOptions
    """All options beyond rsl_rl's."""
    label_range: LabelRange
    """Clips the labels."""
    recorded_labels: RecordedLabels | None = None
    """What is known of the labels of ``init_dataset``."""
    mixer: ActionMixer
    """Chooses the acting policy of every environment."""
    dataset: AggregatedDataset | None
    """The aggregated dataset; None without DAgger."""
    lacks_its_history: bool = False
    """Whether a run was loaded, but not the history that belongs to it, as rsl_rl's own runner does."""
    teacher_network: dict[str, Any] | None = None
    """Settings of the teacher's network, where its run had others than are configured."""

    @property
    def student_model(self) -> MLPModel:
        """The student, not compiled."""
        return self._raw_student

    @property
    def teacher_model(self) -> Any:
        """The teacher, not compiled: an ``MLPModel``, a :class:`TeacherEnsemble` or a :class:`PolicyFile`."""
        return self._raw_teacher

    @property
    def teacher_site(self) -> TeacherSite:
        """What another teacher's network would be built for."""
        obs, num_actions = self.storage.observations[0], self.storage.actions.shape[-1]
        return TeacherSite(obs, groups_of(self._raw_teacher), num_actions)

    @property
    def ensemble(self) -> TeacherEnsemble | None:
        """The teachers, if there are several."""
        return self._raw_teacher if isinstance(self._raw_teacher, TeacherEnsemble) else None

    @property
    def teachers(self) -> list[Any]:
        """The teacher, or all of them, not compiled."""
        return [self._raw_teacher] if self.ensemble is None else list(self.ensemble.models)  # pyright: ignore

    @property
    def history(self) -> RowBuffer | None:
        """The aggregated history; None without DAgger."""
        return None if self.dataset is None else self.dataset.buffer

    @property
    def iteration(self) -> int:
        """Number of iterations completed so far, also before a resumed run."""
        return self.num_updates

    def compile(self, mode: str | None = None) -> None:
        """Compile student and teacher, as rsl_rl does; an exported policy runs as it is."""
        super().compile(mode)
        if isinstance(self._raw_teacher, PolicyFile):
            self.teacher = self._raw_teacher  # pyright: ignore

    def save(self) -> dict[str, Any]:
        """Return models, optimiser and progress; :meth:`training_state` has the rest."""
        progress: dict[str, Any] = {"version": _STATE_VERSION, "iteration": self.iteration}
        if self.teacher_network is not None:
            progress["teacher_network"] = self.teacher_network
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
        if not isinstance(loaded_dict, dict):
            raise CheckpointError(
                f"a {type(loaded_dict).__name__} is no checkpoint; name an exported policy in teacher_checkpoint"
            )
        loaded_dict = convert_checkpoint(loaded_dict, "the checkpoint")
        load_cfg = self._parts_to_load(loaded_dict, load_cfg)
        progress = self._progress_in(loaded_dict)
        require_optimizer(loaded_dict, load_cfg, ("student", "teacher"), "the checkpoint")
        loaded_dict = self._with_own_kernels(loaded_dict)
        check_models({"student": self.student_model}, loaded_dict, load_cfg, strict, "the checkpoint's")
        key = "teacher_state_dict" if loaded_dict.get("teacher_state_dict") else "actor_state_dict"
        if key in loaded_dict and load_cfg.get("teacher"):
            self._take_network(progress.get("teacher_network"))
            loaded_dict = {**loaded_dict, key: self._prepare_teacher(loaded_dict[key], strict)}
        try:
            load_iteration = super().load(loaded_dict, load_cfg, strict)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"the checkpoint does not fit the configured models: {reason}") from error
        if load_iteration:
            self.num_updates = progress.get("iteration", loaded_dict.get("iter", -1) + 1)
            self.lacks_its_history = self.dataset is not None and self.num_updates > 0
        return load_iteration

    @staticmethod
    def _progress_in(loaded_dict: dict[str, Any]) -> dict[str, Any]:
        """Return the progress of the run that a checkpoint is of."""
        progress = loaded_dict.get("dagger_state_dict", {"version": _STATE_VERSION})
        if progress["version"] > _STATE_VERSION:
            raise CheckpointError(
                f"the checkpoint has version {progress['version']}, this release reads up to {_STATE_VERSION}; "
                "upgrade foundation-distill"
            )
        return progress

    def _parts_to_load(self, state: dict[str, Any], load_cfg: dict | None) -> dict[str, Any]:
        """Return which parts to load: by default the teacher of a PPO run, or all of a distillation run."""
        if load_cfg is None and "actor_state_dict" in state:
            load_cfg = {"teacher": True}
        elif load_cfg is None:
            load_cfg = dict.fromkeys(("student", "teacher", "optimizer", "iteration"), True)
        elif load_cfg.get("actor"):
            load_cfg = {**load_cfg, "student": True}
        if not self._raw_teacher.state_dict() and not state.get("teacher_state_dict"):
            # A teacher that computes its actions has no weights, and rsl_rl would look for an actor's.
            load_cfg = {**load_cfg, "teacher": False}
        return load_cfg

    def _take_network(self, network: dict[str, Any] | None) -> None:
        """Give the teacher the network that a saved run gave it."""
        if network is not None and network != self.teacher_network:
            site = self.teacher_site
            teacher = site.build(network)
            prepare_inputs(teacher, site.obs)
            self._replace_teacher(teacher)
            self.teacher_network = network

    def _replace_teacher(self, teacher: Any) -> None:
        """Put another model into the teacher's place."""
        self.teacher = self._raw_teacher = teacher

    def _prepare_teacher(self, weights: dict[str, Any], strict: bool) -> dict[str, Any]:
        """Make the teacher one that can load saved weights, and return the weights that it loads.

        Raises:
            CheckpointError: If they do not fit, or lack the standard deviation that the loss needs.
        """
        count = teachers_in(weights)
        if count != (None if self.ensemble is None else len(self.ensemble)):
            configured = "one" if self.ensemble is None else len(self.ensemble)
            held, way = (
                ("one teacher", "one file") if count is None else (f"{count} teachers", f"a list of {count}")
            )
            raise CheckpointError(
                f"the checkpoint holds {held}, the configuration {configured}; set teacher_checkpoint to {way}"
            )
        if CONTENTS in weights:
            self._require_no_std(self.reads_std)
            if not isinstance(self._raw_teacher, PolicyFile):
                what = "the checkpoint's teacher"
                self._replace_teacher(PolicyFile(weights[CONTENTS], *self.teacher_site, what))
            return weights
        if isinstance(self._raw_teacher, PolicyFile):
            raise CheckpointError(
                "the checkpoint's teacher is a network, but teacher_checkpoint names an exported policy; set it "
                "to None"
            )
        parts = parts_of(self._raw_teacher, weights)
        self._require_no_std(self.reads_std and any(lacks_noise(model, part) for _, model, part in parts))
        fitting = {}
        for start, model, part in parts:
            fitted = match_noise(model, part)
            if strict:
                check_weights(model, fitted, "the checkpoint's teacher")
            fitting |= {f"{start}{name}": value for name, value in fitted.items()}
        return fitting

    def _require_no_std(self, needed: bool) -> None:
        if needed:
            raise CheckpointError(
                f"loss_type={self.options.loss_type} needs the teacher's standard deviation, which the checkpoint "
                "does not hold; set loss_type=mse"
            )

    @property
    def reads_std(self) -> bool:
        """Whether the loss needs the teacher's standard deviation."""
        return LOSSES.find(self.options.loss_type).reads_std

    def _with_own_kernels(self, loaded_dict: dict[str, Any]) -> dict[str, Any]:
        """Return a checkpoint whose optimiser, if it holds one, keeps this optimiser's choice of fused kernels."""
        state, defaults = loaded_dict.get("optimizer_state_dict"), self.optimizer.defaults
        if state is None:
            return loaded_dict
        own = {name: defaults[name] for name in ("fused", "foreach") if name in defaults}
        groups = [{**group, **own} for group in state["param_groups"]]
        return {**loaded_dict, "optimizer_state_dict": {**state, "param_groups": groups}}

    def training_state(self, with_rows: bool = True) -> dict[str, Any]:
        """Return everything besides :meth:`save` that the next iteration reads, as an :class:`AlgorithmState`.

        Args:
            with_rows: Whether to include the history's rows.
        """
        applied = self.label_range.applied
        return AlgorithmState(
            aggregation=None if self.dataset is None else self.dataset.state_dict(with_rows),
            student_hidden=moved(self.student.get_hidden_state(), "cpu"),
            teacher_hidden=moved(self.teacher.get_hidden_state(), "cpu"),
            update_hidden=moved(self.last_hidden_states[0], "cpu"),
            driver=self.mixer.state_dict(),
            assignment=None if self.ensemble is None else self.ensemble.assignment,
            action_range=None if applied is None else [side.tolist() for side in applied],
        ).to_dict()

    def load_training_state(
        self,
        state: dict[str, Any],
        env_restored: bool,
        parts: Iterable[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> None:
        """Restore a state of :meth:`training_state`.

        Args:
            state: The state.
            env_restored: Whether the environment continues where it was; if not, hidden states are reset.
            parts: The rows of a history without rows; see :meth:`RowBuffer.load_state_dict`.

        Raises:
            ValueError: If the saved history does not fit this one.
        """
        self.lacks_its_history = False
        if self.options.init_dataset is not None:
            raise ValueError(
                f"init_dataset={self.options.init_dataset} begins the history of a new run; set it to None to "
                "continue one with its own"
            )
        if self.dataset is None and state["aggregation"] is not None:
            logger.warning("[DAgger] use_dagger is off: the history of the earlier run is not used")
        if self.dataset is not None:
            if state["aggregation"] is None:
                logger.warning("[DAgger] the run kept no history: the aggregated buffer starts empty")
            else:
                self.dataset.load_state_dict(state["aggregation"], env_restored, parts)
        if not env_restored:
            return
        self.student.reset(hidden_state=moved(state["student_hidden"], self.device))
        self.teacher.reset(hidden_state=moved(state["teacher_hidden"], self.device))
        self.last_hidden_states = (moved(state["update_hidden"], self.device), None)
        self.mixer.load_state_dict(state["driver"])
        if self.ensemble is not None and state["assignment"] is not None:
            self.ensemble.assign(state["assignment"].to(self.device))
