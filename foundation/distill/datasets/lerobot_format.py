"""LeRobot's format, LeRobotDataset v3.0, by the package ``pyarrow``: Parquet, all steps in one table.

The package ``lerobot`` itself is not used: it does not go together with present versions of torch. The layout is
that of lerobot 0.4.4 (``lerobot/datasets/utils.py``, ``lerobot_dataset.py``).
"""

from __future__ import annotations

import json
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

MARK = "meta/info.json"
"""File that a dataset of this format has."""
TASK = "imitate the teacher"
"""LeRobot describes each episode by a task in words; here all have one."""
_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_DATA, _EPISODES = f"data/{_FILE}", f"meta/episodes/{_FILE}"
_OBSERVATION, _STATE, _ACTION, _DONE = "observation.", "state", "action", "next.done"
_INDICES = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_MEGABYTES = 100
_ROWS_PER_GROUP = 100_000


def check_writable(folder: Path, fps: float | None) -> None:
    """Check that a dataset can be written.

    Raises:
        DatasetError: If ``fps`` is missing or not positive.
        MissingExtraError: If a package is not installed.
    """
    with needs_extra("datasets", "a LeRobot dataset"):
        import pyarrow.parquet  # noqa: F401
    if fps is None or not 0.0 < fps < float("inf"):
        raise DatasetError(f"a LeRobot dataset needs its steps per second, fps > 0; got {fps}")


def write(recording: Recording, folder: Path, name: str, fps: float | None) -> None:
    """Write a dataset.

    Args:
        recording: What is written.
        folder: An empty folder.
        name: Unused: the format knows no name.
        fps: Steps per second.
    """
    import pyarrow as pa

    assert fps is not None
    episodes = recording.episodes()
    found = _columns(recording, episodes, fps)
    _write_table(pa.table({name: _array(values) for name, values in found.items()}), folder / _path(_DATA))
    first, end = np.array([[steps.start, steps.stop] for steps in episodes]).T
    zeros = np.zeros(len(episodes), np.int64)
    table = {
        "episode_index": np.arange(len(episodes)),
        "tasks": pa.array([[TASK]] * len(episodes)),
        "length": end - first,
        "data/chunk_index": zeros,
        "data/file_index": zeros,
        "dataset_from_index": first,
        "dataset_to_index": end,
        "meta/episodes/chunk_index": zeros,
        "meta/episodes/file_index": zeros,
    }
    _write_table(pa.table(table), folder / _path(_EPISODES))
    _write_table(_tasks(), folder / "meta" / "tasks.parquet")
    info = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": len(recording),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": _MEGABYTES,
        "video_files_size_in_mb": 2 * _MEGABYTES,
        "fps": int(fps) if float(fps).is_integer() else fps,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": _DATA,
        "video_path": None,
        "features": {name: _feature(values) for name, values in found.items()},
        ABOUT: about(recording),
    }
    (folder / MARK).write_text(json.dumps(info, indent=4), encoding="utf-8")
    stats = {name: _statistics(values) for name, values in found.items() if values.ndim <= 2}
    (folder / "meta" / "stats.json").write_text(json.dumps(stats, indent=4), encoding="utf-8")


def _columns(recording: Recording, episodes: list[slice], fps: float) -> dict[str, np.ndarray]:
    groups, others = recording.groups, columns(recording)
    # Policies of LeRobot read observation.state.
    names = [_STATE] if len(groups) == 1 else list(groups)
    found = {f"{_OBSERVATION}{name}": values for name, values in zip(names, groups.values(), strict=True)}
    found |= {_ACTION: recording.fields["teacher_actions"], _DONE: others.pop("done")} | others
    frames = np.concatenate([np.arange(steps.stop - steps.start) for steps in episodes])
    lengths = [steps.stop - steps.start for steps in episodes]
    count = len(recording)
    indices = (
        (frames / fps).astype(np.float32),
        frames,
        np.repeat(np.arange(len(episodes)), lengths),
        np.arange(count),
        np.zeros(count, np.int64),
    )
    return found | dict(zip(_INDICES, indices, strict=True))


def _path(pattern: str) -> str:
    return pattern.format(chunk_index=0, file_index=0)


def _write_table(table: Any, path: Path) -> None:
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=_ROWS_PER_GROUP)


def _array(values: np.ndarray) -> Any:
    """Return a column: numbers, lists of one length, or lists of lists as ``datasets.Array2D`` stores them."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    sizes = values.shape[1:]
    if _is_scalar(values):
        return flat
    if len(sizes) == 1:
        return pa.FixedSizeListArray.from_arrays(flat, sizes[0])
    if len(flat) >= 2**31:
        raise DatasetError(
            f"a column of {len(flat)} numbers in {len(sizes)} dimensions is too long for this format"
        )
    for size in reversed(sizes):
        flat = pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, size, dtype=np.int32)), flat)
    return flat


def _is_scalar(values: np.ndarray) -> bool:
    return values.ndim == 1 or values.shape[1:] == (1,)


def _feature(values: np.ndarray) -> dict[str, Any]:
    return {"dtype": str(values.dtype), "shape": list(values.shape[1:]) or [1], "names": None}


def _statistics(values: np.ndarray) -> dict[str, list[Any]]:
    numbers = values.reshape(len(values), -1).astype(np.float64)
    found = {"min": numbers.min(0), "max": numbers.max(0), "mean": numbers.mean(0), "std": numbers.std(0)}
    found |= dict(zip(_QUANTILES, np.quantile(numbers, list(_QUANTILES.values()), axis=0), strict=True))
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(values)]}


def _tasks() -> Any:
    """Return the table of tasks, whose index is the text, as pandas writes it."""
    import pyarrow as pa

    index = "__index_level_0__"
    table = pa.table({"task_index": np.zeros(1, np.int64), index: [TASK]})
    described = [
        {"name": name, "field_name": field, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
        for name, field, kind, numpy_type in (
            ("task_index", "task_index", "int64", "int64"),
            (None, index, "unicode", "object"),
        )
    ]
    pandas = {"index_columns": [index], "column_indexes": [], "columns": described, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})


def read(folder: Path, groups: list[str]) -> Recording:
    """Read a dataset.

    Args:
        folder: Its folder.
        groups: Observation groups that are needed.

    Raises:
        DatasetError: If it is damaged, or has no actions.
        MissingExtraError: If a package is not installed.
    """
    with needs_extra("datasets", "a LeRobot dataset"):
        from pyarrow import concat_tables, parquet
    try:
        info = json.loads((folder / MARK).read_text(encoding="utf-8"))
        shapes = {name: feature["shape"] for name, feature in info["features"].items()}
        tables = [parquet.read_table(path) for path in sorted((folder / "data").glob("*/*.parquet"))]
        table = concat_tables(tables)
        found = {name: _values(table[name], shapes[name]) for name in table.column_names if name in shapes}
        found = {name: values for name, values in found.items() if values is not None}
        what = info.get(ABOUT)
        scalars = [] if what is None else [_DONE if name == "done" else name for name in what["scalars"]]
        for name in ("episode_index", *scalars):
            found[name] = found[name].reshape(len(table))
        found = _in_order(info, found, len(table))
    except Exception as error:  # a damaged file can raise anything
        raise DatasetError(
            f"{folder} cannot be read as a LeRobot dataset: {' '.join(str(error).split())}"
        ) from error
    if _ACTION not in found or not len(found[_ACTION]):
        raise DatasetError(f"{folder} holds no column {_ACTION!r} of numbers, which are the labels")
    entries = {
        name.removeprefix(_OBSERVATION): values for name, values in found.items() if name.startswith(_OBSERVATION)
    }
    actions = found[_ACTION]
    if what is None:
        begins = np.flatnonzero(np.diff(found["episode_index"], prepend=-1))
        return from_demonstrations(named_groups(entries, _STATE, groups), actions, begins)
    try:
        if list(entries) == [_STATE]:
            entries = dict(zip(what["groups"], entries.values(), strict=True))
        others = {
            name: values
            for name, values in found.items()
            if name not in (*_INDICES, _ACTION, _DONE) and not name.startswith(_OBSERVATION)
        }
        return from_columns(what, entries, actions, others | {"done": found[_DONE]})
    except (DatasetError, KeyError, ValueError) as error:
        raise DatasetError(f"{folder} is damaged: {error}") from error


def _in_order(info: dict[str, Any], found: dict[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """Return the columns in the order of ``index``.

    Raises:
        ValueError: If the dataset has another version, or rows are missing or there twice.
    """
    version = str(info.get("codebase_version"))
    if not version.startswith("v3."):
        raise ValueError(f"its codebase_version is {version}, but v3.0 is read; convert it with lerobot's scripts")
    if info["total_frames"] != rows:
        raise ValueError(
            f"{MARK} tells of {info['total_frames']} frames, but data/ holds {rows}; copy the dataset again, whole"
        )
    if "index" not in found:
        return found
    index = found["index"].reshape(rows)
    order = np.argsort(index, kind="stable")
    index = index[order]
    if (np.diff(index) != 1).any():
        first = int(np.flatnonzero(np.diff(index) != 1)[0])
        raise ValueError(
            f"the row after index {index[first]} has index {index[first + 1]}; copy the dataset again, whole"
        )
    return {name: values[order] for name, values in found.items()}


def _values(column: Any, shape: list[int]) -> np.ndarray | None:
    """Return a column as an array, (S, …); None if it does not hold numbers, as images in files."""
    import pyarrow as pa

    array = column.combine_chunks()
    array = array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array
    while pa.types.is_nested(array.type) and not pa.types.is_struct(array.type):
        array = array.flatten()
    if not (pa.types.is_primitive(array.type) or pa.types.is_boolean(array.type)):
        return None
    return array.to_numpy(zero_copy_only=False).reshape(len(column), *shape)
