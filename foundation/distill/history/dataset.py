"""The aggregated dataset: a rollout goes in, mini-batches come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill import ranks
from foundation.distill.history.buffer import RowBuffer
from foundation.distill.history.episode_filter import EpisodeFilter
from foundation.distill.history.older_rows import with_origins
from foundation.distill.history.origins import ORIGIN, Origins
from foundation.distill.history.rows import LOSS_MASK, RowLayout, per_step, transitions_in
from foundation.distill.phases import STUDENT_PHASE
from foundation.distill.tensors import finite_rows, moved, tensors_of

DEFAULT_MINI_BATCH_SIZE = 2048
"""Transitions in a mini-batch without ``num_mini_batches`` and ``mini_batch_size``."""


@dataclass(frozen=True)
class MiniBatchPlan:
    """Size and number of the mini-batches of an iteration; see the options of the same names."""

    num_learning_epochs: int
    num_mini_batches: int | None
    mini_batch_size: int | None
    max_updates_per_iteration: int | None

    def rows(self, stored_rows: int, transitions_per_row: int) -> int:
        """Return the number of rows in a mini-batch."""
        if self.num_mini_batches is not None:
            return -(-stored_rows // self.num_mini_batches)
        transitions = self.mini_batch_size or DEFAULT_MINI_BATCH_SIZE
        return max(1, transitions // transitions_per_row)

    def count(self, mini_batches_per_pass: int) -> int:
        """Return the number of mini-batches of an iteration."""
        count = self.num_learning_epochs * mini_batches_per_pass
        return count if self.max_updates_per_iteration is None else min(count, self.max_updates_per_iteration)


class Appended(NamedTuple):
    """The part of a rollout that has become part of the dataset."""

    num_left_out: int
    """Rows left out because of non-finite values."""
    observations: TensorDict | None
    """Appended observations that count in the loss, (B, …), for the student's normaliser; None without any."""


class Rollout:
    """A rollout as the storage holds it, with the labels that rsl_rl's storage has no place for."""

    def __init__(self, storage: RolloutStorage, groups: Sequence[str], labels: dict[str, torch.Tensor]) -> None:
        """Allocate the labels of one rollout.

        Args:
            storage: rsl_rl's storage of one rollout.
            groups: Observation groups that go into the dataset.
            labels: One step of every label besides the teacher's action, each (N, …).
        """
        self.storage, self.groups = storage, list(groups)
        self.labels = {
            name: value.expand(storage.num_transitions_per_env, *value.shape).clone()
            for name, value in labels.items()
        }
        """Labels by name, each (T, N, …)."""

    def set_labels(self, labels: dict[str, Any]) -> None:
        """Store the labels of the step under way, each (N, …) or one value for all environments."""
        for name, values in labels.items():
            self.labels[name][self.storage.step] = values

    def fields(self, phases: torch.Tensor) -> TensorDict:
        """Return all fields of the rollout, (T, N, …).

        Args:
            phases: Phase of every transition, (T, N).
        """
        storage = self.storage
        fields = {f"obs/{group}": storage.observations[group] for group in self.groups}
        fields["teacher_actions"] = storage.privileged_actions
        fields["student_actions"] = storage.actions
        fields["dones"] = storage.dones.squeeze(-1).bool()
        fields["phase"] = phases
        return TensorDict(
            fields | self.labels,
            batch_size=[storage.num_transitions_per_env, storage.num_envs],
            device=torch.device(storage.device),
        )


class AggregatedDataset:
    """Cuts rollouts into rows, filters them, appends them to the history, and draws mini-batches."""

    def __init__(
        self,
        rollout: Rollout,
        layout: RowLayout,
        buffer: RowBuffer,
        episode_filter: EpisodeFilter | None,
        plan: MiniBatchPlan,
        max_transitions: int,
        normalised_groups: Sequence[str],
        masks_steps: bool,
        log: Callable[[str], None],
    ) -> None:
        """Join the parts.

        Args:
            rollout: The rollout under way.
            layout: Cuts rollouts into rows.
            buffer: The history.
            episode_filter: Holds rows back until their episodes end; None appends every row at once.
            plan: Size and number of the mini-batches.
            max_transitions: ``max_buffer_size``.
            normalised_groups: Observation groups whose statistics the student's normaliser keeps.
            masks_steps: Whether a filter or several teachers may exclude steps of a rollout from the loss.
            log: Prints one line.
        """
        self.rollout, self.layout, self.buffer, self.filter = rollout, layout, buffer, episode_filter
        self._plan, self._max_transitions = plan, max_transitions
        self._normalised_groups, self._masks_steps, self._log = list(normalised_groups), masks_steps, log
        self.origins = Origins()
        """Where the rows come from."""

    @property
    def capacity(self) -> int:
        """Number of transitions that the history has room for at present."""
        return transitions_in(self.layout, self.buffer.capacity)

    def before_step(self) -> None:
        """Record the student's hidden state, if a row needs it, before the student acts."""
        self.layout.before_step(self.rollout.storage.step)

    def after_step(self, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]) -> None:
        """Let the filter judge the episodes that end in the step under way."""
        if self.filter is not None:
            self.filter.observe(self.rollout.storage.step, rewards, dones, extras)

    def append(
        self,
        phases: torch.Tensor,
        finite_only: bool = False,
        iteration: int | None = None,
        phase: int = STUDENT_PHASE,
    ) -> Appended:
        """Append the rollout in the storage.

        Args:
            phases: Phase of every transition, by who acted, (T, N).
            finite_only: Whether to leave out rows with non-finite values.
            iteration: Iteration of the rollout; None is the one after the last.
            phase: Phase of the training.

        Raises:
            ValueError: If the filter holds back more than the history may hold.
        """
        fields = self.rollout.fields(phases)
        if self.filter is not None:
            self.filter.mark(fields)
        rows = self.layout.rows(fields)
        first = self.origins.add_rollout(*fields.batch_size, phase=phase, iteration=iteration)
        rows[ORIGIN] = self.origins.of_rows(self.layout, first, fields.batch_size[1], fields["dones"].device)
        if self.filter is not None:
            rows = self._release(rows, fields, self.filter)
        if self._masks_steps:
            rows = rows[per_step(rows[LOSS_MASK]).any(1)]
        num_rows = len(rows)
        if finite_only:
            rows = rows[finite_rows(tensors_of(rows))]
        num_left_out = num_rows - len(rows)
        if len(rows) == 0:
            return Appended(num_left_out, None)
        self._append(rows)
        if num_left_out or self._masks_steps:
            return Appended(num_left_out, self._counted_observations(rows))
        obs = {group: fields[f"obs/{group}"] for group in self._normalised_groups}
        return Appended(0, TensorDict(obs, batch_size=fields.batch_size).flatten(0, 1))

    def append_recorded(self, rows: TensorDict, origins: dict[str, Any]) -> TensorDict:
        """Append recorded rows to an empty history, and return the observations (B, …) that count in the loss.

        Args:
            rows: Rows with the fields of the history, oldest first.
            origins: Where they come from, a state of :class:`Origins`.
        """
        self._append(rows)
        self.origins.load_state_dict(origins)
        self.origins.interrupt()
        return self._counted_observations(rows)

    def _append(self, rows: TensorDict) -> None:
        capacity = self.capacity
        # A filter may release more than one rollout at once.
        for part in rows.split(self.buffer.max_size):
            self.buffer.append(part)
        if self.capacity > capacity:
            self._log(f"Expanding buffer from {capacity} to {self.capacity} transitions")

    def _release(self, rows: TensorDict, fields: TensorDict, episode_filter: EpisodeFilter) -> TensorDict:
        """Return the rows whose episodes have been judged by now, also those of earlier rollouts."""
        rows = episode_filter.release(rows, fields)
        held_back = episode_filter.num_held_back() * self.layout.transitions_per_row
        if held_back > self._max_transitions:
            raise ValueError(
                f"episode_filter={episode_filter.name} holds {held_back} transitions back, more than "
                f"max_buffer_size={self._max_transitions}, because their episodes have not ended; raise "
                "max_buffer_size to num_envs times the longest episode, or shorten the episodes"
            )
        return rows

    def _counted_observations(self, rows: TensorDict) -> TensorDict:
        obs = {group: rows[f"obs/{group}"] for group in self._normalised_groups}
        mask = rows.get(LOSS_MASK, None)
        if mask is not None and mask.ndim > 1:
            obs = {group: values[mask] for group, values in obs.items()}
        return TensorDict(obs, batch_size=[] if not obs else [len(next(iter(obs.values())))])

    def mini_batch_rows(self) -> int:
        """Return the number of rows in a mini-batch."""
        return self._plan.rows(len(self.buffer), self.layout.transitions_per_row)

    def mini_batches(self) -> Iterator[TensorDict]:
        """Yield the mini-batches of one iteration; none while nothing is stored."""
        rows = self.mini_batch_rows() if len(self.buffer) else 0
        # Every rank takes part in every gradient step, or the others would wait for it.
        count = ranks.least(self._plan.count(self.buffer.num_mini_batches(rows)) if rows else 0)
        return self.buffer.mini_batches(rows, count) if count else iter(())

    def state_dict(self, with_rows: bool = True) -> dict[str, Any]:
        """Return the history, and the parts of earlier rollouts that the next rollout's rows need.

        Args:
            with_rows: Whether to include the history's rows.
        """
        # A rollout that was interrupted is discarded, so the next one does not follow the recorded steps.
        between_rollouts = self.rollout.storage.step == 0
        held_back = (
            None if self.filter is None else self.filter.state_dict() if between_rollouts else {"waiting": []}
        )
        return {
            "history": self.buffer.state_dict(with_rows),
            "layout": self.layout.state_dict() if between_rollouts else None,
            "filter": held_back,
            "origins": self.origins.state_dict() | {"burn_in": self.layout.burn_in},
        }

    def load_state_dict(
        self,
        state: dict[str, Any],
        env_restored: bool,
        parts: Iterable[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> None:
        """Restore the history and, if the environment continues where it was, the parts of earlier rollouts.

        Args:
            state: A state of :meth:`state_dict`.
            env_restored: Whether the environment continues where it was.
            parts: The rows of a state without rows; see :meth:`RowBuffer.load_state_dict`.

        Raises:
            ValueError: If the saved history does not fit.
        """
        each, capacity = self.layout.transitions_per_row, state["history"]["capacity"]
        if capacity > self.buffer.max_size:
            raise ValueError(
                f"the saved history has capacity {capacity * each}, more than max_buffer_size="
                f"{self._max_transitions}; set max_buffer_size to at least {capacity * each}"
            )
        if (state["filter"] is None) != (self.filter is None):
            had = "without" if self.filter else "with"
            raise ValueError(f"the saved history was kept {had} an episode_filter; keep it so")
        if "origins" not in state:
            state, parts = with_origins(state, parts, self.layout.burn_in)
        self.buffer.load_state_dict(state["history"], parts)
        self.origins.load_state_dict(state["origins"])
        if not env_restored or state["layout"] is None:
            self.origins.interrupt()
        device = self.rollout.storage.device
        if env_restored and state["layout"] is not None:
            self.layout.load_state_dict(moved(state["layout"], device))
        if env_restored and self.filter is not None and state["filter"] is not None:
            self.filter.load_state_dict(moved(state["filter"], device))
