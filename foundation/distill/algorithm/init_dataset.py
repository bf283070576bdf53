"""The beginning of a history: a recorded dataset instead of no rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from foundation.distill.algorithm.recorded_labels import RecordedLabels
from foundation.distill.algorithm.resumable import ResumableDistillation
from foundation.distill.datasets import DatasetError, Recording, read_dataset
from foundation.distill.datasets.rows import RowShape, has_hidden, rows_of
from foundation.distill.history.dataset import AggregatedDataset
from foundation.distill.history.rows import transitions_in
from foundation.distill.tensors import all_finite, tensors_of

_NEEDED_BY = {
    "teacher_std": "loss_type={options.loss_type}",
    "teacher_latent": "latent_matching",
    "teacher_id": "a list of teachers",
}
"""Options that make the history store a field."""


def begin_history(
    alg: ResumableDistillation, dataset: AggregatedDataset, folder: str, log: Callable[[str], None]
) -> None:
    """Fill an empty history with the rows of a dataset, and let the student's normaliser learn from them.

    Args:
        alg: The algorithm, with student and options.
        dataset: The empty dataset.
        folder: Folder of the recorded dataset.
        log: Prints one line.

    Raises:
        DatasetError: If the dataset cannot be read, lacks something that the history stores, or does not fit.
    """
    layout, buffer = dataset.layout, dataset.buffer
    shape = RowShape(buffer.storage.format.fields, layout.transitions_per_row, layout.burn_in)
    try:
        recording = read_dataset(folder, dataset.rollout.groups)
    except DatasetError as error:
        raise DatasetError(f"init_dataset {error}") from error
    _check_fields(alg, recording, shape, folder)
    rows = rows_of(recording, shape)
    if len(rows) == 0:
        raise DatasetError(f"init_dataset {folder} has no step that counts in the loss")
    _check_room(dataset, len(rows), folder)
    if not all_finite(tensors_of(rows)):
        raise DatasetError(f"init_dataset {folder} holds NaN or infinity; leave such steps out")
    alg.recorded_labels = RecordedLabels.of(recording, folder, alg.options.label_clip is not None)
    alg.label_range.clip_(rows["teacher_actions"])
    observations = dataset.append_recorded(rows, recording.origins)
    alg.student_model.update_normalization(observations.to(alg.device))
    begins_at_zero = shape.is_window and not has_hidden(recording, shape)
    log(
        f"The history begins with {buffer.num_transitions()} transitions of {folder}"
        + ("; hidden states at the beginnings of windows are zeros" if begins_at_zero else "")
    )


def _check_fields(alg: ResumableDistillation, recording: Recording, shape: RowShape, folder: str) -> None:
    """Check that a recording has all fields of the history, in the same shapes and types."""
    needed = shape.per_step()
    for name in ("teacher_actions", *(name for name in needed if name != "teacher_actions")):
        dtype, size = needed[name]
        what = "actions" if name == "teacher_actions" else name.replace("obs/", "observation group ")
        if name not in recording.fields:
            groups = ", ".join(recording.groups) or "one without a name"
            reason = f"; it has the groups {groups}" if name.startswith("obs/") else ""
            if name in _NEEDED_BY:
                reason = f", which {_NEEDED_BY[name].format(options=alg.options)} needs"
            raise DatasetError(f"init_dataset {folder} lacks {what}{reason}")
        values = recording.fields[name]
        shape_there = values.shape[1:]
        if shape_there != size:
            raise DatasetError(
                f"init_dataset {folder} has {what} of shape {list(shape_there)}, and this run has {list(size)}"
            )
        if torch.from_numpy(np.empty(0, values.dtype)).dtype != dtype:
            raise DatasetError(f"init_dataset {folder} has {what} of type {values.dtype}, and this run of {dtype}")


def _check_room(dataset: AggregatedDataset, rows: int, folder: str) -> None:
    """Check that the dataset and a rollout fit, so that no row is dropped before it is trained on."""
    layout, each = dataset.layout, dataset.layout.transitions_per_row
    needed = rows + layout.rows_per_env * dataset.rollout.storage.num_envs
    if needed > dataset.buffer.max_size:
        raise DatasetError(
            f"init_dataset {folder} has {transitions_in(layout, rows)} transitions; with a rollout they need "
            f"max_buffer_size of at least {needed * each}, got {dataset.buffer.max_size * each}"
        )
