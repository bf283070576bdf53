"""Positions, meshes, trails and curves of a drawn fleet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from foundation.sim.params import GRAVITY
from foundation.viewer.fleet import DRAWN_SPAN, SPACING, WIDEST_SPAN, Fleet, Snapshot, frame_steps, grid
from foundation.viewer.history import History
from foundation.viewer.meshes import ball_mesh, bar_mesh, disc_mesh, frame_mesh
from tests.support.vehicles import random_state, random_vehicles


@pytest.fixture
def vehicles(rng):
    return random_vehicles(6, rng)


def snapshot(count: int, rng, vehicle=None) -> Snapshot:
    state = random_state(count, rng)
    return Snapshot(state.pos_w, state.quat_wb, state.rotor, np.arange(count) if vehicle is None else vehicle)


def test_rotors_are_drawn_where_the_attitude_puts_them(vehicles, nominal, rng):
    fleet, moment = Fleet(vehicles, nominal, 6), snapshot(6, rng, np.array([5, 0, 3, 3, 1, 2]))
    poses = fleet.poses(moment)
    for number, row in enumerate(moment.vehicle):
        arms = Rotation.from_quat(moment.quat_wb[number]).apply(fleet.size * vehicles.rotor_pos_b[row])
        expected = fleet.targets[number] + moment.pos_w[number] + arms
        np.testing.assert_allclose(poses.rotor_pos[number], expected, atol=1e-12)


@pytest.mark.parametrize(("widest", "drawn"), [(0.05, DRAWN_SPAN), (0.5, 0.5), (4.0, WIDEST_SPAN)])
def test_a_fleet_is_drawn_to_scale_unless_its_widest_vehicle_is_small_or_huge(widest, drawn, vehicles, nominal):
    span = 2.0 * np.linalg.norm(vehicles.rotor_pos_b[..., :2], axis=-1).mean(-1).max()
    sized = replace(vehicles, rotor_pos_b=vehicles.rotor_pos_b * widest / span)
    assert Fleet(sized, nominal, 6).size * widest == pytest.approx(drawn)


def test_bars_of_a_hovering_vehicle_together_stand_for_its_weight(vehicles, nominal, rng):
    moment = snapshot(6, rng)
    hovering = Snapshot(
        moment.pos_w, moment.quat_wb, np.repeat(vehicles.hover_speed[:, None], 4, axis=1), moment.vehicle
    )
    share = Fleet(vehicles, nominal, 6).thrust_share(hovering)
    np.testing.assert_allclose(share.sum(-1) * vehicles.max_thrust / 4.0, vehicles.mass * GRAVITY)


def test_a_vehicle_whose_episode_has_ended_is_not_drawn_and_the_others_are(vehicles, nominal, rng):
    moment = snapshot(6, rng)
    for state in (moment.pos_w, moment.quat_wb, moment.rotor):
        state[2] = np.nan
    poses = Fleet(vehicles, nominal, 6).poses(moment)
    assert np.flatnonzero(poses.body_scale == 0.0).tolist() == [2]
    assert (poses.rotor_radius[2] == 0.0).all()
    assert all(np.isfinite(values).all() for values in vars(poses).values())


@pytest.mark.parametrize("count", [1, 2, 8, 9, 100])
def test_targets_surround_the_middle_and_keep_their_distance(count):
    targets = grid(count)
    apart = np.linalg.norm(targets[:, None] - targets, axis=-1) + np.diag(np.full(count, np.inf))
    assert apart.min() >= SPACING - 1e-9
    assert np.abs(targets[:, :2]).max() <= SPACING * (np.sqrt(count) + 1.0) / 2.0
    if round(np.sqrt(count)) ** 2 == count:
        np.testing.assert_allclose(targets[:, :2].mean(axis=0), 0.0, atol=1e-12)


@pytest.mark.parametrize(("dt", "fps"), [(0.01, 30.0), (0.01, 25.0), (0.004, 30.0), (0.05, 30.0)])
def test_frames_show_the_newest_step_at_their_time(dt, fps):
    steps = frame_steps(round(5.0 / dt), dt, fps)
    assert len(steps) == round(5.0 * fps)
    lag = np.arange(len(steps)) / fps - steps * dt
    assert lag.min() >= -1e-9
    assert lag.max() < dt


@pytest.mark.parametrize(
    "mesh", [ball_mesh(), bar_mesh(), disc_mesh(), "frame"], ids=["ball", "bar", "disc", "frame"]
)
def test_meshes_are_closed_and_their_sides_face_outwards(mesh, nominal):
    vertices, faces = frame_mesh(nominal.rotor_pos_b[0]) if mesh == "frame" else mesh
    # Every edge is passed once in each direction.
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)
    assert {tuple(edge) for edge in edges.tolist()} == {(b, a) for a, b in edges.tolist()}
    # The divergence theorem: a volume is positive only if the sides face outwards.
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    assert np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6.0 > 0.0


def moving(step: int, count: int = 2) -> Snapshot:
    pos = np.full((count, 3), 0.01 * step)
    return Snapshot(pos, np.tile([0.0, 0.0, 0.0, 1.0], (count, 1)), np.full((count, 4), 0.5), np.zeros(count, int))


def test_a_trail_ends_at_its_vehicle_and_reaches_back_two_seconds():
    history, targets = History(2, 0.01, 10.0), grid(2)
    for step in range(500):
        history.append(moving(step))
    trail = history.trails(targets)[::2]
    np.testing.assert_allclose(trail[-1, 1], targets[0] + 4.99, atol=1e-6)
    assert abs(trail[0, 0, 0] - targets[0, 0] - 2.99) <= 0.04 + 1e-6
    np.testing.assert_array_equal(trail[1:, 0], trail[:-1, 1])


@pytest.mark.parametrize("marked", [True, False])
def test_a_trail_does_not_lead_from_one_episode_into_the_next(marked):
    history, targets = History(2, 0.01, 10.0), grid(2)
    for step in range(100):
        # The first vehicle starts a new episode, far away.
        moment = moving(step)
        moment.pos_w[0, 2] += 5.0 * (step >= 50)
        history.append(moment, np.array([marked and step == 50, False]))
    trail = history.trails(targets)
    longest = np.linalg.norm(trail[:, 1] - trail[:, 0], axis=-1).max()
    assert (longest < 0.1) == marked


def test_curves_are_those_of_the_chosen_vehicle():
    history = History(2, 0.01, 1.0)
    for step in range(150):
        moment = moving(step)
        moment.pos_w[1] = (3.0, 4.0, 0.0)
        history.append(moment)
    first, second = history.curves(0), history.curves(1)
    np.testing.assert_allclose(first["time"], 0.01 * np.arange(50, 150))
    np.testing.assert_allclose(first["distance"], 0.01 * np.sqrt(3.0) * np.arange(50, 150), rtol=1e-5)
    np.testing.assert_allclose(second["distance"], 5.0)
    np.testing.assert_allclose(first["tilt"], 0.0, atol=1e-6)
