"""Minari's format, by the package ``minari``: HDF5, an episode after the other."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from foundation.distill.datasets.layout import (
    ABOUT,
    DatasetError,
    about,
    columns,
    from_columns,
    from_demonstrations,
    named_groups,
)
from foundation.distill.datasets.recording import Recording
from foundation.extras import needs_extra

MARK = "data/metadata.json"
"""File that a dataset of this format has."""
_UNNAMED = ""


def check_writable(folder: Path, fps: float | None) -> None:
    """Check that a dataset can have this name.

    Raises:
        DatasetError: If it cannot, or ``fps`` is given.
        MissingExtraError: If a package is not installed.
    """
    _require_packages()
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(folder.name)
    except (ValueError, TypeError):
        raise DatasetError(
            f"{folder}: the name of a Minari dataset is letters, digits, - and _, and ends with its version; name "
            f"the folder {folder.name}-v0, for example"
        ) from None
    if fps is not None:
        raise DatasetError(f"fps={fps:g} has no effect: a Minari dataset has no time; leave it out")


def _require_packages() -> None:
    with needs_extra("datasets", "a Minari dataset"):
        import h5py  # noqa: F401
        import minari  # noqa: F401
        import PIL  # noqa: F401


def write(recording: Recording, folder: Path, name: str, fps: float | None) -> None:
    """Write a dataset.

    Args:
        recording: What is written.
        folder: An empty folder.
        name: The dataset's name.
        fps: Unused.
    """
    import minari
    from gymnasium import spaces
    from minari.dataset.minari_storage import MinariStorage

    actions = recording.fields["teacher_actions"]
    space = spaces.Dict({name: _box(values) for name, values in recording.groups.items()})
    storage = MinariStorage.new(folder / "data", space, _box(actions, recording.bounds), jpeg_encoding=False)
    storage.update_metadata(
        {
            "dataset_id": name,
            "minari_version": minari.__version__,
            "algorithm_name": "foundation.distill:DaggerDistillation",
            "description": "Actions are the teacher's labels. Rewards and last observations are not recorded.",
            ABOUT: about(recording),
        }
    )
    storage.update_episodes(_episodes(recording))


def _box(values: np.ndarray, bounds: tuple[np.ndarray, np.ndarray] | None = None) -> Any:
    from gymnasium.spaces import Box

    low, high = (0, 255) if values.dtype == np.uint8 else (-np.inf, np.inf)
    if bounds is not None:
        low, high = (np.broadcast_to(side, values.shape[1:]).astype(values.dtype) for side in bounds)
    return Box(low, high, values.shape[1:], values.dtype.type)


def _limits(space: Any) -> tuple[np.ndarray, np.ndarray] | None:
    """Return lowest and highest actions of a space, (A,); None if it has no limits."""
    low, high = getattr(space, "low", None), getattr(space, "high", None)
    if low is None or high is None or not (np.isfinite(low).all() and np.isfinite(high).all()):
        return None
    return low, high


def _episodes(recording: Recording) -> Iterator[Any]:
    from minari.data_collector import EpisodeBuffer

    others, dones = columns(recording), recording.fields["dones"]
    for steps in recording.episodes():
        ended = dones[steps]
        cut = np.zeros_like(ended)
        cut[-1] = not ended[-1]
        yield EpisodeBuffer(
            observations={name: _with_unknown_end(values[steps]) for name, values in recording.groups.items()},
            actions=recording.fields["teacher_actions"][steps],  # pyright: ignore
            rewards=np.full(len(ended), np.nan, np.float32),  # pyright: ignore
            terminations=ended,  # pyright: ignore
            truncations=cut,  # pyright: ignore
            infos={name: values[steps] for name, values in others.items()},
        )


def _with_unknown_end(values: np.ndarray) -> np.ndarray:
    """Return observations with one more, which is not in the history: NaN, or zeros in an image of bytes."""
    last = np.zeros_like(values[:1]) if values.dtype == np.uint8 else np.full_like(values[:1], np.nan)
    return np.concatenate([values, last])


def read(folder: Path, groups: list[str]) -> Recording:
    """Read a dataset.

    Args:
        folder: Its folder.
        groups: Observation groups that are needed.

    Raises:
        DatasetError: If it is damaged, or its observations or actions are no numbers.
        MissingExtraError: If a package is not installed.
    """
    _require_packages()
    from minari import MinariDataset

    try:
        metadata = json.loads((folder / MARK).read_text())
        if not {"observation_space", "action_space"} <= metadata.keys():
            # minari would make the environment that the file names, and so run code.
            raise ValueError("its metadata do not tell observation_space and action_space")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = MinariDataset(folder / "data")
        episodes, what = list(dataset.iterate_episodes()), metadata.get(ABOUT)
    except Exception as error:  # a damaged file can raise anything
        raise DatasetError(f"{folder} cannot be read by minari: {' '.join(str(error).split())}") from error
    if not episodes or not sum(map(len, episodes)):
        raise DatasetError(f"{folder} holds no episode")
    entries = _entries(folder, dataset.observation_space, [episode.observations for episode in episodes])
    actions = _joined(folder, "actions", [episode.actions for episode in episodes])
    if what is None:
        lengths = np.array([len(episode) for episode in episodes])
        begins = np.cumsum(lengths) - lengths
        recording = from_demonstrations(named_groups(entries, _UNNAMED, groups), actions, begins)
        recording.bounds = _limits(dataset.action_space)
        return recording
    infos = [episode.infos for episode in episodes]
    try:
        others = {name: np.concatenate([info[name] for info in infos]) for name in infos[0]}
        return from_columns(what, entries, actions, others)
    except (DatasetError, KeyError, TypeError) as error:
        raise DatasetError(f"{folder} is damaged: {error}") from error


def _entries(folder: Path, space: Any, observations: list[Any]) -> dict[str, np.ndarray]:
    """Return the observations at which actions were taken by entry of a Dict space; a Box has no name."""
    from gymnasium import spaces

    named = {name: [one[name] for one in observations] for name in space} if isinstance(space, spaces.Dict) else {}
    kinds = dict(space.items()) if isinstance(space, spaces.Dict) else {_UNNAMED: space}
    found = {}
    for name, kind in kinds.items():
        if isinstance(kind, spaces.Box):
            values = named[name] if named else observations
            found[name] = _joined(folder, f"observations {name!r}", [one[:-1] for one in values])
    if not found:
        raise DatasetError(f"{folder} has observations of {space}; a history needs a Box, or a Dict of them")
    return found


def _joined(folder: Path, what: str, parts: list[Any]) -> np.ndarray:
    if not all(isinstance(part, np.ndarray) and part.dtype.kind in "fiub" for part in parts):
        raise DatasetError(f"{folder} has {what} of {type(parts[0]).__name__}; a history needs arrays of numbers")
    return np.concatenate(parts)
