"""Run folders of other projects, and damaged ones: one line each, and no command ends with a traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from foundation.cli import compare, evaluate, play, runs
from foundation.cli.errors import UsageError
from foundation.cli.flown import trained_vehicle
from foundation.cli.paths import find_checkpoint, params_to_repeat
from foundation.sim.usd import CF2X_USD_PATH
from foundation.tasks import packaged_teacher
from foundation.tasks.run_vehicle import save_vehicle

PARAMS = packaged_teacher().parent / "params"
AGENT = yaml.safe_load((PARAMS / "agent.yaml").read_text())


def make_run(path: Path) -> Path:
    """Write a run of a teacher, as ``foundation train`` would have."""
    shutil.copytree(PARAMS, path / "params")
    shutil.copy(packaged_teacher(), path / "model_5.pt")
    return path


def text(group: str, added: str = "", whole: str | None = None) -> Callable[[Path], object]:
    """Return what adds to the file of parameters, or replaces it."""

    def write(run: Path) -> None:
        path = run / "params" / f"{group}.yaml"
        path.write_text(path.read_text() + added if whole is None else whole)

    return write


def agent(**changes: object) -> Callable[[Path], object]:
    return text("agent", whole=yaml.safe_dump({**AGENT, **changes}))


def replaced_by_folder(name: str) -> Callable[[Path], object]:
    def replace(run: Path) -> None:
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir(parents=True)

    return replace


def vehicle_copy(env: str) -> Callable[[Path], object]:
    def write(run: Path) -> None:
        text("env", whole=env)(run)
        save_vehicle(run / "params", CF2X_USD_PATH)

    return write


READABLE = {
    "function": text("agent", "\nfunc: !!python/object/apply:os.mkdir ['ran']\n"),
    "slice": text("agent", "\nids: !!python/object/apply:builtins.slice [null, null, null]\n"),
    "name": text("agent", "\nfunc: !!python/name:os.getcwd ''\n"),
    "object": text("agent", "\nextra: !!python/object:foo.Bar {a: 1}\n"),
    "alias": text("agent", "\na: &x [1, 2]\nb: *x\n"),
    "tuple": text("agent", "\nextra: !!python/tuple [1, 2]\n"),
    "path": text("agent", "\nextra: !!python/object/apply:pathlib.PosixPath [/, a]\n"),
    "path of Python 3.13": text("agent", "\nextra: !!python/object/apply:pathlib._local.PosixPath [/, a]\n"),
}
"""Runs of which something is not plain that a policy does without."""
FOREIGN = "scene: {num_envs: 4096, at: !!python/object/apply:os.mkdir ['ran']}\nsim: {dt: 0.005}\n"
UNREADABLE = {
    "broken": text("agent", whole="a: [1,\n"),
    "broken environment": text("env", whole="a: [1,\n"),
    "empty": text("agent", whole=""),
    "empty environment": text("env", whole=""),
    "list": text("agent", whole="- 1\n"),
    "bytes": lambda run: (run / "params" / "agent.yaml").write_bytes(b"\xff\xfe\x00\x01"),
    "key": text("agent", "\n? [a, b]\n: 3\n"),
}
"""Runs whose saved parameters cannot be read."""
UNFIT = {
    "other keys": text("agent", whole="seed: 1\npolicy: {class_name: ActorCritic}\n"),
    "other groups": agent(obs_groups={"actor": ["policy"], "critic": ["policy"]}),
    "groups as text": agent(obs_groups="teacher"),
    "no groups": agent(obs_groups=None),
    "groups of groups": agent(obs_groups={"actor": "teacher"}),
    "network as list": agent(actor=[1]),
    "no such module": agent(actor={"class_name": "nope:Nope"}),
    "no such class": agent(actor={"class_name": "Nope"}),
    "no such option": agent(actor={"class_name": "MLPModel", "foo": 1}),
    "other environment": text("env", whole="scene: {num_envs: 4096}\nsim: {dt: 0.005, physx: {a: 1}}\n"),
    "vehicle as list": text("env", whole="robot: {spawn: [cf2x, cf2x]}\n"),
    "vehicle's path as list": text("env", whole="robot: {spawn: {usd_path: [cf2x]}}\n"),
    "robot as list": text("env", whole="robot: [{spawn: cf2x}]\n"),
    "vehicle as list, and a copy": vehicle_copy("robot: {spawn: [cf2x, cf2x]}\n"),
    "no params": lambda run: shutil.rmtree(run / "params"),
    "params is a file": lambda run: (shutil.rmtree(run / "params"), (run / "params").write_text("x")),
    "agent.yaml is a folder": replaced_by_folder("params/agent.yaml"),
    "checkpoint is a folder": replaced_by_folder("model_5.pt"),
    "empty checkpoint": lambda run: (run / "model_5.pt").write_bytes(b""),
    "checkpoint of rsl_rl 3": lambda run: torch.save({"model_state_dict": {}, "iter": 5}, run / "model_5.pt"),
}
"""Runs whose policy cannot be flown in the packaged environment."""


@pytest.fixture
def logs(tmp_path, monkeypatch) -> Path:
    """``logs/rsl_rl`` with a run that all commands can use."""
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "logs" / "rsl_rl" / "ours" / "2026-01-01")
    return tmp_path / "logs" / "rsl_rl"


def spoilt(logs: Path, change: Callable[[Path], object], name: str = "2026-02-02") -> Path:
    run = make_run(logs / "theirs" / name)
    change(run)
    return run


def failed(main: Callable[..., object], flags: list[str], capsys) -> str:
    """Return the one line with which a command refuses."""
    with pytest.raises(SystemExit) as caught:
        main(flags)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


FLY = ["--num_envs", "2", "--steps", "3"]


def test_runs_with_unreadable_parameters_are_passed_over_with_one_line_each(logs, capsys):
    paths = [spoilt(logs, change, name).relative_to(logs.parents[1]) for name, change in UNREADABLE.items()]
    runs.main([])
    out = capsys.readouterr().out
    assert [out.count(f"[Runs] passed over {path}: ") for path in paths] == [1] * len(paths)
    assert "ours/2026-01-01" in out
    play.main([*FLY, "--output", "flight.png"])
    out = capsys.readouterr().out
    assert [out.count(f"[Run] passed over {path}: ") for path in paths] == [1] * len(paths)
    assert "wrote flight.png" in out
    assert not Path("ran").exists()


@pytest.mark.parametrize("change", UNREADABLE.values(), ids=UNREADABLE)
def test_a_run_with_unreadable_parameters_that_is_named_is_refused_in_one_line(change, logs, capsys):
    run = str(spoilt(logs, change))
    for main, flags in (
        (compare.main, [run, str(logs / "ours")]),
        (evaluate.main, ["--teacher", run, *FLY]),
        (play.main, ["--checkpoint", run, *FLY]),
    ):
        assert f"{run}/params/" in failed(main, flags, capsys)


@pytest.mark.parametrize("change", UNFIT.values(), ids=UNFIT)
def test_a_policy_that_does_not_fit_is_refused_in_one_line_and_the_run_is_listed_or_left_out(change, logs, capsys):
    run = spoilt(logs, change)
    for main, flags in ((evaluate.main, ["--teacher"]), (play.main, ["--checkpoint"])):
        failed(main, [*flags, str(run), *FLY], capsys)
    runs.main([])
    out = capsys.readouterr().out
    assert "ours/2026-01-01" in out
    assert ("theirs/2026-02-02" in out) == (run / "params" / "agent.yaml").is_file()


def test_the_groups_that_a_network_reads_and_those_that_there_are_are_named(logs, capsys):
    error = failed(evaluate.main, ["--teacher", str(spoilt(logs, UNFIT["other groups"])), *FLY], capsys)
    assert "whose observation groups are student, teacher: " in error
    assert "policy" in error


@pytest.mark.parametrize("name", READABLE)
def test_aliases_are_followed_and_values_that_are_not_plain_cost_one_line_and_no_code(name, logs, capsys):
    run = spoilt(logs, READABLE[name])
    lines = int(name in ("function", "slice", "name", "object"))
    runs.main([])
    listed = capsys.readouterr().out
    assert "theirs/2026-02-02" in listed
    play.main(["--checkpoint", str(run), *FLY, "--output", "flight.png"])
    played = capsys.readouterr().out
    assert [out.count("passed over values that are not plain") for out in (listed, played)] == [lines, lines]
    assert not Path("ran").exists()


def test_the_newest_run_is_one_of_this_project_whatever_lies_beside_it(logs, capsys):
    run = spoilt(logs, text("env", whole=FOREIGN))
    play.main([*FLY, "--output", "flight.png"])
    out = capsys.readouterr().out
    path = run.relative_to(logs.parents[1])
    assert out.count(f"[Run] passed over {path}: {path}/params/env.yaml is of another project\n") == 1
    assert not Path("ran").exists()


def test_a_student_does_not_inherit_the_simulator_of_another_project(logs):
    run = spoilt(logs, text("env", whole=FOREIGN))
    assert trained_vehicle(run / "model_5.pt") is None
    ours = trained_vehicle(logs / "ours" / "2026-01-01" / "model_5.pt")
    assert ours is not None
    assert ours["randomization"]["family"] == "cf2x"


def test_a_runs_own_folders_are_no_runs(logs):
    run = logs / "ours" / "2026-01-01"
    for folder, name in (("resume", "state_5.pt"), ("exported", "policy.pt")):
        (run / folder).mkdir()
        shutil.copy(packaged_teacher(), run / folder / name)
    checkpoint = Path("logs/rsl_rl/ours/2026-01-01/model_5.pt")
    assert find_checkpoint("model_5.pt", None, "ours") == checkpoint
    with pytest.raises(UsageError, match=r"there are 2026-01-01$"):
        find_checkpoint(None, "2025-01-01", "ours")


def test_a_folder_named_as_a_checkpoint_does_not_hide_an_older_one(logs):
    run = spoilt(logs, lambda run: (run / "model_9.pt").mkdir())
    play.main(["--checkpoint", str(run), *FLY, "--output", "flight.png"])
    play.main(["--checkpoint", str(logs), *FLY, "--output", "flight.png"])


def test_tensorboards_files_that_cannot_be_read_cost_one_line(logs, capsys):
    spoilt(logs, replaced_by_folder("events.out.tfevents.1"))
    runs.main([])
    out = capsys.readouterr().out
    assert out.count("[Log] TensorBoard's files in") == 1
    assert "theirs/2026-02-02" in out


def test_a_newer_run_without_parameters_is_passed_over_where_another_has_them(logs, capsys):
    run = spoilt(logs, UNFIT["no params"])
    play.main([*FLY, "--output", "flight.png"])
    assert (
        f"[Run] passed over {run.relative_to(logs.parents[1])}: it has no params/agent.yaml"
        in capsys.readouterr().out
    )
    # Where no run has any, the newest is named, and refused by what it lacks.
    shutil.rmtree(logs / "ours")
    assert "model_5.pt has no params/agent.yaml beside it" in failed(play.main, FLY, capsys)


def test_folders_inside_a_run_are_no_runs(logs, capsys):
    for name in ("resume", "exported"):
        folder = logs / "ours" / "2026-01-01" / name
        folder.mkdir()
        shutil.copy(packaged_teacher(), folder / "model_9.pt")
    with pytest.raises(UsageError, match=r"--load_run nope is not under .*; there are 2026-01-01$"):
        find_checkpoint(None, "nope", "ours")


def test_equal_vehicles_are_not_settings_that_differ(logs, tmp_path, capsys):
    vehicle = tmp_path / "quad.usda"
    vehicle.write_text(Path(CF2X_USD_PATH).read_text())
    save_vehicle(logs / "ours" / "2026-01-01" / "params", str(vehicle))
    spoilt(logs, lambda run: save_vehicle(run / "params", str(vehicle)))
    compare.main([str(logs / "ours"), str(logs / "theirs")])
    assert "usd_path" not in capsys.readouterr().out
    vehicle.write_text(vehicle.read_text().replace("physics:mass = 0.025", "physics:mass = 0.03"))
    spoilt(logs, lambda run: save_vehicle(run / "params", str(vehicle)), "2026-03-03")
    compare.main([str(logs / "ours"), str(logs / "theirs")])
    assert capsys.readouterr().out.count(f"{vehicle} (SHA-256 ") == 2


def test_a_folder_of_runs_is_repeated_from_its_newest(logs, capsys):
    spoilt(logs, lambda run: None)
    assert params_to_repeat(str(logs)) == logs / "theirs" / "2026-02-02" / "params"
    assert f"repeats {logs / 'theirs' / '2026-02-02'}, the newest run in {logs}" in capsys.readouterr().out
    assert params_to_repeat(str(logs / "ours" / "2026-01-01")) == logs / "ours" / "2026-01-01" / "params"
    assert "repeats" not in capsys.readouterr().out
