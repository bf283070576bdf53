"""Several processes, joined by gloo as torchrun starts them, train one student: 2 and 4 ranks against one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from foundation.distill.checkpoint import CheckpointError
from foundation.distill.checkpoint.manifest import Manifest
from foundation.distill.datasets.saved_history import saved_history
from tests.support.ranks import FULL_BATCH, MIXED, NUM_ENVS, AllRanksEnv, make, state_of, write_teacher
from tests.support.runners import assert_equal
from tests.support.toy import ToyEnv

ROOT = Path(__file__).parents[2]
ROUNDING = 2e-6
"""Largest difference of a weight: gradients are summed in another order, in float32."""


def launch(folder: Path, scenarios: str, num_ranks: int) -> subprocess.CompletedProcess[str]:
    """Run scenarios as torchrun does; their processes meet at a free port."""
    return subprocess.run(
        ["timeout", "150", sys.executable, "-m", "torch.distributed.run", "--standalone"]
        + ["--nproc_per_node", str(num_ranks), "-m", "tests.support.ranks", scenarios, str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=170,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with what 2 ranks, and then 4, have trained and loaded."""
    folder = tmp_path_factory.mktemp("ranks")
    write_teacher(folder)
    for scenarios, num_ranks in (("full_batch,whole,half,resume", 2), ("full_batch,load", 4)):
        done = launch(folder, scenarios, num_ranks)
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


def states(folder: Path, scenario: str, num_ranks: int) -> list[dict]:
    return [torch.load(folder / f"{scenario}_{rank}_of_{num_ranks}.pt") for rank in range(num_ranks)]


def sorted_rows(rows: torch.Tensor) -> list[list[float]]:
    return sorted(rows.tolist())


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_full_batches_of_all_ranks_give_the_weights_of_one_process_with_all_environments(folder, num_ranks):
    alone = make(folder, f"alone_{num_ranks}", AllRanksEnv(num_ranks), **FULL_BATCH)
    before = {name: value.clone() for name, value in alone.alg.get_policy().state_dict().items()}
    alone.learn(3)
    expected = alone.alg.get_policy().state_dict()
    assert max(float((value - before[name]).abs().max()) for name, value in expected.items()) > 100 * ROUNDING
    for state in states(folder, "full_batch", num_ranks):
        for name, value in state["weights"].items():
            torch.testing.assert_close(value, expected[name], rtol=0.0, atol=ROUNDING, msg=name)


@pytest.mark.parametrize(("scenario", "num_ranks"), [("full_batch", 2), ("full_batch", 4), ("whole", 2)])
def test_weights_and_normaliser_are_the_same_on_all_ranks_and_histories_are_not(folder, scenario, num_ranks):
    first, *others = states(folder, scenario, num_ranks)
    assert "obs_normalizer._mean" in first["weights"]
    for other in others:
        assert_equal(first["weights"], other["weights"])
        assert not torch.equal(first["rows"], other["rows"])


def test_a_resumed_run_of_two_ranks_is_the_uninterrupted_one(folder):
    for resumed, whole in zip(states(folder, "resume", 2), states(folder, "whole", 2), strict=True):
        assert resumed["iteration"] == whole["iteration"] == 3
        assert_equal(resumed["weights"], whole["weights"])
        assert torch.equal(resumed["rows"], whole["rows"])


def test_four_ranks_and_one_share_the_rows_that_two_have_saved(folder):
    saved = torch.cat([state["rows"] for state in states(folder, "half", 2)])
    dealt = states(folder, "load", 4)
    assert [len(state["rows"]) for state in dealt] == [len(saved) // 4] * 4
    assert sorted_rows(torch.cat([state["rows"] for state in dealt])) == sorted_rows(saved)
    alone = make(folder, "one_again", ToyEnv(NUM_ENVS), **MIXED)
    alone.load(str(folder / "half" / "model_1.pt"))
    assert sorted_rows(state_of(alone)["rows"]) == sorted_rows(saved)
    assert alone.current_learning_iteration == 2
    for state in dealt:
        assert state["iteration"] == 1
        assert_equal(state["weights"], states(folder, "half", 2)[0]["weights"])
    alone.learn(1)


def test_an_exported_history_of_two_ranks_has_the_steps_of_both_with_their_versions(folder):
    recording = saved_history(folder / "half" / "model_1.pt")
    saved = torch.cat([state["rows"] for state in states(folder, "half", 2)])
    assert len(recording) == len(saved) == 240
    assert np.bincount(recording.versions).tolist() == [120, 120]
    assert np.bincount(recording.environments).tolist() == [40] * NUM_ENVS
    # A part of an episode per environment, rank and end of an episode.
    assert len(recording.begins) == 2 * NUM_ENVS + int(recording.fields["dones"].sum())
    exported = torch.from_numpy(recording.fields["obs/student"]).double()
    columns = [column for column in range(saved.shape[1]) if (saved[:, column] == 3.0).all()]
    (distractor,) = columns
    assert sorted(map(tuple, exported.tolist())) == sorted(
        map(tuple, saved[:, distractor - 2 : distractor + 1].tolist())
    )


def test_a_history_of_two_ranks_that_one_cannot_hold_is_refused(folder):
    alone = make(folder, "too_small", ToyEnv(NUM_ENVS), max_buffer_size=200, **MIXED)
    with pytest.raises(CheckpointError, match="has 240 transitions, 240 for each of 1 ranks: set max_buffer_size"):
        alone.load(str(folder / "half" / "model_1.pt"))


def test_a_checkpoint_of_two_ranks_names_the_files_of_both_and_one_of_one_is_as_before(folder):
    manifest = Manifest.read(folder / "half" / "model_1.manifest.json")
    assert [shard.state for shard in manifest.of_ranks] == ["resume/state_1.pt", "resume/rank1_state_1.pt"]
    manifest.verify(folder / "half")
    alone = make(folder, "alone_saved", ToyEnv(NUM_ENVS), **MIXED)
    alone.learn(1)
    text = (folder / "alone_saved" / "model_0.manifest.json").read_text()
    assert '"format": 1' in text
    assert "shards" not in text


def test_when_a_rank_is_killed_the_other_ends_with_one_line(folder):
    done = launch(folder, "killed", 2)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "rank 0 of 2 stops: another process of the run has ended or cannot be reached" in lines[0]
    newest = folder / "killed" / "model_1.pt"
    Manifest.read(newest.with_suffix(".manifest.json")).verify(newest.parent)


def test_nan_on_one_rank_ends_all_before_it_is_trained_on(folder):
    done = launch(folder, "spoiled", 2)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 2, done.stderr
    assert sum("rank 0 of 2 stops" in line for line in lines) == 1
    assert sum("NaN or infinity in observations/student" in line for line in lines) == 1
    assert not (folder / "spoiled" / "model_2.pt").exists()
