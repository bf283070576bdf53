"""Broken and hostile input: settings, saved parameters, checkpoints, manifests and USD files.

Whatever comes in, what comes out is a value or one of the project's own errors, in time, and nothing is written,
removed or started that was not asked for.
"""

from __future__ import annotations

import collections
import io
import json
import os
import random
import re
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.distill.checkpoint import CheckpointError, FileDigest, atomic_save, load_checkpoint
from foundation.distill.checkpoint.manifest import Manifest
from foundation.sim.usd import CF2X_USD_PATH, UsdVehicleError, load_quad
from foundation.tasks import TASKS
from foundation.tasks.config import compose
from foundation.tasks.saved_params import ConfigError, load_params

pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")

LONGEST_CASE = 10.0
"""Seconds after which a case counts as a hang."""
CASES: collections.Counter[str] = collections.Counter()
_STARTING = ("os.system", "os.exec", "os.fork", "subprocess.Popen")
_CHANGING = ("os.mkdir", "os.remove", "os.rmdir", "os.rename")
_watched: list[Path] = []
_seen: list[str] = []


def _watch(event: str, args: tuple) -> None:
    if not _watched:
        return
    if event in _STARTING or (event in _CHANGING and not _inside(args[0])):
        _seen.append(f"{event}{args[:1]}")
    elif event == "open" and isinstance(args[0], (str, bytes, os.PathLike)):
        _, mode, flags = args
        writes = any(c in (mode or "") for c in "wax+") or (mode is None and flags & (os.O_WRONLY | os.O_RDWR))
        if writes and not _inside(args[0]):
            _seen.append(f"open{args[:2]}")


def _inside(path: str | bytes | os.PathLike) -> bool:
    return Path(os.fsdecode(path)).is_relative_to(_watched[0])


sys.addaudithook(_watch)


def both(short: int, long: int) -> Any:
    """Run a test with few cases in the normal run, and with many among the faults."""
    return pytest.mark.parametrize("cases", [short, pytest.param(long, marks=pytest.mark.faults)])


def fuzz(cases: int, folder: Path, check: Callable[..., Any], *strategies: st.SearchStrategy) -> None:
    """Check so many cases, of which none may hang or touch anything outside the folder."""

    @settings(max_examples=cases, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.tuples(*strategies))
    def case(values: tuple) -> None:
        CASES[check.__name__] += 1
        start = time.perf_counter()
        _seen.clear()
        _watched.append(folder)
        try:
            check(*values)
        finally:
            _watched.clear()
        assert time.perf_counter() - start < LONGEST_CASE
        assert not _seen

    case()


def taken_or_refused(call: Callable[[], Any], *errors: type[Exception]) -> None:
    """Let a call fail with some errors only, and with one line."""
    try:
        call()
    except errors as error:
        message = str(error).strip()
    else:
        return
    assert message
    assert "\n" not in message


# Settings.

NUMBERS = st.one_of(
    st.integers(-(10**30), 10**30).map(str),
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.sampled_from(["nan", "inf", "-inf", "0", "-0.0", "1e400", "0x10", "1_000", "true", "null", "''"]),
)
ODD_VALUES = [
    "${env.sim.dt}", "${oc.env:HOME}", "${}", "$", "[1,2", "{a:1}", "[[[]]]", "{a:{b:[1,{}]}}", "'", '"', "\\",
    "1,2,3", "glob(*)", "choice(1,2)", "range(1,3)", "int(3)", "sort(2,1)", "!!python/object:os.system", "\0",
    "é漢", "=====",
]  # fmt: skip
VALUES = st.one_of(
    NUMBERS,
    st.text(max_size=20),
    st.sampled_from(ODD_VALUES),
    st.lists(NUMBERS, max_size=4).map(lambda values: "[" + ",".join(values) + "]"),
)


def _settings_of(task: str) -> list[str]:
    from omegaconf import OmegaConf

    names: list[str] = []

    def walk(node: Any, name: str) -> None:
        names.append(name)
        for key, value in node.items() if isinstance(node, dict) else ():
            walk(value, f"{name}.{key}")

    for group, cfg in zip(("env", "agent"), compose(TASKS[task]), strict=True):
        walk(OmegaConf.to_container(OmegaConf.structured(cfg)), group)
    return names


def check_override(task: str, name: str, prefix: str, value: str) -> None:
    check_text(task, f"{prefix}{name}={value}")


def check_text(task: str, override: str) -> None:
    taken_or_refused(lambda: compose(TASKS[task], [override]), ConfigError)


@both(100, 6000)
def test_any_value_of_any_setting_is_taken_or_refused(tmp_path, cases):
    for task in TASKS:
        names = st.sampled_from(_settings_of(task))
        prefixes = st.sampled_from(["", "", "", "", "+", "~", "++"])
        fuzz(cases // 2, tmp_path, check_override, st.just(task), names, prefixes, VALUES)


@both(60, 4000)
def test_any_text_as_an_override_is_taken_or_refused(tmp_path, cases):
    grammar = st.text("env.agsimdt=[]{}(),:'\"\\$~+!@#%&*0123456789 \n\t", max_size=40)
    fuzz(cases, tmp_path, check_text, st.sampled_from(list(TASKS)), st.one_of(grammar, st.text(max_size=60)))


def fly(*overrides: str) -> None:
    import foundation

    env = foundation.make_env("distillation", 2, overrides=[*overrides, "env.randomization.num_vehicles=2"])
    env.step(torch.zeros(2, 4))


def check_environment(name: str, value: str) -> None:
    taken_or_refused(lambda: fly(f"{name}={value}"), ConfigError, UsdVehicleError)


@both(20, 1500)
def test_an_environment_of_any_number_flies_or_is_refused(tmp_path, cases):
    sizes = ("env.num_envs", "env.randomization.num_vehicles", "env.sim.substeps")
    fly()  # compiles the kernels, which are kept in a folder of their own
    names = [name for name in _settings_of("distillation") if name.startswith("env.") and name not in sizes]
    fuzz(cases, tmp_path, check_environment, st.sampled_from(names), NUMBERS)


# Saved parameters.

PARAMS = Path(CF2X_USD_PATH).parents[2] / "tasks" / "point_ctrl" / "assets" / "teacher" / "params"
SNIPPETS = [
    "!!python/object/apply:os.mkdir ['{folder}/ran']", "&a [*a]", "*unknown", "<<: *x", "- 1", "{", "nan", ".inf",
    "1e999", "2026-01-01", "!!binary aGk=", "!!set {a}", "null", "'${oc.env:HOME}'", "99999999999999999999",
    "~", "\t",
]  # fmt: skip


def mutated_text(text: str, rng: random.Random, snippets: list[str]) -> str:
    """Return a text with a few of its values, lines or characters changed."""
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        match rng.randrange(5):
            case 0:
                lines[i] = re.sub(r"(:\s*).*$", lambda found: found[1] + rng.choice(snippets), lines[i], count=1)
            case 1:
                del lines[i]
            case 2:
                lines.insert(i, rng.choice(lines))
            case 3:
                at = rng.randrange(len(lines[i]) + 1)
                lines[i] = lines[i][:at] + rng.choice("\0:{}[]&*!|>'\"%@`#-\t x7é") + lines[i][at + 1 :]
            case 4:
                lines[i] = " " * rng.randrange(9) + lines[i].lstrip()
        if not lines:
            lines = [""]
    return "\n".join(lines)


@both(60, 3000)
def test_any_saved_parameters_are_taken_or_refused_and_never_executed(tmp_path, cases):
    folder = tmp_path / "params"
    folder.mkdir()
    texts = {name: (PARAMS / f"{name}.yaml").read_text() for name in ("env", "agent")}
    snippets = [text.replace("{folder}", str(tmp_path)) for text in SNIPPETS]

    def check_parameters(which: str, seed: int, noise: bytes | None) -> None:
        for name, text in texts.items():
            data = text.encode()
            if name == which:
                data = mutated_text(text, random.Random(seed), snippets).encode() if noise is None else noise
            (folder / f"{name}.yaml").write_bytes(data)
        taken_or_refused(lambda: compose(TASKS["point_ctrl"], params_dir=folder), ConfigError)
        taken_or_refused(lambda: load_params(tmp_path, which), ConfigError)

    noise = st.one_of(st.none(), st.none(), st.none(), st.binary(max_size=60))
    fuzz(cases, tmp_path, check_parameters, st.sampled_from(["env", "agent"]), st.integers(0, 2**32), noise)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["params"]
    yaml.unsafe_load(snippets[0])
    assert (tmp_path / "ran").exists()  # the snippet really is dangerous


# Checkpoints and manifests.


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """Return data with a few bits, blocks or its end changed."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out)) if out else 0
        match rng.randrange(5):
            case 0 if out:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                del out[at:]
            case 2:
                out[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 3 if out:
                other = rng.randrange(len(out))
                out[at : at + 16], out[other : other + 16] = out[other : other + 16], out[at : at + 16]
            case 4:
                out[at : at + 8] = rng.choice([b"\0" * 8, b"\xff" * 8, (2**63).to_bytes(8, "little")])
    return bytes(out)


@pytest.fixture
def checkpoint(tmp_path) -> bytes:
    state = {"student_state_dict": {"w": torch.randn(3, 2)}, "iter": 3, "infos": None, "list": [1.5, "x", True]}
    atomic_save(state, tmp_path / "whole.pt")
    return (tmp_path / "whole.pt").read_bytes()


@both(300, 50_000)
def test_any_change_of_a_checkpoint_is_loaded_or_refused(tmp_path, checkpoint, cases):
    path = tmp_path / "x.pt"

    def check_checkpoint(seed: int) -> None:
        path.write_bytes(changed_bytes(checkpoint, random.Random(seed)))
        taken_or_refused(lambda: load_checkpoint(path), CheckpointError)

    fuzz(cases, tmp_path, check_checkpoint, st.integers(0, 2**48))


def within_archive(checkpoint: bytes, pickled: bytes) -> bytes:
    """Return a checkpoint whose pickle is another."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for name in old.namelist():
            new.writestr(name, pickled if name.endswith("data.pkl") else old.read(name))
    return out.getvalue()


@both(150, 14_000)
def test_any_pickle_in_a_checkpoint_is_loaded_or_refused_and_leaves_no_trace(tmp_path, checkpoint, cases):
    path, trace = tmp_path / "x.pt", tmp_path / "ran"
    with zipfile.ZipFile(io.BytesIO(checkpoint)) as archive:
        genuine = archive.read(next(name for name in archive.namelist() if name.endswith("data.pkl")))
    hostile = f"cos\nmkdir\n(V{trace}\ntR.".encode()
    parts = [
        hostile, hostile[:-1], b"cbuiltins\neval\n(V1\ntR", b"cbuiltins\ngetattr\n", b"ctorch\nload\n", b"(", b"t",
        b"R", b"}", b"]", b"u", b"s", b"0", b"2", b"Q", b"\x81", b"b", b"N", b"I1\n", b"Vx\n", b"K\x05", b"h\x00",
        b"q\x00", b".",
        b"\x95" + b"\xff" * 8, b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", genuine,
    ]  # fmt: skip

    def check_pickle(bare: bool, seed: int) -> None:
        rng = random.Random(seed)
        stream = b"\x80\x02" + b"".join(rng.choice(parts) for _ in range(rng.randint(1, 12))) + b"."
        if rng.random() < 0.3:
            stream = changed_bytes(genuine, rng)
        path.write_bytes(stream if bare else within_archive(checkpoint, stream))
        taken_or_refused(lambda: load_checkpoint(path), CheckpointError)

    fuzz(cases, tmp_path, check_pickle, st.booleans(), st.integers(0, 2**48))
    assert not trace.exists()
    path.write_bytes(within_archive(checkpoint, b"\x80\x02" + hostile))
    with pytest.raises(CheckpointError, match=r"is refused: loading it would call os\.mkdir"):
        load_checkpoint(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)
    assert trace.exists()  # the file really is dangerous


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@both(200, 25_000)
def test_any_manifest_is_read_or_refused(tmp_path, checkpoint, cases):
    path = tmp_path / "model_1.manifest.json"
    Manifest({"model_1.pt": FileDigest(10, "0" * 64)}, "resume/state_1.pt", ["resume/rows_0.pt"]).write(path)
    genuine = path.read_bytes()
    good = json.loads(genuine)

    def check_manifest(seed: int, value: Any) -> None:
        rng = random.Random(seed)
        match rng.randrange(4):
            case 0:
                data = changed_bytes(genuine, rng)
            case 1:
                data = json.dumps(value).encode()
            case 2:
                # One that is laid out as it was written, but with other contents.
                contents = {**good, rng.choice(list(good)): value}
                data = json.dumps(contents, indent=1).encode()
            case _:
                data = b"[" * rng.randrange(1, 200_000, 5000)
        path.write_bytes(data)
        taken_or_refused(lambda: Manifest.read(path).verify(tmp_path), CheckpointError)

    fuzz(cases, tmp_path, check_manifest, st.integers(0, 2**48), JSON)


# USD files.

USD_VALUES = [
    "nan", "inf", "-inf", "1e38", "-1", "0", "1e-45", '"text"', "(1, 2)", "()", "[]", "None", "true",
    "(nan, 0, 0)", "(1e30, 1e30, 1e30)", "(0, 0, 0, 0)", "@./other.usda@", "</nowhere>", "</crazyflie>",
    '"Y"', '"W"', "-0.0",
]  # fmt: skip


@both(60, 8000)
def test_any_change_of_a_usd_file_gives_a_quadrotor_or_is_refused(tmp_path, cases):
    text = Path(CF2X_USD_PATH).read_text()

    def check_usd(seed: int, noise: bytes | None) -> None:
        rng = random.Random(seed)
        # USD remembers what it has read by name.
        path = tmp_path / f"{seed}.usda"
        path.write_bytes(mutated_usd(text, rng).encode() if noise is None else b"#usda 1.0\n" + noise)
        try:
            taken_or_refused(lambda: load_quad(str(path)), UsdVehicleError)
        finally:
            path.unlink()

    noise = st.one_of(st.none(), st.none(), st.none(), st.none(), st.binary(max_size=60))
    fuzz(cases, tmp_path, check_usd, st.integers(0, 2**48), noise)


def mutated_usd(text: str, rng: random.Random) -> str:
    lines = mutated_text(text, rng, USD_VALUES).splitlines() or [""]
    for _ in range(rng.randint(0, 3)):
        i = rng.randrange(len(lines))
        lines[i] = re.sub(r"(=\s*).*$", lambda found: found[1] + rng.choice(USD_VALUES), lines[i], count=1)
    return "\n".join(lines)


@pytest.mark.faults
def test_at_least_a_hundred_thousand_cases_were_run(record_figures):
    if len(CASES) < 7:
        pytest.skip("counts the cases of the other tests of this file")
    record_figures("broken input", cases=sum(CASES.values()), **CASES)
    assert sum(CASES.values()) >= 100_000


def test_the_watch_sees_what_is_written_elsewhere(tmp_path):
    def check_writing() -> None:
        (tmp_path.parent / "elsewhere.txt").write_text("x")

    with pytest.raises(AssertionError):
        fuzz(1, tmp_path, check_writing)
    CASES.pop("check_writing")
