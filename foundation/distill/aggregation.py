"""From a rollout to the history, and from the history to a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill.backprop import MlpBackprop, backprop_of
from foundation.distill.buffer import INITIAL_CAPACITY, AggregatedBuffer, row_bytes
from foundation.distill.checkpoint import moved
from foundation.distill.eviction import DEFAULT_PHASE_FLOOR
from foundation.distill.filters import EpisodeFilter
from foundation.distill.finite import finite_rows
from foundation.distill.losses import ImitationLoss, LatentMatching
from foundation.distill.memory import HistorySize, check_fits
from foundation.distill.observations import count_on_host, groups_of, tensors_of
from foundation.distill.options import DaggerOptions
from foundation.distill.teachers import TeacherEnsemble
from foundation.distill.windows import TRAINED, RowLayout, Transitions, Windows, per_env, per_step

DEFAULT_MINI_BATCH_SIZE = 2048


class Aggregation:
    """Turns rollouts into rows of the history, and draws and evaluates mini-batches of them."""

    def __init__(
        self,
        options: DaggerOptions,
        student: MLPModel,
        teacher: MLPModel | TeacherEnsemble,
        storage: RolloutStorage,
        say: Callable[[str], None],
    ) -> None:
        """Check that the history fits, and allocate it.

        Args:
            options: The algorithm's options.
            student: The student.
            teacher: The teacher or teachers.
            storage: Storage of one rollout, on the device of the models.
            say: Prints one line.

        Raises:
            ValueError: If the history does not fit, or the models do not have what an option needs.
        """
        self.options = options
        self.device = storage.device
        self._student, self._teacher, self._storage = student, teacher, storage
        count_on_host(student)
        self._steps, self._num_envs = storage.num_transitions_per_env, storage.num_envs
        self._several = isinstance(teacher, TeacherEnsemble)
        teachers: Sequence[Any] = list(teacher.models) if isinstance(teacher, TeacherEnsemble) else [teacher]
        self._loss_per_teacher = torch.zeros(2, len(teachers) if self._several else 0, device=self.device)
        num_actions = storage.privileged_actions.shape[-1]
        latent = None if options.latent_matching is None else LatentMatching(**options.latent_matching)
        self.loss = ImitationLoss(
            options.loss_type, options.action_weights, latent, student, teachers, num_actions, self.device
        )
        hidden, labels = self._dry_run()
        self._labels = {name: value.expand(self._steps, *value.shape).clone() for name, value in labels.items()}
        self.layout = self._make_layout(hidden)
        self.filter = None
        if options.episode_filter is not None:
            self.filter = EpisodeFilter(options.episode_filter, self._steps, self._num_envs, self.device)
        self.buffer = self._make_buffer(say)

    @property
    def needs_every_step(self) -> bool:
        """Whether a rollout's rows hold more than observations, actions and dones tell when it is over."""
        return self._several or self.filter is not None or self.loss.reads_modules

    @property
    def _rows_are_judged(self) -> bool:
        """Whether a rollout's steps may not count."""
        return self._several or self.filter is not None

    def before_step(self) -> None:
        """Record what the rollout's rows need of the state before the student acts."""
        self.layout.before_step(self._storage.step)

    def after_act(self) -> None:
        """Record what the loss needs of the teacher's forward pass besides the action."""
        for name, values in self.loss.labels(self._num_envs, self._select).items():
            self._labels[name][self._storage.step] = values
        if isinstance(self._teacher, TeacherEnsemble):
            assignment = self._teacher.assignment
            self._labels["teacher_id"][self._storage.step] = 0 if assignment is None else assignment
            # Nobody has told yet whose labels these should be.
            self._labels[TRAINED][self._storage.step] = assignment is not None

    def after_step(self, rewards: torch.Tensor, dones: torch.Tensor, extras: dict[str, Any]) -> None:
        """Ask the filter about the episodes that end."""
        if self.filter is not None:
            self.filter.observe(self._storage.step, rewards, dones, extras)

    def aggregate(self, phases: torch.Tensor, finite_only: bool = False) -> int:
        """Append the storage's rollout.

        Args:
            phases: Who drove, (T, N).
            finite_only: Whether to leave out rows that hold NaN or infinity.

        Returns:
            The number of rows left out.
        """
        rollout = self._rollout(phases)
        if self.filter is not None:
            self.filter.mark(rollout)
        rows = self.layout.rows(rollout)
        if self.filter is not None:
            rows = self.filter.release(rows, rollout)
            waiting = self.filter.num_waiting() * self.layout.transitions_per_row
            if waiting > self.options.max_buffer_size:
                raise ValueError(
                    f"episode_filter={self.options.episode_filter} holds {waiting} transitions back, more than "
                    f"max_buffer_size={self.options.max_buffer_size}, because their episodes have not ended; "
                    "raise max_buffer_size to num_envs times the longest episode, or shorten the episodes"
                )
        if self._rows_are_judged:
            rows = rows[per_step(rows[TRAINED]).any(1)]
        before = len(rows)
        if finite_only:
            rows = rows[finite_rows(tensors_of(rows))]
        if len(rows) == 0:
            return before
        # A filter may release more than one rollout at once.
        for part in rows.split(self.buffer.max_size):
            self.buffer.append(part)
        # Running statistics over every rollout are the statistics of all data ever aggregated.
        if len(rows) == before and not self._rows_are_judged:
            obs = self._obs(rollout.flatten(0, 1), self._student.obs_groups)
        else:
            obs = self._trained_obs(rows)
        self._student.update_normalization(obs)
        return before - len(rows)

    def upcoming(self) -> dict[str, torch.Tensor]:
        """Return numbers on the device that the next rollout's rows need; see :class:`AggregatedBuffer`."""
        if self._rows_are_judged:
            return {}  # nobody knows how many there will be
        return self.buffer.upcoming(self.layout.rows_per_env * self._num_envs)

    def mini_batches(self) -> Iterator[TensorDict]:
        """Yield the mini-batches of one iteration; none while nothing is stored."""
        options, size = self.options, self.mini_batch_rows()
        if len(self.buffer) == 0:
            return iter(())
        count = options.num_learning_epochs * self.buffer.num_mini_batches(size)
        if options.max_updates_per_iteration is not None:
            count = min(count, options.max_updates_per_iteration)
        return self.buffer.mini_batches(size, count)

    def mini_batch_rows(self) -> int:
        """Return the number of rows in a mini-batch."""
        if self.options.num_mini_batches is not None:
            return -(-len(self.buffer) // self.options.num_mini_batches)
        transitions = self.options.mini_batch_size or DEFAULT_MINI_BATCH_SIZE
        return max(1, transitions // self.layout.transitions_per_row)

    def losses(self, batch: TensorDict) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the loss of every transition of a mini-batch, (B,) or (B, W), and which count, None if all do."""
        with self.loss.listening():
            actions = self.layout.run(self._student, self._obs(batch, groups_of(self._student)), batch)
        losses = self.loss(actions, batch, partial(self.layout.arrange, batch=batch))
        return losses, batch.get(TRAINED, None)

    def backprop(self) -> MlpBackprop | None:
        """Return what computes the loss and its gradients without autograd; None where only autograd can."""
        partly = TRAINED in self.buffer.storage.fields and not self._student.is_recurrent
        if partly or self.loss.reads_modules:
            return None
        return backprop_of(self._student, self.loss.kind, self.loss.weights)

    def closed_form_losses(
        self, backprop: MlpBackprop, batch: TensorDict
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return what :meth:`losses` returns, and leave the gradients of the mean loss in the parameters."""
        obs = {group: batch[f"obs/{group}"] for group in groups_of(self._student)}
        return backprop(obs, batch), batch.get(TRAINED, None)  # pyright: ignore

    def record_losses(self, batch: TensorDict, losses: torch.Tensor, counts: torch.Tensor | None) -> None:
        """Let sampling and the losses per teacher know what :meth:`losses` returned."""
        if not (self._several or self.buffer.sampler.reads_losses):
            return
        counts = torch.ones_like(losses) if counts is None else counts.float()
        losses = losses * counts
        self.buffer.record_loss(batch, per_step(losses).sum(1) / per_step(counts).sum(1))
        if self._several:
            teacher = batch["teacher_id"].flatten().long()
            self._loss_per_teacher[0].index_add_(0, teacher, losses.flatten())
            self._loss_per_teacher[1].index_add_(0, teacher, counts.flatten())

    def loss_per_teacher(self) -> dict[str, float]:
        """Return the mean recorded loss of each of several teachers that had one, and begin anew."""
        if not self._several:
            return {}
        sums, counts = self._loss_per_teacher.tolist()
        self._loss_per_teacher.zero_()
        pairs = enumerate(zip(sums, counts, strict=True))
        return {f"behavior_teacher_{i}": total / count for i, (total, count) in pairs if count}

    def check_relabel(self) -> None:
        """Check that the history can be labelled anew.

        Raises:
            ValueError: If they are not stored, or the teacher is recurrent or one of several.
        """
        if not self.options.store_teacher_obs:
            raise ValueError("relabelling needs the teacher's observations; set store_teacher_obs=True")
        if isinstance(self._teacher, TeacherEnsemble):
            raise ValueError("relabelling needs a single teacher; there are several")
        if self._teacher.is_recurrent:
            raise ValueError(
                "relabelling needs a feed-forward teacher: what a recurrent one remembered is not stored"
            )

    def relabel(self) -> None:
        """Let the teacher label the whole history anew, from its stored observations."""
        for start in range(0, len(self.buffer), DEFAULT_MINI_BATCH_SIZE):
            stop = min(start + DEFAULT_MINI_BATCH_SIZE, len(self.buffer))
            slots = torch.arange(start, stop, device=self.buffer.sampler.device)
            self.buffer.overwrite(slots, self._labels_of(self.buffer[slots]))
        for rows in [] if self.filter is None else self.filter.waiting:
            rows.update(self._labels_of(rows))

    def _labels_of(self, rows: TensorDict) -> dict[str, torch.Tensor]:
        """Return the teacher's labels for stored observations."""
        assert not isinstance(self._teacher, TeacherEnsemble)
        shape = rows["dones"].shape
        obs = {name: rows[f"obs/{name}"].flatten(0, len(shape) - 1) for name in groups_of(self._teacher)}
        with torch.no_grad(), self.loss.listening():
            labels = {"teacher_actions": self._teacher(TensorDict(obs, batch_size=[shape.numel()]))}
            labels |= self.loss.labels(shape.numel(), self._select)
        return {name: value.view(*shape, -1) for name, value in labels.items()}

    def state_dict(self, with_rows: bool = True) -> dict[str, Any]:
        """Return the history, with or without its rows, and what the next rollout's rows need of earlier ones."""
        # The rollout so far is lost, so what comes next does not follow what is remembered.
        whole = self._storage.step == 0
        return {
            "history": self.buffer.state_dict(with_rows),
            "layout": self.layout.state_dict() if whole else None,
            "filter": None if self.filter is None else self.filter.state_dict() if whole else {"waiting": []},
        }

    def load_state_dict(
        self,
        state: dict[str, Any],
        continues: bool,
        parts: Iterable[tuple[torch.Tensor, torch.Tensor]] | None = None,
    ) -> None:
        """Restore the history and, if the environment goes on where it was, the rest.

        Args:
            state: What :meth:`state_dict` returned.
            continues: Whether the environment goes on.
            parts: The rows of a state without rows; see :meth:`AggregatedBuffer.load_state_dict`.

        Raises:
            ValueError: If the saved history does not fit.
        """
        each, capacity = self.layout.transitions_per_row, state["history"]["capacity"]
        if capacity > self.buffer.max_size:
            limit = self.options.max_buffer_size
            raise ValueError(
                f"the saved history has capacity {capacity * each}, more than max_buffer_size={limit}; "
                f"set max_buffer_size to at least {capacity * each}"
            )
        if (state["filter"] is None) != (self.filter is None):
            had = "without" if self.filter else "with"
            raise ValueError(f"the saved history was kept {had} an episode_filter; keep it so")
        self.buffer.load_state_dict(state["history"], parts)
        if continues and state["layout"] is not None:
            self.layout.load_state_dict(moved(state["layout"], self.device))
        if continues and self.filter is not None and state["filter"] is not None:
            self.filter.load_state_dict(moved(state["filter"], self.device))

    def _dry_run(self) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
        """Run both models once, and return the initial hidden state and the labels besides actions."""
        obs, was_training = self._storage.observations[0], self._student.training
        self._student.eval()
        self._teacher.eval()
        with torch.no_grad(), self.loss.listening():
            self._teacher(obs)
            self._student(obs)
            labels = self.loss.labels(self._num_envs, lambda values: values[0])
            self.loss.check_latents(self._num_envs, labels)
        hidden = self._student.get_hidden_state()
        if self._several:
            labels["teacher_id"] = torch.zeros(self._num_envs, dtype=torch.uint8, device=self.device)
        if self._several or self.options.episode_filter is not None:
            labels[TRAINED] = torch.ones(self._num_envs, dtype=torch.bool, device=self.device)
        self._student.reset()
        self._teacher.reset()
        self._student.train(was_training)
        return () if hidden is None else tuple(torch.zeros_like(part) for part in per_env(hidden)), labels

    def _make_layout(self, hidden: tuple[torch.Tensor, ...]) -> RowLayout:
        if not self._student.is_recurrent:
            if self.options.burn_in:
                raise ValueError(
                    f"burn_in={self.options.burn_in} has no effect on a feed-forward student; set "
                    "student.class_name=RNNModel or burn_in=0"
                )
            return Transitions(self._steps)
        one = torch.ones(self._num_envs, dtype=torch.bool, device=self.device)
        self._labels.setdefault(TRAINED, one.expand(self._steps, -1).clone())
        length = min(self.options.gradient_length, self._steps)
        return Windows(self._student, hidden, self._steps, length, self.options.burn_in)

    def _make_buffer(self, say: Callable[[str], None]) -> AggregatedBuffer:
        options, each = self.options, self.layout.transitions_per_row
        rollout_rows = self.layout.rows_per_env * self._num_envs
        least = rollout_rows * each
        what = "num_envs * num_steps_per_env" + (f", padded to whole windows of {each}" if each > 1 else "")
        if options.eviction == "balanced":
            floor = DEFAULT_PHASE_FLOOR if options.phase_floor is None else options.phase_floor
            least, what = int(least / (1.0 - floor)) + 1, f"{what}, beside the other phase's floor of {floor}"
        if options.max_buffer_size < least:
            raise ValueError(
                f"max_buffer_size must be at least one rollout ({least} = {what}), got {options.max_buffer_size}"
            )
        device, home = torch.device(self.device), options.buffer_device
        if home is not None and home.split(":")[0] not in ("cpu", device.type):
            raise ValueError(f"buffer_device must be cpu or the training's device {device}, got {home}")
        example = self._example()
        row = row_bytes(tensors_of(example), options.eviction, options.sampling)
        folder = None if options.buffer_dir is None else Path(options.buffer_dir)
        size = HistorySize(options.max_buffer_size, row / each)
        check_fits(size, torch.device(home or device), folder, say)
        buffer = AggregatedBuffer(
            example,
            options.max_buffer_size // each,
            device,
            eviction=options.eviction,
            phase_floor=options.phase_floor,
            sampling=options.sampling,
            recency_half_life=options.recency_half_life,
            priority_exponent=options.priority_exponent,
            kept_on=home,
            folder=folder,
            initial_capacity=-(-INITIAL_CAPACITY // each),
        )
        say(f"Initialized aggregated buffer with capacity: {buffer.capacity * each} transitions")
        say(f"Maximum buffer size: {options.max_buffer_size} transitions")
        return buffer

    def _example(self) -> TensorDict:
        """Return one row with the fields of all, leaving no trace of having cut it."""
        example = self.layout.rows(self._rollout(torch.zeros_like(self._storage.dones[..., 0])))[:1]
        self.layout.forget()
        if not self._student.is_recurrent:
            example = example.exclude(TRAINED)
        return example

    def _rollout(self, phases: torch.Tensor) -> TensorDict:
        """Return the storage's transitions, shape (T, N), with the observations that are to be stored."""
        storage = self._storage
        groups = groups_of(self._student)
        if self.options.store_teacher_obs:
            groups = [*groups, *(g for g in self._teacher_groups() if g not in groups)]
        fields = {f"obs/{group}": storage.observations[group] for group in groups}
        fields["teacher_actions"] = storage.privileged_actions
        fields["student_actions"] = storage.actions
        fields["dones"] = storage.dones.squeeze(-1).bool()
        fields["phase"] = phases
        return TensorDict(
            fields | self._labels, batch_size=[self._steps, self._num_envs], device=torch.device(self.device)
        )

    def _teacher_groups(self) -> list[str]:
        first = self._teacher.models[0] if isinstance(self._teacher, TeacherEnsemble) else self._teacher
        return groups_of(first)  # pyright: ignore

    def _trained_obs(self, rows: TensorDict) -> TensorDict:
        obs = {group: rows[f"obs/{group}"] for group in self._student.obs_groups}
        if self._student.is_recurrent:
            obs = {group: values[rows[TRAINED]] for group, values in obs.items()}
        return TensorDict(obs, batch_size=[] if not obs else [len(next(iter(obs.values())))])

    def _obs(self, batch: TensorDict, groups: list[str]) -> TensorDict:
        return TensorDict({group: batch[f"obs/{group}"] for group in groups}, batch_size=batch.batch_size)

    def _select(self, values: list[torch.Tensor]) -> torch.Tensor:
        return self._teacher.select(values) if isinstance(self._teacher, TeacherEnsemble) else values[0]
