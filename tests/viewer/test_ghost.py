"""Moving targets in the scene, in pictures and in clips."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import foundation
from foundation.evaluation.recording import record
from foundation.evaluation.tracking.setup import make_paths, reference_table
from foundation.sim.paths import make_path
from foundation.viewer import palette
from foundation.viewer.clips import ClipCamera
from foundation.viewer.fleet import SPACING, TARGET_HEIGHT, Fleet, fleet_of, frames
from foundation.viewer.flight import REFERENCE_SECONDS, Flight
from foundation.viewer.painter import Painter
from foundation.viewer.scene import FleetScene
from foundation.viewer.video import FPS, pictures

DT, SPEED, COUNT = 0.01, 1.5, 3
EIGHT = make_path("figure_eight", speed=SPEED)


def eight(steps) -> np.ndarray:
    """Return the figure of eight at control steps, shape (T, 3)."""
    rate = SPEED / np.sqrt(2.0)
    angle = rate * DT * np.asarray(steps)
    return np.stack([np.sin(angle), 0.5 * np.sin(2.0 * angle), 0.0 * angle], axis=-1)


def hover(obs) -> torch.Tensor:
    return obs["teacher"][:, 29:30].expand(-1, 4)


def make(name: str | None = "figure_eight", **parameters):
    env = foundation.make_env("distillation", num_envs=COUNT)
    if name is not None:
        parameters = parameters or {"speed": SPEED, "phase": 0.0}
        env.follow(reference_table(make_paths(name, parameters, COUNT), env, 0))
    return env


class Scene:
    """Stands for viser's scene: keeps what is added by name."""

    def __init__(self) -> None:
        self.nodes: dict[str, SimpleNamespace] = {}

    def __getattr__(self, name: str):
        if name.startswith("add_"):
            return lambda node, *args, **kwargs: self.nodes.setdefault(node, SimpleNamespace())
        return lambda *args, **kwargs: None

    def remove_by_name(self, name: str) -> None:
        self.nodes.pop(name, None)


def scene_of(flight: Flight, scene: Scene | None = None) -> tuple[FleetScene, dict[str, SimpleNamespace]]:
    server = SimpleNamespace(scene=scene or Scene(), atomic=nullcontext)
    return FleetScene(server, flight.fleet, flight.moment, "teacher"), server.scene.nodes  # pyright: ignore


def test_a_ghost_is_where_its_reference_is_from_its_vehicles_place():
    flight = Flight(make(), hover)
    scene, nodes = scene_of(flight)
    for step in range(1, 4):
        flight.step()
        scene.draw(flight.moment)
        expected = flight.fleet.targets + eight(step)
        np.testing.assert_allclose(nodes["/world/targets"].batched_positions, expected, atol=1e-6)
        stalks = nodes["/world/stalks"].points
        np.testing.assert_allclose(stalks[:, 1], expected, atol=1e-6)
        np.testing.assert_allclose(stalks[:, 0], expected * [1.0, 1.0, 0.0], atol=1e-6)


def test_without_paths_nothing_is_added_to_the_scene_and_targets_are_left_alone():
    flight = Flight(make(None), hover)
    scene, nodes = scene_of(flight)
    flight.step()
    scene.draw(flight.moment, flight.history.trails(flight.fleet.targets), flight.references())
    parts = ("ground", "targets", "stalks", "bodies", "rotors", "thrust", "trails")
    assert set(nodes) == {"/ambient", "/sun", "/world", *(f"/world/{part}" for part in parts)}
    assert vars(nodes["/world/targets"]) == vars(nodes["/world/stalks"]) == {}
    # Negative control.
    moving = Flight(make(), hover)
    scene, nodes = scene_of(moving)
    scene.draw(moving.moment, None, moving.references())
    assert vars(nodes["/world/targets"])
    assert len(nodes["/world/references"].points) > 100


def test_a_fleet_that_flies_to_the_origin_again_has_no_paths_left_in_the_scene():
    flight, scene = Flight(make(), hover), Scene()
    assert "/world/references" in scene_of(flight, scene)[1]
    flight.follow(None)
    assert "/world/references" not in scene_of(flight, scene)[1]
    np.testing.assert_array_equal(
        flight.fleet.targets, Fleet(flight.env.sim.params, flight.env.nominal, COUNT).targets
    )


def test_the_drawn_path_is_the_figure_around_its_ghost_and_stays_where_it_is():
    flight = Flight(make(), hover)
    for _ in range(20):
        flight.step()
    before, after, every = (round(seconds / DT) for seconds in REFERENCE_SECONDS)
    shown = flight.references()
    flight.step()
    assert np.array_equal(shown, flight.references())  # 20 is a multiple of the interval, 21 is none
    first = shown.reshape(-1, COUNT, 2, 3)[:, 0] - flight.fleet.targets[0]
    # The path has begun 20 steps ago.
    steps = np.maximum(np.arange(20 - before, 20 + after, every), 0)
    np.testing.assert_allclose(first[:, 0], eight(steps), atol=1e-5)
    np.testing.assert_array_equal(first[1:, 0], first[:-1, 1])


def test_the_live_distance_is_that_to_the_reference():
    flight = Flight(make(), hover)
    for _ in range(20):
        flight.step()
    error = flight.env.get_observations()["teacher"][:, :3].norm(dim=1).numpy()
    np.testing.assert_allclose(flight.moment.distance, error, atol=1e-6)
    assert flight.mean_distance == pytest.approx(error.mean(), abs=1e-6)
    for vehicle in range(COUNT):
        assert flight.history.curves(vehicle)["distance"][-1] == pytest.approx(error[vehicle], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "parameters", "spacing", "height"),
    [
        (None, {}, SPACING, TARGET_HEIGHT),
        ("circle", {"amplitude": 0.4}, SPACING, TARGET_HEIGHT),
        ("circle", {"amplitude": 1.0}, 2.0 + SPACING / 3.0, TARGET_HEIGHT),
        ("lissajous", {"amplitude": (0.0, 0.0, 1.2)}, SPACING, 1.2 + 0.5 * TARGET_HEIGHT),
        ("circle", {"amplitude": 50.0}, 4.0, TARGET_HEIGHT),
    ],
)
def test_paths_keep_clear_of_their_neighbours_and_of_the_ground_unless_they_are_huge(
    name, parameters, spacing, height
):
    targets = fleet_of(make(name, **parameters), COUNT).targets
    assert abs(targets[1] - targets[0]).max() == pytest.approx(spacing, abs=0.01)
    assert targets[0, 2] == pytest.approx(height, abs=0.01)


def test_a_target_in_its_place_is_drawn_as_one_that_does_not_move():
    env = make(None)
    flight, vehicle = record(env, hover, 5), env.sim.vehicle.numpy()
    fleet = Fleet(env.sim.params, env.nominal, COUNT)
    still = Painter(fleet, "teacher", "")
    moving = Painter(fleet, "teacher", "", flight.target_w)
    for _, moment in frames(flight, vehicle, FPS):
        at_origin = replace(moment, target_w=np.zeros((COUNT, 3)))
        paths_w = flight.pos_w + fleet.targets
        np.testing.assert_array_equal(
            still.paint(moment, 0.0, paths_w, 2), moving.paint(at_origin, 0.0, paths_w, 2)
        )


def test_a_video_shows_targets_move_and_their_path_only_where_there_is_one():
    green, pale = palette.TARGET, palette.REFERENCE
    for name in (None, "figure_eight"):
        env = make(name)
        flight, vehicle = record(env, hover, 20), env.sim.vehicle.numpy()
        fleet = Fleet(env.sim.params, env.nominal, COUNT, flight.target_w)
        first, *_, last = pictures(flight, vehicle, fleet, "teacher", "")
        first, last = first[:-50], last[:-50]  # without the legend
        assert (first == pale).all(-1).any() == (name is not None)
        moved = ((first == green).all(-1) != (last == green).all(-1)).sum()
        assert moved > 100 if name else moved < 50, moved


def test_ghosts_disappear_with_their_vehicles():
    flight = Flight(make(), hover)
    scene, nodes = scene_of(flight)
    moment = flight.moment
    for values in (moment.pos_w, moment.quat_wb, moment.rotor, moment.target_w):
        values[1] = np.nan
    scene.draw(moment)
    assert (nodes["/world/targets"].batched_scales > 0.0).tolist() == [True, False, True]
    assert np.isfinite(nodes["/world/targets"].batched_positions).all()
    assert np.isfinite(nodes["/world/stalks"].points).all()


def test_a_clip_of_a_training_fleet_holds_its_targets():
    env = make()
    camera = ClipCamera(env, 2, 6)
    camera.request()
    expected = []
    for _ in range(6):
        env.step(torch.zeros(COUNT, 4))
        expected.append(env.reference.position[:2].numpy().copy())
    clip = camera.take()
    assert clip is not None
    for moment, target_w in zip(clip.moments, expected, strict=True):
        np.testing.assert_array_equal(moment.target_w, target_w)
    assert clip.references(np.zeros((2, 3))).shape == (10, 2, 3)
    jump = replace(clip, ended=np.arange(6)[:, None] == [3, 99])
    assert len(jump.references(np.zeros((2, 3)))) == 8
