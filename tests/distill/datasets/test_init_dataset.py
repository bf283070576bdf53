"""A run begins with a dataset, its own kind's or another's, or says in one line why it cannot."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage
from pyarrow import parquet
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerRunner
from foundation.distill.checkpoint import CheckpointError
from foundation.distill.datasets import export_history, read_dataset
from tests.support.recorded import FORMATS, NumberedEnv, make_runner, trained
from tests.support.runners import make, student

LENGTHS = (5, 12, 7)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> dict[str, Path]:
    """The history of one run in each format."""
    folder = tmp_path_factory.mktemp("datasets")
    trained("feed-forward", folder / "run")
    for form, fps in FORMATS.items():
        export_history(folder / "run" / "model_3.pt", folder / f"{form}-v0", form, fps)
    return {form: folder / f"{form}-v0" for form in FORMATS}


def demonstrations(folder: Path, space: gymnasium.Space, observe, actions=None) -> Path:
    """Write another's Minari dataset: observations by ``observe(count)``, actions are episode and step."""
    box = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    folder.mkdir()
    storage = MinariStorage.new(folder / "data", space, actions or box, jpeg_encoding=False)
    storage.update_metadata({"dataset_id": folder.name, "minari_version": "0.5.3"})
    episodes = []
    for number, length in enumerate(LENGTHS):
        taken = np.arange(length) if actions else np.stack([np.full(length, number), np.arange(length)], 1) * 1.0
        last = np.arange(length) == length - 1
        ends = {"terminations": last & (number < 2), "truncations": last & (number == 2)}
        rewards, observations = np.zeros(length), observe(length + 1)
        episodes.append(EpisodeBuffer(observations=observations, actions=taken, rewards=rewards, **ends))
    storage.update_episodes(episodes)
    return folder


def vectors(count: int, width: int = 3) -> np.ndarray:
    return np.linspace(-1.0, 1.0, count)[:, None] + np.arange(width)


VECTOR = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float64)


def test_the_history_is_there_before_the_first_iteration_and_the_normaliser_knows_it(datasets):
    runner = make_runner("feed-forward", init_dataset=str(datasets["minari"]))
    assert len(runner.alg.history) == 240
    seen = runner.alg.history[:]["obs/student"].double()
    normalizer = runner.alg.student_model.obs_normalizer
    torch.testing.assert_close(normalizer.mean.double(), seen.mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalizer.std.double(), seen.std(0, unbiased=False), atol=1e-5, rtol=0)
    runner.learn(1)
    assert len(runner.alg.history) == 300
    origin = runner.alg.dataset.origins
    assert origin.spans[-1].iteration == 0
    assert origin.spans[-1].first > origin.spans[-2].end  # no continuation of the recorded environments


def test_it_works_under_rsl_rls_own_runner(datasets):
    runner = make(runner=DistillationRunner, init_dataset=str(datasets["lerobot"]))
    runner.learn(1)
    assert len(runner.alg.history) == 300


def test_transitions_become_windows_of_consecutive_steps(tmp_path):
    source = make(NumberedEnv(), log_dir=tmp_path / "run", runner=DaggerRunner, max_updates_per_iteration=1)
    source.learn(3)
    export_history(tmp_path / "run" / "model_2.pt", tmp_path / "d-v0", "minari")
    options = {"student": student("gru"), "gradient_length": 4, "burn_in": 3}
    runner = make(NumberedEnv(), init_dataset=str(tmp_path / "d-v0"), **options)
    rows = runner.alg.history[:]
    iteration, step, env = rows["obs/student"].long().unbind(-1)
    time = iteration * NumberedEnv.STEPS + step
    counted = rows["trained"]
    assert int(counted.sum()) == 180
    assert len({*zip(env[counted].tolist(), time[counted].tolist(), strict=True)}) == 180
    assert not counted[:, :3].any()
    first = time[:, 3]
    expected = first[:, None] + torch.arange(-3, 4)
    there = (expected >= 0) & ((time == expected) | counted)
    assert torch.equal(time[there], expected[there])
    assert torch.equal(env[there], env[:, 3:4].expand_as(env)[there])
    begins = first == 0
    assert int(begins.sum()) == 6
    assert rows["dones"][begins, 2].all()
    assert not rows["hidden/0"].any()


def test_windows_become_transitions(tmp_path):
    trained("gru, burn-in and padding", tmp_path / "run")
    export_history(tmp_path / "run" / "model_3.pt", tmp_path / "d-v0", "minari")
    runner = make_runner("feed-forward", init_dataset=str(tmp_path / "d-v0"))
    assert len(runner.alg.history) == 240


@pytest.mark.parametrize("layout", ["box", "dict"])
def test_demonstrations_of_others_are_labels_that_end_with_their_episodes(layout, tmp_path):
    space, observe = VECTOR, vectors
    if layout == "dict":
        space = gymnasium.spaces.Dict({"student": VECTOR, "unread": gymnasium.spaces.Discrete(3)})
        observe = lambda count: {"student": vectors(count), "unread": np.zeros(count, int)}  # noqa: E731
    folder = demonstrations(tmp_path / "d-v0", space, observe)
    runner = make_runner("feed-forward", init_dataset=str(folder))
    rows = runner.alg.history[:]
    assert len(rows) == sum(LENGTHS)
    number = torch.repeat_interleave(torch.arange(3), torch.tensor(LENGTHS))
    place = torch.cat([torch.arange(length) for length in LENGTHS])
    assert torch.equal(rows["teacher_actions"], torch.stack([number, place], 1).float())
    expected = np.concatenate([vectors(length + 1)[:-1] for length in LENGTHS]).astype(np.float32)
    assert np.array_equal(rows["obs/student"].numpy(), expected)
    assert rows["dones"].nonzero()[:, 0].tolist() == [4, 16, 23]
    assert set(rows["phase"].tolist()) == {1}
    runner.learn(1)


def test_windows_are_cut_from_the_steps_of_one_episode(tmp_path):
    folder = demonstrations(tmp_path / "d-v0", VECTOR, vectors)
    runner = make_runner("gru, burn-in and padding", init_dataset=str(folder))
    rows = runner.alg.history[:]
    counted = rows["trained"]
    assert len(rows) == sum(-(-length // 4) for length in LENGTHS)
    assert int(counted.sum()) == sum(LENGTHS)
    number, place = rows["teacher_actions"][..., 0], rows["teacher_actions"][..., 1]
    assert torch.equal(number[counted], number[:, 3:4].expand_as(number)[counted])
    steps = place[:, 3:4] + torch.arange(-3, 4)
    assert torch.equal(place[counted], steps[counted])
    burn_in = (steps >= 0) & (torch.arange(7) < 3)
    assert torch.equal(place[burn_in], steps[burn_in])
    runner.learn(1)


def test_a_lerobot_dataset_of_others_needs_no_entry_of_ours(datasets, tmp_path):
    folder = tmp_path / "d"
    shutil.copytree(datasets["lerobot"], folder)
    info = json.loads((folder / "meta" / "info.json").read_text())
    del info["foundation"]
    (folder / "meta" / "info.json").write_text(json.dumps(info))
    recording = read_dataset(folder, ["policy"])
    ours = read_dataset(datasets["lerobot"], ["student"])
    assert np.array_equal(recording.fields["obs/policy"], ours.fields["obs/student"])
    assert np.array_equal(recording.begins, ours.begins)
    assert recording.fields["dones"].sum() == len(ours.begins)
    assert len(make_runner("feed-forward", init_dataset=str(folder)).alg.history) == 240


def changed_lerobot(source: Path, folder: Path, change=None, **info) -> Path:
    """Return a copy of a LeRobot dataset with a changed table or changed entries of its metadata."""
    shutil.copytree(source, folder)
    (data,) = (folder / "data").glob("*/*.parquet")
    if change is not None:
        parquet.write_table(change(parquet.read_table(data)), data)
    about = json.loads((folder / "meta" / "info.json").read_text())
    (folder / "meta" / "info.json").write_text(json.dumps(about | info))
    return folder


def test_rows_of_a_lerobot_dataset_are_taken_in_the_order_of_their_index(datasets, tmp_path):
    order = np.random.default_rng(0).permutation(240)
    shuffled = changed_lerobot(datasets["lerobot"], tmp_path / "d", lambda table: table.take(order))
    expected, got = (read_dataset(folder, ["student"]) for folder in (datasets["lerobot"], shuffled))
    for name, values in expected.fields.items():
        assert np.array_equal(got.fields[name], values)
    assert np.array_equal(got.begins, expected.begins)


@pytest.mark.parametrize(
    ("change", "info", "message"),
    [
        (lambda table: table.slice(0, 200), {}, "info.json tells of 240 frames, but data/ holds 200; copy"),
        (lambda table: table.take([*range(239), 3]), {}, "the row after index 3 has index 3; copy"),
        (None, {"codebase_version": "v2.1"}, "its codebase_version is v2.1, but v3.0 is read; convert it"),
    ],
)
def test_a_lerobot_dataset_that_is_not_whole_or_of_another_version_is_one_line(
    change, info, message, datasets, tmp_path
):
    folder = changed_lerobot(datasets["lerobot"], tmp_path / "d", change, **info)
    with pytest.raises(ValueError, match=message) as caught:
        read_dataset(folder, ["student"])
    assert "\n" not in str(caught.value)


def test_what_a_run_needs_and_a_dataset_lacks_is_named(datasets, tmp_path):
    wide = demonstrations(
        tmp_path / "wide-v0", gymnasium.spaces.Box(-9, 9, (4,), np.float32), lambda n: vectors(n, 4)
    )
    keyed = demonstrations(
        tmp_path / "keyed-v0", gymnasium.spaces.Dict({"other": VECTOR}), lambda n: {"other": vectors(n)}
    )
    discrete = demonstrations(tmp_path / "discrete-v0", VECTOR, vectors, actions=gymnasium.spaces.Discrete(99))
    spoilt = demonstrations(tmp_path / "nan-v0", VECTOR, lambda n: vectors(n) * np.nan)
    ours = str(datasets["minari"])
    for options, message in (
        ({"init_dataset": str(keyed)}, "lacks observation group student; it has the groups other"),
        ({"init_dataset": str(wide)}, r"has observation group student of shape \[4\], and this run has \[3\]"),
        ({"init_dataset": str(discrete)}, r"has actions of shape \[\], and this run has \[2\]"),
        ({"init_dataset": str(spoilt)}, "holds NaN or infinity"),
        ({"init_dataset": "/no/folder"}, "init_dataset /no/folder does not exist"),
        ({"init_dataset": f"{ours}/data"}, "/data is a part of a dataset; give the folder above, .*/minari-v0$"),
        ({"init_dataset": ""}, "init_dataset must name the folder of one dataset, or be None, got ''"),
        ({"init_dataset": [ours]}, r"init_dataset must name the folder of one dataset, .* got \['"),
        ({"init_dataset": 3}, "init_dataset must name the folder of one dataset, or be None, got 3"),
        (
            {"init_dataset": str(tmp_path)},
            r"is no dataset: it has neither data/metadata.json \(minari\) nor meta/",
        ),
        ({"init_dataset": ours, "loss_type": "kl"}, "lacks teacher_std, which loss_type=kl needs"),
        ({"init_dataset": ours, "max_buffer_size": 250}, "need max_buffer_size of at least 300, got 250"),
        ({"init_dataset": "x", "use_dagger": False}, "init_dataset=x has no effect with use_dagger=False"),
    ):
        with pytest.raises(ValueError, match=message):
            make_runner("feed-forward", **options)


def test_a_run_that_continues_refuses_a_dataset_and_one_that_began_with_it_continues(datasets, tmp_path):
    run = trained("feed-forward", tmp_path / "run", iterations=2, init_dataset=str(datasets["minari"]))
    again = make_runner("feed-forward", init_dataset=str(datasets["minari"]))
    with pytest.raises(CheckpointError, match="begins the history of a new run; set it to None to continue one"):
        again.load(str(tmp_path / "run" / "model_1.pt"))
    again = make_runner("feed-forward")
    again.load(str(tmp_path / "run" / "model_1.pt"))
    assert len(again.alg.history) == len(run.alg.history) == 360


@pytest.mark.parametrize("form", FORMATS)
def test_a_damaged_dataset_is_one_line(form, datasets, tmp_path):
    for name in ("main_data.hdf5", "file-000.parquet", "metadata.json", "info.json"):
        folder = tmp_path / f"{name.partition('.')[0]}-v0"
        shutil.copytree(datasets[form], folder)
        files = [path for path in folder.rglob(name) if "episodes" not in str(path)]
        if not files:
            continue
        files[0].write_bytes(files[0].read_bytes()[:-200])
        with pytest.raises(ValueError, match=folder.name) as caught:
            make_runner("feed-forward", init_dataset=str(folder))
        assert "\n" not in str(caught.value)


def test_an_export_that_cannot_work_is_refused_and_leaves_nothing(datasets, tmp_path):
    checkpoint = datasets["minari"].parent / "run" / "model_3.pt"
    (tmp_path / "taken-v0").mkdir()
    for folder, form, fps, message in (
        ("flights", "minari", None, "ends with its version; name the folder flights-v0"),
        ("a b-v0", "minari", None, "ends with its version"),
        ("d-v0", "minari", 100.0, "fps=100 has no effect"),
        ("d", "lerobot", None, "fps > 0; got None"),
        ("d", "lerobot", 0.0, "fps > 0; got 0.0"),
        ("taken-v0", "minari", None, "exists already"),
        ("d-v0", "rlds", None, "is minari or lerobot, got 'rlds'"),
    ):
        with pytest.raises(ValueError, match=message):
            export_history(checkpoint, tmp_path / folder, form, fps)
    with pytest.raises(CheckpointError, match="holds weights only"):
        export_history(datasets["minari"].parent / "run" / "best_model.pt", tmp_path / "d-v0", "minari")
    assert [path.name for path in tmp_path.iterdir()] == ["taken-v0"]


def test_no_environment_is_made_for_a_dataset_that_does_not_tell_its_spaces(tmp_path):
    folder = demonstrations(tmp_path / "d-v0", VECTOR, vectors)
    metadata = json.loads((folder / "data" / "metadata.json").read_text())
    del metadata["observation_space"]
    spec = {"id": "x-v0", "entry_point": "os:abort"}
    (folder / "data" / "metadata.json").write_text(json.dumps(metadata | {"env_spec": json.dumps(spec)}))
    with pytest.raises(ValueError, match="its metadata do not tell observation_space and action_space"):
        read_dataset(folder, ["student"])
