"""``foundation track``: its files, its table, and what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from foundation.cli import track

SHORT = ["--num_envs", "4", "--seeds", "2", "--duration", "2", "--vehicle", "x500"]
FILES = {
    "tracking_statistics.json", "tracking_statistics.txt", "tracking_errors.npz", "trajectory_data.npz",
    "trajectory_3d.png", "trajectory_projections.png", "tracking_error.png", "tracking_velocity.png",
    "tracking_actions.png", "report.html",
}  # fmt: skip


@pytest.fixture(scope="module")
def flown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    words = ["--path", "figure_eight", "--speed", "1.5", "--compare", "expert,pid,raptor", *SHORT]
    track.main([*words, "--output", str(folder)])
    return folder


def refusal(capsys, *words):
    with pytest.raises(SystemExit) as ended:
        track.main([*words])
    captured = capsys.readouterr()
    assert ended.value.code == 2
    line = captured.err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    return line


def test_all_documented_files_are_written(flown):
    assert {path.name for path in flown.iterdir()} == FILES


def test_statistics_are_those_of_the_arrays(flown):
    saved = json.loads((flown / "tracking_statistics.json").read_text())
    data = np.load(flown / "trajectory_data.npz")
    assert data["desired_pos"].shape == (200, 8, 3)
    assert data["actions"].shape == (200, 8, 4)
    np.testing.assert_allclose(data["timestamps"], np.arange(200) * 0.01)
    errors = np.load(flown / "tracking_errors.npz")
    np.testing.assert_array_equal(errors["position_errors"], data["actual_pos"] - data["desired_pos"])
    np.testing.assert_array_equal(errors["velocity_errors"], data["actual_vel"] - data["desired_vel"])
    np.testing.assert_array_equal(errors["position_errors"], data["position_error"])
    distance = np.linalg.norm(errors["position_errors"][100:].astype(np.float64), axis=-1)
    assert saved["overall"]["rmse_m"] == pytest.approx(np.sqrt(np.mean(distance**2)), rel=1e-6)
    assert saved["per_vehicle"][3]["max_m"] == pytest.approx(distance[:, 3].max(), rel=1e-6)
    assert saved["policies"]["foundation student"]["overall"] == saved["overall"]
    assert saved["environment"]["robot"]["vehicle"] == "x500"


def test_the_table_has_every_policy_and_the_expert_is_the_most_precise(flown):
    policies = json.loads((flown / "tracking_statistics.json").read_text())["policies"]
    assert list(policies) == ["foundation student", "expert", "pid", "raptor"]
    rmse = {name: result["overall"]["rmse_m"] for name, result in policies.items()}
    assert min(rmse, key=rmse.get) == "expert"
    assert all(result["overall"]["survival"] == 1.0 for result in policies.values())
    text = (flown / "tracking_statistics.txt").read_text()
    assert "heading RMSE" in text
    assert f"{100 * rmse['raptor']:.2f} cm" in text


def test_pictures_have_300_dots_per_inch(flown):
    from PIL import Image

    for path in flown.glob("*.png"):
        assert Image.open(path).info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_report_keeps_its_other_sections_and_one_of_tracking(flown):
    path = flown / "report.html"
    path.write_text(
        path.read_text().replace(
            "<section><h2>Tracking", "<section><h2>Before</h2></section><section><h2>Tracking", 1
        )
    )
    with_another = path.read_text().replace(
        "<!-- tracking -->", "<section><h2>Comparison</h2></section><!-- tracking -->"
    )
    path.write_text(with_another)
    track.main(["--path", "hover", *SHORT, "--seeds", "1", "--output", str(flown)])
    words = path.read_text()
    assert words.count("<h2>Tracking</h2>") == 1
    assert words.count("<h2>Comparison</h2>") == 1
    assert "<h2>Before</h2>" not in words
    assert "hover (" in words
    assert words.rstrip().endswith("</html>")


def test_a_file_of_samples_is_flown(tmp_path):
    times = np.arange(0.0, 3.0, 0.05)
    rows = np.column_stack([1e9 + times, 0.2 * times, 0.0 * times, 0.1 * np.sin(times)])
    np.savetxt(tmp_path / "flight.csv", rows, delimiter=",", header="t,x,y,z", comments="")
    words = ["--checkpoint", "expert", "--path", str(tmp_path / "flight.csv"), "--num_envs", "2", "--seeds", "1"]
    track.main([*words, "--output", str(tmp_path / "out")])
    data = np.load(tmp_path / "out" / "trajectory_data.npz")
    expected = np.interp(data["timestamps"], times, rows[:, 1])
    np.testing.assert_allclose(data["desired_pos"][:, 0, 0], expected, atol=1e-6)
    assert len(data["timestamps"]) == 295  # as long as the file
    assert np.abs(data["position_error"][100:]).max() < 0.05


def test_settings_of_a_path_follow_in_hydra_s_grammar(tmp_path):
    words = [
        "--checkpoint",
        "pid",
        "--path",
        "lissajous",
        "path.amplitude=[0.5,0.25,0.1]",
        "path.ratio=[1,2,1]",
        "--seeds",
    ]
    track.main(
        [
            *words,
            "1",
            "--num_envs",
            "2",
            "--duration",
            "8",
            "--after",
            "0",
            "--vehicle",
            "x500",
            "--output",
            str(tmp_path),
        ]
    )
    desired = np.load(tmp_path / "trajectory_data.npz")["desired_pos"]
    np.testing.assert_allclose(np.abs(desired).max(axis=(0, 1)), [0.5, 0.25, 0.1], rtol=1e-3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--path", "figure_ate"], "did you mean 'figure_eight'?"),
        (["--path", "circle", "--speed", "1", "--period", "3"], "speed"),
        (["--path", "circle", "path.radius=2"], "has no parameter 'radius'"),
        (["--path", "circle", "--speed", "2", "path.speed=3"], "path.speed has no effect with --speed"),
        (["--path", "circle", "--speed", "30", "--vehicle", "x500"], "thrust-to-weight"),
        (["--path", "nowhere.csv"], "nowhere.csv"),
        (["--path", "hover", "--after", "10"], "--after 10 leaves no step of the 10 s"),
        (["--path", "hover", "--duration", "0"], "--duration must be positive"),
        (["--path", "hover", "--seeds", "0"], "--seeds must be at least 1"),
        (["--path", "hover", "--vehicle", "x500", "--family", "raptor"], "--family raptor has no effect"),
        (["--path", "hover", "--vehicle", "x5000"], "robot.vehicle must be one of"),
        (["--path", "circle", "--heading", "north"], "--heading must be a number [rad] or along"),
        (["--path", "hover", "--compare", "nobody"], "--compare nobody is none of raptor, expert, pid"),
        (["--path", "hover", "--checkpoint", "pid", "--compare", "pid"], "it flies already"),
        (["--path", "hover", "env.episode_s=3"], "env.episode_s=3 has no effect: give --duration"),
        (["--path", "hover", "env.init.tilt=0.5"], "flights begin on the path"),
        (["--path", "hover", "env.states=null"], "flights begin on the path"),
        (["--path", "hover", "env.termination.position=9"], "is lost"),
        (["--path", "hover", "env.randomization.num_vehicles=3"], "a vehicle for each of --num_envs"),
        (["--path", "hover", "env.expert.tilt=0.1"], "no expert flies"),
        (["--path", "hover", "--vehicle", "x500", "env.robot.vehicle=crazyflie"], "--vehicle x500 decides it"),
        (["--path", "hover", "--family", "raptor", "env.randomization.family=cf2x"], "--family raptor decides it"),
        (["--path", "hover", "--checkpoint", "pid", "--load_run", "any"], "--load_run any has no effect"),
        (["--path", "hover", "--compare", ""], "has an empty name"),
        (["--path", "a.csv", "path.file=b.csv"], "give --path b.csv"),
        (["--path", "waypoints", "path.points=5"], "--path waypoints"),
        (["--path", "hover", "--after", "9.996"], "--after 9.996 leaves no step"),
        (["--path", "hover", "env.nothing=3"], "unknown setting env.nothing"),
        (["--path", "hover", "pth.speed=3"], "must begin with env. or path."),
    ],
)  # fmt: skip
def test_what_cannot_be_flown_is_refused_in_one_line_before_anything_flies(
    capsys, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    assert said in refusal(capsys, *words)
    assert not list(tmp_path.iterdir())


def test_a_page_that_is_not_ours_is_left_alone(capsys, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("<h1>mine</h1></BODY>")
    assert "is no report of ours" in refusal(
        capsys, "--path", "hover", "--checkpoint", "pid", "--output", str(tmp_path)
    )
    assert page.read_text() == "<h1>mine</h1></BODY>"


def test_two_runs_of_one_name_both_fly_under_names_of_their_own(tmp_path):
    checkpoints = []
    for parent, student in (("a", "student"), ("b", "student_32")):
        source = Path("foundation/tasks/foundation/assets").resolve() / student
        shutil.copytree(source, tmp_path / parent / "seed0")
        checkpoints.append(str(tmp_path / parent / "seed0" / "best_model.pt"))
    words = [
        "--checkpoint",
        checkpoints[0],
        "--compare",
        checkpoints[1],
        "--path",
        "circle",
        *SHORT,
        "--seeds",
        "1",
    ]
    track.main([*words, "--output", str(tmp_path / "out")])
    saved = json.loads((tmp_path / "out" / "tracking_statistics.json").read_text())
    assert saved["checkpoints"] == {"seed0/best_model": checkpoints[0], checkpoints[1]: checkpoints[1]}
    first, second = (saved["policies"][name]["overall"]["rmse_m"] for name in saved["checkpoints"])
    assert second < first == saved["overall"]["rmse_m"]


def test_a_named_vehicle_takes_the_place_of_the_run_s_own_and_a_family_that_of_a_named_one(tmp_path):
    for own, words in (
        ("robot: {motor: {tau_up: 0.05}}\nrandomization: {family: cf2x}", ["--vehicle", "flightmare"]),
        ("robot: {vehicle: x500}\nrandomization: {family: none}", ["--family", "raptor"]),
    ):
        run = tmp_path / words[1]
        shutil.copytree(Path("foundation/tasks/foundation/assets/student").resolve(), run)
        (run / "params" / "env.yaml").write_text(f"num_envs: 8\nsim: {{dt: 0.01}}\n{own}\n")
        flags = ["--num_envs", "2", "--seeds", "1", "--duration", "2", *words]
        track.main(["--checkpoint", str(run), "--path", "hover", "--output", str(run / "out"), *flags])
        saved = json.loads((run / "out" / "tracking_statistics.json").read_text())["environment"]
        assert words[1] in (saved["robot"]["vehicle"], saved["randomization"]["family"])
        assert saved["robot"]["motor"]["tau_up"] != 0.05
