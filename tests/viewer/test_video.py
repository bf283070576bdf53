"""Videos: what a player will see in them."""

from __future__ import annotations

import numpy as np
import pytest

import foundation
from foundation.evaluation.policies import load_policy
from foundation.evaluation.recording import record
from foundation.tasks import packaged_teacher
from foundation.viewer import palette
from foundation.viewer.camera import Camera
from foundation.viewer.errors import ViewerError
from foundation.viewer.fleet import Fleet, Snapshot
from foundation.viewer.painter import HEIGHT, SMOOTH, WIDTH, Painter
from foundation.viewer.video import FPS, write_video

imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
STEPS = 50


@pytest.fixture(scope="module")
def flown():
    env = foundation.make_env("distillation", num_envs=3)
    policy = load_policy(packaged_teacher(), env.get_observations(), env.num_actions, "cpu")
    vehicle = env.sim.vehicle.numpy().copy()
    fleet = Fleet(env.sim.params, env.nominal, env.num_envs)
    return record(env, policy, STEPS), vehicle, fleet


@pytest.fixture(scope="module")
def video(flown, tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "new folder" / "flight.mp4"
    write_video(path, *flown, "teacher", "three vehicles")
    return path


@pytest.fixture(scope="module")
def decoded(video):
    reader = imageio_ffmpeg.read_frames(str(video))
    facts = next(reader)
    width, height = facts["size"]
    frames = [np.frombuffer(frame, np.uint8).reshape(height, width, 3) for frame in reader]
    return facts, frames


def test_a_video_is_of_the_kind_that_every_player_opens(decoded):
    facts, _ = decoded
    assert facts["codec"] == "h264"
    assert facts["pix_fmt"].startswith("yuv420p")
    assert facts["size"] == (WIDTH, HEIGHT)


def test_a_video_lasts_as_long_as_the_flight(decoded):
    facts, frames = decoded
    assert facts["fps"] == FPS
    assert len(frames) == round(STEPS * 0.01 * FPS)


def test_the_vehicles_move_and_the_rest_of_the_picture_does_not(decoded):
    _, frames = decoded
    changed = np.abs(frames[0].astype(int) - frames[-1]).max(-1) > 60
    assert changed.sum() > 500
    # The lowest line holds the legend.
    assert not changed[-50:].any()


def test_a_vehicle_is_drawn_where_the_camera_sees_it(flown, decoded):
    flight, _, fleet = flown
    camera = Painter(fleet, "teacher", "").camera
    for frame, step in ((0, 0), (9, 30)):
        pixels, depth = camera.project(flight.pos_w[step] + fleet.targets)
        # Nothing is in front of the nearest one.
        x, y = np.round(pixels[np.argmin(depth)] / SMOOTH).astype(int)
        seen = decoded[1][frame][y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int)
        assert np.abs(seen.mean(axis=0) - palette.BLUE).max() < 40, (frame, seen)


def test_students_and_teachers_have_different_colours(flown):
    flight, vehicle, fleet = flown
    seen = Snapshot(flight.pos_w[0], flight.quat_wb[0], flight.rotor[0], vehicle)
    ways = flight.pos_w[:1] + fleet.targets
    pictures = [np.asarray(Painter(fleet, role, "").paint(seen, 0.0, ways, 2)) for role in ("teacher", "student")]
    for picture, colour in zip(pictures, (palette.BLUE, palette.VERMILION), strict=True):
        assert (picture == colour).all(-1).sum() > 200
    assert not (pictures[0] == palette.VERMILION).all(-1).any()


def test_a_failing_encoder_is_one_error_and_leaves_no_file(flown, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(ViewerError, match="ffmpeg failed: exit code 1"):
        write_video(tmp_path / "flight.mp4", *flown, "teacher", "")
    assert list(tmp_path.iterdir()) == []


def test_the_point_looked_at_is_the_middle_of_the_picture_and_the_angle_of_view_its_edge():
    fov = np.radians(60.0)
    camera = Camera(np.array([-2.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0]), 400, 300, fov)
    edge = 2.0 * np.tan(fov / 2.0)
    points = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0 + edge], [0.0, -edge, 1.0], [-3.0, 0.0, 1.0]])
    pixels, depth = camera.project(points)
    # x forward, y left, z up: up is the upper edge, -y is to the right; behind is nowhere.
    np.testing.assert_allclose(pixels[:3], [[200.0, 150.0], [200.0, 0.0], [350.0, 150.0]], atol=1e-9)
    np.testing.assert_allclose(depth, [2.0, 2.0, 2.0, -1.0])
    assert np.isnan(pixels[3]).all()
