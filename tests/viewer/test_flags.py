"""The viewer's flags of play and train: refused values, and paths of the files."""

from __future__ import annotations

import socket
import sys

import pytest

from foundation.cli import play, train
from foundation.tasks import packaged_teacher
from foundation.viewer import server
from foundation.viewer.errors import ViewerError

TEACHER = str(packaged_teacher())


def error_of(capsys, main, *flags: str) -> str:
    with pytest.raises(SystemExit) as caught:
        main(list(flags))
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert len([line for line in err.splitlines() if line.startswith("error:")]) == 1
    return err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--viewer", "viser", "--output", "a.html"], "--output a.html has no effect with --viewer viser"),
        (["--viewer", "viser", "--video"], "--video has no effect with --viewer viser"),
        (["--viewer", "viser", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["--viewer", "viser", "--port", "70000"], "--port must lie in 0 ... 65535, got 70000"),
        (["--viewer", "viser", "--host", "no.such.invalid"], "--host no.such.invalid cannot be listened on"),
        (["--viewer", "viser", "--teacher", "/no.pt", "--port", "0"], "/no.pt does not exist"),
        (["--viewer", "html", "--output", "a.png"], "--output a.png must end in .html"),
        (["--viewer", "html", "--port", "1"], "--port 1 has no effect: nothing is served"),
        (["--viewer", "html", "--steps", "501"], "--steps must lie in 1 ... 500"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0 has no effect: nothing is served"),
        (["--teacher", "a.pt"], "--teacher a.pt has no effect without --viewer viser"),
        (["--video", "a.avi"], "--video a.avi must end in .mp4"),
        (["--video", "--output", "a.mp4"], "--output a.mp4 has no effect with --video; name the file there"),
        (["--video", "env.sim.dt=0.01"], "--video env.sim.dt=0.01 is a setting; put settings before --video"),
    ],
)
def test_a_flag_that_cannot_work_is_one_error_before_any_work(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert message in error_of(capsys, play.main, "--checkpoint", TEACHER, *flags)
    assert list(tmp_path.iterdir()) == []


def test_train_refuses_an_address_without_a_dashboard(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    message = error_of(capsys, train.main, "--task", "distillation", "--port", "0")
    assert "--port 0 has no effect: nothing is served" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("package", "flags"),
    [("viser", ["--viewer", "viser"]), ("viser", ["--viewer", "html"]), ("imageio_ffmpeg", ["--video"])],
)
def test_without_the_extra_the_command_that_installs_it_is_named(package, flags, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, package, None)
    message = error_of(capsys, play.main, "--checkpoint", TEACHER, *flags)
    assert f"needs {package}; install it with: pip install 'foundation-distill[viewer]'" in message


def test_a_port_that_was_asked_for_and_is_taken_is_refused_and_the_default_one_gives_way(monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(ViewerError, match=f"--port {taken} is taken"):
            server.free_port("127.0.0.1", taken)
        monkeypatch.setattr(server, "DEFAULT_PORT", taken)
        assert taken < server.free_port("127.0.0.1", None) < taken + server.PORTS_TRIED


@pytest.mark.parametrize(
    ("host", "private", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:8080"),
        ("::1", True, "http://[::1]:8080"),
        ("localhost", True, "http://localhost:8080"),
        ("0.0.0.0", False, f"http://{socket.gethostname()}:8080"),
        ("192.168.0.4", False, "http://192.168.0.4:8080"),
    ],
)
def test_only_loopback_addresses_count_as_private(host, private, url):
    assert server.is_private(host) == private
    assert server.address(host, 8080) == url


def test_without_runs_the_packaged_teacher_flies_and_its_files_stay_out_of_the_package(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    monkeypatch.chdir(tmp_path)
    play.main(["--video", "--num_envs", "1", "--steps", "4"])
    assert [path.name for path in tmp_path.iterdir()] == ["flight.mp4"]
    out = capsys.readouterr().out
    assert "there are no runs under logs/rsl_rl yet; the packaged teacher flies" in out
    assert "[Play] wrote flight.mp4" in out


def test_files_of_a_run_go_into_its_folder(student_run):
    pytest.importorskip("imageio_ffmpeg", reason="imageio-ffmpeg is not installed")
    play.main(["--video", "--checkpoint", str(student_run / "best_model.pt"), "--num_envs", "1", "--steps", "4"])
    assert (student_run / "plots" / "best_model.mp4").stat().st_size > 1000


def test_a_live_flight_ends_by_itself_after_its_steps(capsys):
    pytest.importorskip("viser", reason="viser is not installed")
    play.main(["--viewer", "viser", "--port", "0", "--num_envs", "1", "--steps", "3", "--checkpoint", TEACHER])
    assert "[Play] ended after 3 steps, 0.03 s of flight" in capsys.readouterr().out
