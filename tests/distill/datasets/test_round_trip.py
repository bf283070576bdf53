"""A history that is written as a dataset and read again is the same history, byte for byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import minari
import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

from foundation.distill.datasets import export_history, read_dataset
from foundation.distill.datasets.saved_history import saved_history
from foundation.distill.tensors import tensors_of
from tests.support.recorded import FORMATS, KINDS, make_runner, records, trained
from tests.support.runners import assert_equal, weights

LAST = "model_3.pt"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict:
    """A finished run of each kind, by its name, made when it is first asked for."""

    class Runs(dict):
        def __missing__(self, kind):
            folder = tmp_path_factory.mktemp("run")
            self[kind] = trained(kind, folder), folder
            return self[kind]

    return Runs()


def exported(folder: Path, form: str, to: Path) -> Path:
    path = to / f"{form}-v0"
    export_history(folder / LAST, path, form, FORMATS[form])
    return path


def tables(dataset: Path) -> dict[str, bytes]:
    """Return everything that a dataset holds, read by the format's own library."""
    if (dataset / "meta").is_dir():
        table = parquet.read_table(dataset / "data" / "chunk-000" / "file-000.parquet")
        found = {name: str(table[name].type).encode() for name in table.column_names}
        for name in table.column_names:
            for i, buffer in enumerate(table[name].combine_chunks().buffers()):
                found[f"{name}/{i}"] = b"" if buffer is None else buffer.to_pybytes()
        for part in ("meta/episodes/chunk-000/file-000.parquet", "meta/tasks.parquet"):
            found[part] = json.dumps(parquet.read_table(dataset / part).to_pydict()).encode()
        return found | {part: (dataset / "meta" / part).read_bytes() for part in ("info.json", "stats.json")}
    found = {}
    with h5py.File(dataset / "data" / "main_data.hdf5") as file:
        file.visititems(
            lambda name, item: found.update(
                {name: str(item.dtype).encode() + item[()].tobytes()} if isinstance(item, h5py.Dataset) else {}
            )
        )
    return found


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_rows_that_a_dataset_gives_are_those_that_were_exported_bit_for_bit(kind, form, runs, tmp_path):
    runner, folder = runs[kind]
    dataset = exported(folder, form, tmp_path)
    again = make_runner(kind, tmp_path / "again", seed=9, init_dataset=str(dataset), max_buffer_size=1000)
    expected, got = records(runner), records(again)
    assert len(expected) > 20
    assert np.array_equal(got, expected)
    assert again.alg.history.storage.format.description() == runner.alg.history.storage.format.description()
    # Its own export is the same dataset.
    (tmp_path / "again").mkdir()
    assert again.checkpoints.save(tmp_path / "again" / "model_0.pt")
    export_history(tmp_path / "again" / "model_0.pt", tmp_path / "second-v0", form, FORMATS[form])
    first, second = tables(tmp_path / f"{form}-v0"), tables(tmp_path / "second-v0")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.parametrize("form", FORMATS)
def test_one_changed_number_of_a_dataset_is_seen_in_the_rows(form, runs, tmp_path):
    runner, folder = runs["feed-forward"]
    dataset = exported(folder, form, tmp_path)
    if form == "minari":
        with h5py.File(dataset / "data" / "main_data.hdf5", "a") as file:
            file["episode_3/actions"][2, 1] = np.nextafter(file["episode_3/actions"][2, 1], np.float32(9))
    else:
        path = dataset / "data" / "chunk-000" / "file-000.parquet"
        table = parquet.read_table(path)
        values = np.array(table["action"].to_pylist(), np.float32)
        values[7, 1] = np.nextafter(values[7, 1], np.float32(9))
        column = table.schema.get_field_index("action")
        array = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 2)
        parquet.write_table(table.set_column(column, "action", array), path)
    again = make_runner("feed-forward", init_dataset=str(dataset))
    assert (records(again) != records(runner)).sum() == 1


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", ["feed-forward", "gru, burn-in and padding"])
def test_training_goes_on_to_the_weights_that_it_has_with_the_original_rows(kind, form, runs, tmp_path):
    runner, folder = runs[kind]

    def learnt(init_dataset=None, rows=None):
        new = make_runner(kind, seed=5, init_dataset=init_dataset)
        if rows is not None:
            observations = new.alg.dataset.append_recorded(rows, runner.alg.dataset.origins.state_dict())
            new.alg.student_model.update_normalization(observations)
        torch.manual_seed(6)
        new.learn(2)
        return weights(new)

    expected = learnt(rows=runner.alg.history[:])
    assert_equal(learnt(str(exported(folder, form, tmp_path))), expected)
    alone = learnt()
    assert any(not torch.equal(alone[name], expected[name]) for name in expected)


def test_minari_loads_the_dataset_with_labels_drivers_versions_and_phases(runs, tmp_path, monkeypatch):
    runner, folder = runs["feed-forward"]
    exported(folder, "minari", tmp_path)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = minari.load_dataset("minari-v0")
    rows, seen = tensors_of(runner.alg.history[:]), 0
    assert dataset.total_steps == len(runner.alg.history)
    for episode in dataset.iterate_episodes():
        index = episode.infos["transition"] - 6  # the first step's numbers are left out
        assert np.array_equal(episode.actions, rows["teacher_actions"].numpy()[index])
        assert np.array_equal(episode.observations["student"][:-1], rows["obs/student"].numpy()[index])
        assert np.isnan(episode.observations["student"][-1]).all()
        assert np.array_equal(episode.terminations, rows["dones"].numpy()[index])
        assert not episode.terminations[:-1].any()
        assert episode.terminations[-1] != episode.truncations[-1]
        assert np.array_equal(episode.infos["driver"], rows["phase"].numpy()[index])
        assert np.array_equal(episode.infos["policy_version"], index // 60)
        assert np.array_equal(episode.infos["phase"], np.where(index // 60 < 2, 1, 2))
        assert dataset.observation_space["student"].shape == (3,)
        seen += len(episode)
    assert seen == len(runner.alg.history)


def test_the_parquet_tables_have_the_layout_of_lerobot(runs, tmp_path):
    runner, folder = runs["feed-forward"]
    dataset = exported(folder, "lerobot", tmp_path)
    info = json.loads((dataset / "meta" / "info.json").read_text())
    table = parquet.read_table(dataset / info["data_path"].format(chunk_index=0, file_index=0))
    assert info["codebase_version"] == "v3.0"
    assert set(table.column_names) == set(info["features"])
    assert info["features"]["observation.state"] == {"dtype": "float32", "shape": [3], "names": None}
    episodes = parquet.read_table(dataset / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert info["total_frames"] == table.num_rows == len(runner.alg.history)
    assert info["total_episodes"] == len(episodes)
    index = np.array(table["episode_index"])
    for episode in episodes:
        steps = np.flatnonzero(index == episode["episode_index"])
        assert (steps[0], steps[-1] + 1) == (episode["dataset_from_index"], episode["dataset_to_index"])
        assert len(steps) == episode["length"]
        assert np.array_equal(np.array(table["frame_index"])[steps], np.arange(len(steps)))
        assert np.allclose(np.array(table["timestamp"])[steps], np.arange(len(steps)) / 100.0)
    stats = json.loads((dataset / "meta" / "stats.json").read_text())
    labels = runner.alg.history[:]["teacher_actions"].double().numpy()
    assert np.allclose(stats["action"]["mean"], labels.mean(0))
    assert np.allclose(stats["action"]["q10"], np.quantile(labels, 0.1, axis=0))
    tasks = parquet.read_table(dataset / "meta" / "tasks.parquet")
    assert tasks.schema.pandas_metadata["index_columns"] == ["__index_level_0__"]
    assert tasks.to_pylist() == [{"task_index": 0, "__index_level_0__": "imitate the teacher"}]


def test_a_history_of_an_old_checkpoint_makes_the_round_trip(tmp_path):
    old = Path(__file__).parents[2] / "golden" / "run"
    shutil.copytree(old, tmp_path / "run")
    recording = export_history(tmp_path / "run" / LAST, tmp_path / "old-v0", "minari")
    again = read_dataset(tmp_path / "old-v0", ["student"])
    for name, values in recording.fields.items():
        assert np.array_equal(again.fields[name], values), name
    assert np.array_equal(again.numbers, saved_history(tmp_path / "run" / LAST).numbers)
