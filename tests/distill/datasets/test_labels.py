"""Labels of a dataset in other units than the environment's actions are refused, those in its units taken."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from foundation.distill import DaggerRunner
from foundation.distill.datasets import export_history, read_dataset
from foundation.integrations.gymnasium import GymnasiumVecEnv
from tests.support.runners import make
from tests.support.toy import ToyEnv, runner_cfg

STEPS = 200


def torques(folder, most, limit):
    """Write demonstrations of a pendulum with torques over [-most, most], in a space of [-limit, limit]."""
    space = spaces.Box(-np.inf, np.inf, (3,), np.float32)
    folder.mkdir()
    actions = spaces.Box(-limit, limit, (1,), np.float32)
    storage = MinariStorage.new(folder / "data", space, actions, jpeg_encoding=False)
    storage.update_metadata({"dataset_id": folder.name, "minari_version": "0.5.3"})
    taken = np.linspace(-most, most, STEPS, dtype=np.float32)[:, None]
    ends = {"terminations": np.zeros(STEPS, bool), "truncations": np.arange(STEPS) == STEPS - 1}
    observations = np.zeros((STEPS + 1, 3), np.float32)
    storage.update_episodes(
        [EpisodeBuffer(observations=observations, actions=taken, rewards=np.zeros(STEPS), **ends)]
    )
    return folder


def pendulum(folder, log_dir=None, scaled=True, label_clip=None):
    """Return a runner on Pendulum-v1, whose torques are in [-2, 2]."""
    groups = {"student": slice(None), "teacher": slice(None)}
    env = GymnasiumVecEnv("Pendulum-v1", 4, groups, scale_actions=scaled)
    cfg = runner_cfg(steps=10, max_buffer_size=10_000, init_dataset=folder and str(folder), label_clip=label_clip)
    torch.manual_seed(0)
    runner = DaggerRunner(env, cfg, log_dir and str(log_dir), "cpu")
    runner.alg.teacher_loaded = True
    return runner


def test_labels_in_the_units_of_a_scaled_action_space_are_refused_however_small(tmp_path):
    message = (
        r"has labels up to 0\.5 in the action space \[-2, 2\], and the environment scales actions in \[-1, 1\] to "
        r"it; take GymnasiumVecEnv\(scale_actions=False\), or rescale the dataset"
    )
    folder = torques(tmp_path / "d-v0", 0.5, 2.0)
    for label_clip in (None, 1.0):
        with pytest.raises(ValueError, match=message):
            pendulum(folder, label_clip=label_clip)
    assert len(pendulum(folder, scaled=False).alg.history) == STEPS
    assert len(pendulum(torques(tmp_path / "scaled-v0", 1.0, 1.0)).alg.history) == STEPS


@pytest.mark.parametrize("most", [2.0, 100.0])
def test_labels_far_outside_the_range_are_refused_unless_they_are_clipped(most, tmp_path):
    folder = torques(tmp_path / "d-v0", most, np.inf)
    message = rf"labels up to {most:g}, and the environment applies actions in \[-1, 1\]; .* label_clip=1 if"
    with pytest.raises(ValueError, match=message) as caught:
        pendulum(folder)
    assert "\n" not in str(caught.value)
    clipped = pendulum(folder, label_clip=1.0).alg.history[:]["teacher_actions"]
    assert clipped.abs().max().item() == 1.0


def test_labels_of_an_expert_that_is_clipped_a_little_are_taken_without_a_word(tmp_path, caplog):
    runner = pendulum(torques(tmp_path / "d-v0", 1.2, np.inf))
    assert runner.alg.history[:]["teacher_actions"].max().item() == pytest.approx(1.2)
    assert "labels up to" not in caplog.text


@pytest.mark.parametrize(("most", "is_refused"), [(5.0, False), (50.0, False), (200.0, True)])
def test_without_a_known_range_large_labels_are_warned_of_and_impossible_ones_refused(
    most, is_refused, tmp_path, caplog
):
    class Unlimited(ToyEnv):
        num_actions = 1

    folder = torques(tmp_path / "d-v0", most, np.inf)
    if is_refused:
        with pytest.raises(ValueError, match=r"labels up to 200, and the environment does not tell its range"):
            make(Unlimited(), init_dataset=str(folder))
        return
    make(Unlimited(), init_dataset=str(folder))
    assert ("the environment does not tell its range" in caplog.text) == (most > 10.0)


@pytest.mark.parametrize(("form", "fps"), [("minari", None), ("lerobot", 20.0)])
def test_an_export_tells_the_range_of_its_environment_and_is_refused_where_it_is_scaled(form, fps, tmp_path):
    source = pendulum(None, tmp_path / "run", scaled=False)
    source.learn(1)
    folder = tmp_path / "d-v0"
    export_history(tmp_path / "run" / "model_0.pt", folder, form, fps)
    bounds = read_dataset(folder, ["student"]).bounds
    assert bounds is not None
    assert [side.tolist() for side in bounds] == [[-2.0], [2.0]]
    if form == "minari":
        space = json.loads(json.loads((folder / "data" / "metadata.json").read_text())["action_space"])
        assert (space["low"], space["high"]) == ([-2.0], [2.0])
    with pytest.raises(ValueError, match=r"in the action space \[-2, 2\]"):
        pendulum(folder)
    assert len(pendulum(folder, scaled=False).alg.history) == 40
