"""Videos, decoded again."""

from __future__ import annotations

import numpy as np
import pytest
from mpl_toolkits.mplot3d import proj3d

import foundation
from foundation.evaluation.policies import load_policy
from foundation.evaluation.recording import record
from foundation.tasks import packaged_teacher
from foundation.viewer import palette
from foundation.viewer.errors import ViewerError
from foundation.viewer.fleet import Fleet, Snapshot, frames, grid
from foundation.viewer.painter import HEIGHT, LOOK_AT_HEIGHT, WIDTH, Painter
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


def project(painter: Painter, points_w: np.ndarray) -> np.ndarray:
    """Return the column and row of points (N, 3) in the painter's picture, shape (N, 2)."""
    x, y, _ = proj3d.proj_transform(*points_w.T, painter.axes.get_proj())
    return np.array([0, HEIGHT]) + np.array([1, -1]) * painter.axes.transData.transform(np.column_stack([x, y]))


def painted(flown, role: str = "teacher") -> tuple[Painter, np.ndarray]:
    """Return a painter and its picture of the first moment."""
    flight, vehicle, fleet = flown
    painter = Painter(fleet, role, "")
    _, moment = next(frames(flight, vehicle, FPS))
    return painter, painter.paint(moment, 0.0, flight.pos_w[:1] + fleet.targets, 2)


def test_a_vehicle_is_drawn_where_the_camera_sees_it(flown, decoded):
    flight, _, fleet = flown
    painter, _ = painted(flown)
    for frame, step in ((0, 0), (9, 30)):
        for x, y in np.round(project(painter, flight.pos_w[step] + fleet.targets)).astype(int):
            seen = decoded[1][frame][y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).astype(int)
            assert np.abs(seen.mean(axis=0) - palette.BLUE).max() < 40, (frame, seen)


def test_students_and_teachers_have_different_colours(flown):
    pictures = [painted(flown, role)[1] for role in ("teacher", "student")]
    for picture, colour in zip(pictures, (palette.BLUE, palette.VERMILION), strict=True):
        assert (picture == colour).all(-1).sum() > 200
    assert not (pictures[0] == palette.VERMILION).all(-1).any()


@pytest.mark.parametrize("count", [1, 9, 100])
def test_every_target_is_in_the_picture_and_the_fleet_is_centred(nominal, count):
    painter = Painter(Fleet(nominal, nominal, count), "teacher", "")
    targets = grid(count)
    level = Snapshot(
        0.0 * targets, np.tile([0.0, 0.0, 0.0, 1.0], (count, 1)), np.zeros((count, 4)), np.zeros(count, int)
    )
    painter.paint(level, 0.0, targets[None], 2)
    seen = project(painter, targets)
    assert (seen > 0).all()
    assert (seen < [WIDTH, HEIGHT]).all()
    # Negative control: they fill a third of its width unless there is only one.
    assert count == 1 or np.ptp(seen[:, 0]) > WIDTH / 3
    # matplotlib's 3-D axes reach from -0.095 to 0.09: their centre is off by 0.0025 / 0.185 of the width.
    middle = project(painter, np.array([[0.0, 0.0, LOOK_AT_HEIGHT]]))
    np.testing.assert_allclose(middle, [[WIDTH / 2, HEIGHT / 2]], atol=1.01 * WIDTH * 0.0025 / 0.185)


def test_a_failing_encoder_is_one_error_and_leaves_no_file(flown, tmp_path, monkeypatch):
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/bin/false")
    with pytest.raises(ViewerError, match="ffmpeg failed: exit code 1"):
        write_video(tmp_path / "flight.mp4", *flown, "teacher", "")
    assert list(tmp_path.iterdir()) == []
