"""Datasets as files: which format a folder has, and writing one whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import ModuleType

from foundation.distill.datasets import lerobot_format, minari_format
from foundation.distill.datasets.layout import DatasetError
from foundation.distill.datasets.recording import Recording
from foundation.distill.datasets.saved_history import saved_history

FORMATS: dict[str, ModuleType] = {"minari": minari_format, "lerobot": lerobot_format}
"""The module of each format, by its name."""


def export_history(checkpoint: str | Path, folder: str | Path, form: str, fps: float | None = None) -> Recording:
    """Write the history in a checkpoint as a dataset, and return what was written.

    Args:
        checkpoint: A numbered checkpoint of a run of :class:`~foundation.distill.DaggerRunner`.
        folder: Folder of the dataset, which must not exist yet.
        form: ``minari`` or ``lerobot``.
        fps: Steps per second, which LeRobot's format needs and Minari's has no place for.

    Raises:
        DatasetError: If the folder cannot be written, or its name or ``fps`` cannot work.
        CheckpointError: If the checkpoint is damaged, or holds no history.
        MissingExtraError: If a package of the extra ``datasets`` is not installed.
    """
    folder = check_export(folder, form, fps)
    recording = saved_history(Path(checkpoint))
    write_dataset(recording, folder, form, fps)
    return recording


def check_export(folder: str | Path, form: str, fps: float | None) -> Path:
    """Return the folder of a dataset, after checking that it can be written.

    Raises:
        DatasetError: If it cannot be written, or its name or ``fps`` cannot work.
        MissingExtraError: If a package is not installed.
    """
    if form not in FORMATS:
        raise DatasetError(f"the format of a dataset is {' or '.join(FORMATS)}, got {form!r}")
    folder = Path(folder).expanduser()
    FORMATS[form].check_writable(folder, fps)
    if folder.exists():
        raise DatasetError(f"{folder} exists already; name a folder that does not")
    parent = folder.resolve().parent
    while not parent.exists():
        parent = parent.parent
    if not os.access(parent, os.W_OK) or not parent.is_dir():
        raise DatasetError(f"{folder} cannot be created in {parent}")
    return folder


def write_dataset(recording: Recording, folder: Path, form: str, fps: float | None = None) -> None:
    """Write a dataset, whole or not at all.

    Raises:
        DatasetError: If a field has no numbers, or too many.
    """
    for name, values in recording.fields.items():
        if values.size == 0:
            raise DatasetError(f"{name} of the history is empty, which no dataset can hold; store no empty group")
    # Absolute, as minari joins a relative path with itself.
    folder = folder.resolve()
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        FORMATS[form].write(recording, temporary, folder.name, fps)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def format_of(folder: Path) -> str:
    """Return the name of the format of a dataset.

    Raises:
        DatasetError: If there is no dataset.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} does not exist; give the folder of a dataset")
    found = [name for name, module in FORMATS.items() if (folder / module.MARK).is_file()]
    if not found and any((folder.parent / module.MARK).is_file() for module in FORMATS.values()):
        raise DatasetError(f"{folder} is a part of a dataset; give the folder above, {folder.parent}")
    if not found:
        marks = " nor ".join(f"{module.MARK} ({name})" for name, module in FORMATS.items())
        raise DatasetError(f"{folder} is no dataset: it has neither {marks}")
    return found[0]


def read_dataset(folder: str | Path, groups: list[str]) -> Recording:
    """Read a dataset: a history that was exported, or demonstrations from elsewhere.

    Args:
        folder: Folder of the dataset.
        groups: Observation groups that are needed. If it is one, demonstrations may hold it without a name.

    Raises:
        DatasetError: If there is no dataset, it is damaged, or holds no actions or observations.
        MissingExtraError: If a package of the extra ``datasets`` is not installed.
    """
    folder = Path(folder).expanduser()
    return FORMATS[format_of(folder)].read(folder, groups)
