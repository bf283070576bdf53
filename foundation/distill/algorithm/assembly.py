"""Assemble the aggregated dataset and the objective from options, models and rsl_rl's storage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from rsl_rl.models import MLPModel
from rsl_rl.storage import RolloutStorage
from tensordict import TensorDict

from foundation.distill.algorithm.init_dataset import begin_history
from foundation.distill.algorithm.losses import LOSSES, weights_per_action
from foundation.distill.algorithm.objective import ImitationObjective
from foundation.distill.algorithm.options import DaggerOptions
from foundation.distill.algorithm.resumable import ResumableDistillation
from foundation.distill.history.aggregated_buffer import AggregatedBuffer, row_bytes
from foundation.distill.history.buffer import INITIAL_CAPACITY
from foundation.distill.history.capacity import HistorySize, check_fits
from foundation.distill.history.dataset import AggregatedDataset, MiniBatchPlan, Rollout
from foundation.distill.history.episode_filter import EpisodeFilter
from foundation.distill.history.eviction import EVICTIONS
from foundation.distill.history.origins import ORIGIN, as_field
from foundation.distill.history.rows import (
    LOSS_MASK,
    RowLayout,
    Transitions,
    Windows,
    per_env,
    rows_for,
    transitions_in,
)
from foundation.distill.observations import groups_of
from foundation.distill.tensors import tensors_of

DEFAULT_UPDATES = 100
"""Gradient steps per iteration without ``num_learning_epochs`` and ``max_updates_per_iteration``."""
MINI_BATCHES_OF_A_ROLLOUT = 40
"""Transitions of a rollout by those of a mini-batch, where neither size nor number of mini-batches is set."""
FEWEST_TRANSITIONS, FEWEST_WINDOWS, MOST_TRANSITIONS = 64, 32, 4096
"""Bounds of such a mini-batch; of a small rollout, a fortieth can be less than one window."""


def make_objective(alg: ResumableDistillation) -> ImitationObjective:
    """Return the objective that an algorithm's options describe.

    Raises:
        ValueError: If a model lacks something that the objective needs.
    """
    options, weights = alg.options, None
    if options.action_weights is not None:
        num_actions = alg.storage.privileged_actions.shape[-1]
        weights = weights_per_action(options.action_weights, num_actions, alg.device)
    loss = LOSSES.find(options.loss_type)(options)
    return ImitationObjective(loss, weights, options.latent_matching, alg.student_model, alg.teachers)


def make_dataset(
    alg: ResumableDistillation, objective: ImitationObjective, log: Callable[[str], None]
) -> AggregatedDataset:
    """Return a dataset for an algorithm, empty or with ``init_dataset``, after checking that it fits into memory.

    Args:
        alg: The algorithm, with models, storage and options.
        objective: Says which labels are stored besides the teacher's actions.
        log: Prints one line.

    Raises:
        ValueError: If the history does not fit, an option does not fit the models or the rollout, or
            ``init_dataset`` cannot be used.
    """
    options, student, storage = alg.options, alg.student_model, alg.storage
    device = torch.device(alg.device)
    masks_steps = alg.ensemble is not None or options.episode_filter is not None
    hidden, labels = _dry_run(alg, objective)
    if masks_steps or student.is_recurrent:
        labels[LOSS_MASK] = torch.ones(storage.num_envs, dtype=torch.bool, device=device)
    rollout = Rollout(storage, _stored_groups(alg), labels)
    layout = _make_layout(student, hidden, options, storage.num_transitions_per_env)
    episode_filter = None
    if options.episode_filter is not None:
        shape = storage.num_transitions_per_env, storage.num_envs
        episode_filter = EpisodeFilter(options.episode_filter, *shape, device)
    buffer = _make_history(_example_row(rollout, layout, student), options, layout, storage, log)
    plan = make_plan(options, storage.num_transitions_per_env * storage.num_envs, layout.transitions_per_row)
    groups = student.obs_groups
    dataset = AggregatedDataset(
        rollout, layout, buffer, episode_filter, plan, options.max_buffer_size, groups, masks_steps, log
    )
    if options.init_dataset is not None:
        begin_history(alg, dataset, options.init_dataset, log)
    return dataset


def make_plan(options: DaggerOptions, rollout_size: int, transitions_per_row: int) -> MiniBatchPlan:
    """Return size and number of the mini-batches of an iteration.

    Where their number is bounded, as by default, they are small: together 2.5 times a rollout.

    Args:
        options: The options.
        rollout_size: Transitions of a rollout.
        transitions_per_row: Transitions of a row of the history: 1, or those of a window.
    """
    size, limit, epochs = options.mini_batch_size, options.max_updates_per_iteration, options.num_learning_epochs
    if epochs is None:
        limit = DEFAULT_UPDATES if limit is None else limit
        epochs = limit
    if limit is not None and options.num_mini_batches is None and size is None:
        fewest = FEWEST_TRANSITIONS if transitions_per_row == 1 else FEWEST_WINDOWS * transitions_per_row
        size = min(max(rollout_size // MINI_BATCHES_OF_A_ROLLOUT, fewest), MOST_TRANSITIONS)
    return MiniBatchPlan(epochs, options.num_mini_batches, size, limit)


def _act_once(teacher: torch.nn.Module, obs: TensorDict) -> None:
    try:
        teacher(obs)
    except KeyError as error:
        if "not found in TensorDict" not in str(error):
            raise
        raise ValueError(
            f"the teacher, {type(teacher).__name__}, reads an observation group that it is not given: "
            f"{' '.join(str(error).split())}; name every group that it reads in obs_groups['teacher']"
        ) from error


def _dry_run(
    alg: ResumableDistillation, objective: ImitationObjective
) -> tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]:
    """Run both models once, and return the student's initial hidden state, and one step of the extra labels."""
    student, teacher, storage = alg.student_model, alg.teacher_model, alg.storage
    obs, was_training = storage.observations[0], student.training
    student.eval()
    teacher.eval()
    with torch.no_grad(), objective.tapped():
        _act_once(teacher, obs)
        student(obs)
        labels = objective.labels(storage.num_envs, lambda values: values[0])
        objective.check_latents(storage.num_envs, labels)
    hidden = student.get_hidden_state()
    if alg.ensemble is not None:
        labels["teacher_id"] = torch.zeros(storage.num_envs, dtype=torch.uint8, device=storage.device)
    student.reset()
    teacher.reset()
    student.train(was_training)
    return () if hidden is None else tuple(torch.zeros_like(part) for part in per_env(hidden)), labels


def _stored_groups(alg: ResumableDistillation) -> list[str]:
    groups = groups_of(alg.student_model)
    if alg.options.store_teacher_obs:
        groups = [*groups, *(group for group in groups_of(alg.teachers[0]) if group not in groups)]
    return groups


def _make_layout(
    student: MLPModel, hidden: tuple[torch.Tensor, ...], options: DaggerOptions, steps: int
) -> RowLayout:
    if student.is_recurrent:
        return Windows(student, hidden, steps, min(options.gradient_length, steps), options.burn_in)
    if options.burn_in:
        raise ValueError(
            f"burn_in={options.burn_in} has no effect on a feed-forward student; set "
            "student.class_name=RNNModel or burn_in=0"
        )
    return Transitions(steps)


def _example_row(rollout: Rollout, layout: RowLayout, student: MLPModel) -> TensorDict:
    """Return one row with the fields of all."""
    phases = torch.zeros_like(rollout.storage.dones[..., 0])
    example = layout.rows(rollout.fields(phases))[:1]
    # Cutting it has left a trace of a rollout that never was.
    layout.reset()
    example[ORIGIN] = as_field(torch.zeros(1, dtype=torch.int64, device=example.device))
    return example if student.is_recurrent else example.exclude(LOSS_MASK)


def _make_history(
    example: TensorDict,
    options: DaggerOptions,
    layout: RowLayout,
    storage: RolloutStorage,
    log: Callable[[str], None],
) -> AggregatedBuffer:
    each, device = layout.transitions_per_row, torch.device(storage.device)
    wanted = options.buffer_device
    if wanted is not None and wanted.split(":")[0] not in ("cpu", device.type):
        raise ValueError(f"buffer_device must be cpu or the training's device {device}, got {wanted}")
    size = HistorySize(
        options.max_buffer_size, row_bytes(tensors_of(example), options.eviction, options.sampling) / each
    )
    _require_room_for_a_rollout(options, layout, storage)
    folder = None if options.buffer_dir is None else Path(options.buffer_dir).expanduser()
    check_fits(size, torch.device(wanted or device), folder, log)
    buffer = AggregatedBuffer(
        example,
        options.max_buffer_size // each,
        device,
        storage_device=wanted,
        folder=folder,
        initial_capacity=rows_for(layout, INITIAL_CAPACITY),
        options=options,
    )
    log(f"Initialized aggregated buffer with capacity: {transitions_in(layout, buffer.capacity)} transitions")
    log(f"Maximum buffer size: {options.max_buffer_size} transitions")
    return buffer


def _require_room_for_a_rollout(options: DaggerOptions, layout: RowLayout, storage: RolloutStorage) -> None:
    each = layout.transitions_per_row
    least = layout.rows_per_env * storage.num_envs * each
    what = "num_envs * num_steps_per_env" + (f", padded to whole windows of {each}" if each > 1 else "")
    share = EVICTIONS.find(options.eviction).replaceable_share(options)
    if share < 1.0:
        least = int(least / share) + 1
        what += f", beside the other phase's floor of {1.0 - share:g}"
    if options.max_buffer_size < least:
        raise ValueError(
            f"max_buffer_size must be at least one rollout ({least} = {what}), got {options.max_buffer_size}"
        )
