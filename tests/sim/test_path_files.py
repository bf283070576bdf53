"""Paths from CSV and npz files."""

from __future__ import annotations

import numpy as np
import pytest

from foundation.sim.paths import Circle, FigureEight, make_path

RNG = np.random.default_rng(0)
TIMES = np.arange(200) * 0.05


def write(path, header, *columns):
    np.savetxt(path, np.column_stack(columns), delimiter=",", header=header, comments="", fmt="%.17g")
    return str(path)


def test_a_csv_file_of_all_columns_gives_back_the_path_it_was_written_from(tmp_path):
    written = FigureEight(2.0, heading="along").sample(TIMES, RNG)
    header = "t,x,y,z,vx,vy,vz,ax,ay,az,heading"
    file = write(
        tmp_path / "a.csv",
        header,
        TIMES,
        written.position,
        written.velocity,
        written.acceleration,
        written.heading,
    )
    read = make_path("file", file=file).sample(TIMES, RNG)
    for name in ("position", "velocity", "acceleration"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name))
    np.testing.assert_allclose(np.exp(1j * read.heading), np.exp(1j * written.heading), atol=1e-12)


def test_an_npz_file_of_arrays_gives_back_the_path_it_was_written_from(tmp_path):
    written = Circle(2.0).sample(TIMES, RNG)
    file = str(tmp_path / "a.npz")
    np.savez(file, t=TIMES, position=written.position, velocity=written.velocity)
    read = make_path("file", file=file, heading=0.5).sample(TIMES, RNG)
    np.testing.assert_array_equal(read.position, written.position)
    np.testing.assert_array_equal(read.velocity, written.velocity)
    assert (read.heading == 0.5).all()


def test_missing_derivatives_are_central_differences_exact_for_a_parabola(tmp_path):
    times = np.array([0.0, 0.1, 0.3, 0.4, 0.8])
    file = write(tmp_path / "a.csv", "t,x,y,z", times, times**2, 3.0 * times, 0.0 * times)
    path = make_path("file", file=file)
    inner = path.sample(np.array([0.1, 0.3]), RNG)
    np.testing.assert_allclose(inner.velocity, [[0.2, 3.0, 0.0], [0.6, 3.0, 0.0]], atol=1e-12)
    assert path.sample(np.array([0.3]), RNG).acceleration[0, 0] == pytest.approx(2.0, abs=1e-9)


def test_between_its_times_a_path_is_linear(tmp_path):
    file = write(tmp_path / "a.csv", "t,x,y,z", [0.0, 1.0, 2.0], [0.0, 1.0, 5.0], [0.0] * 3, [0.0] * 3)
    np.testing.assert_allclose(
        make_path("file", file=file).sample(np.array([0.25, 0.75, 1.25, 1.75]), RNG).position[:, 0],
        [0.25, 0.75, 2, 4],
    )


def test_a_heading_that_passes_pi_takes_the_short_way_round(tmp_path):
    columns = [0.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [3.1, -3.1]
    file = write(tmp_path / "a.csv", "t,x,y,z,heading", *columns)
    middle = make_path("file", file=file).sample(np.array([0.5]), RNG).heading[0]
    assert np.cos(middle) == pytest.approx(-1.0, abs=1e-12)


def test_the_first_time_is_zero_and_beyond_both_ends_the_path_rests(tmp_path):
    file = write(tmp_path / "a.csv", "t,x,y,z,heading", [1.0, 2.0], [3.0, 4.0], [0, 0], [0, 0], [0.1, 0.2])
    samples = make_path("file", file=file).sample(np.array([-1.0, 0.5, 2.0]), RNG)
    np.testing.assert_array_equal(samples.position[[0, 2], 0], [3.0, 4.0])
    np.testing.assert_array_equal(samples.velocity[:, 0], [0.0, 1.0, 0.0])
    np.testing.assert_array_equal(samples.heading[[0, 2]], [0.1, 0.2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("t,x,y\n0,0,0\n1,1,1\n", "lacks the column z: of x, y, z all or none"),
        ("t,vx,vy,vz\n0,0,0,0\n1,1,1,1\n", "must have the columns t, x, y and z, got t, vx, vy, vz"),
        ("x,y,z\n0,0,0\n1,1,1\n", "must have a column t"),
        ("t,x,y,z,vx\n0,0,0,0,0\n1,1,1,1,1\n", "lacks the column vy, vz"),
        ("t,x,y,z,yaw\n0,0,0,0,0\n1,1,1,1,1\n", "unknown column 'yaw', expected t, x, y, z"),
        ("t,x,y,z,x\n0,0,0,0,0\n1,1,1,1,1\n", "each column once"),
        ("t,x,y,z\n0,0,0,nan\n1,1,1,1\n", "z must be finite, got nan in row 0"),
        ("t,x,y,z\n0,0,0,0\n1,1,1,one\n", "line 3 must be 4 numbers, got 1,1,1,one"),
        ("t,x,y,z\n0,0,0,0\n1,1,1\n", "line 3 must be 4 numbers, got 1,1,1"),
        ("t,x,y,z\n0,0,0,0\n1,1,1,1\n1,2,2,2\n", "t must rise, got 1.0 s and then 1.0 s in row 2"),
        ("t,x,y,z\n0,0,0,0\n", "a header and at least two rows"),
        ("", "a header and at least two rows"),
    ],
)
def test_a_broken_csv_file_is_one_error_that_names_the_place(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        make_path("file", file=str(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"t": [0.0, 1.0], "position": np.zeros((3, 3))}, r"position must have shape \(2, 3\), got \(3, 3\)"),
        ({"t": [0.0, 1.0], "place": np.zeros((2, 3))}, "unknown array 'place'"),
        ({"t": [0.0, 1.0], "position": np.zeros((2, 3)), "x": [0.0, 1.0]}, "either position or x, y, z, got both"),
        ({"t": 0.0, "position": np.zeros((1, 3))}, "at least two times"),
        ({"t": [0.0, 1.0], "position": np.array([[None] * 3] * 2)}, "must be an .npz file of numbers"),
    ],
)
def test_a_broken_npz_file_is_one_error_that_names_the_array(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        make_path("file", file=str(tmp_path / "a.npz"))


def test_a_file_that_is_no_archive_a_missing_one_and_a_second_heading_are_errors(tmp_path):
    (tmp_path / "a.npz").write_text("t,x,y,z")
    with pytest.raises(ValueError, match=r"must be an .npz file of numbers"):
        make_path("file", file=str(tmp_path / "a.npz"))
    with pytest.raises(FileNotFoundError, match=r"b\.csv, which does not exist"):
        make_path("file", file=str(tmp_path / "b.csv"))
    file = write(tmp_path / "c.csv", "t,x,y,z,heading", *np.arange(10.0).reshape(5, 2))
    with pytest.raises(ValueError, match=r"heading cannot take effect, got 1\.0"):
        make_path("file", file=file, heading=1.0)
