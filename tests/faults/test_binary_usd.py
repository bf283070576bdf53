"""Damaged binary USD files, which usd-core reads in C++.

usd-core 26.11 has no full defence against damage in this format: of a thousand random changes about four make
it loop for seconds or for ever, and of ten thousand a few make it crash. Those files are looked for with a reader
that may be lost, and then given to ours, which may not.
"""

from __future__ import annotations

import collections
import faulthandler
import random
import resource
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd

from foundation.sim.usd import CF2X_USD_PATH, UsdVehicleError, load_quad
from tests.support.processes import Child

LONGEST_CASE = 2.0
"""Seconds after which a case counts as a hang."""
MEMORY = 6 * 2**30
"""Address space of the reading process [bytes]: a damaged length asks for more than there is."""


def damaged(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        at = rng.randrange(len(out))
        match rng.randrange(5):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                del out[at : at + rng.choice([1, 4, 8, 100])]
            case 3:
                out[at:at] = rng.randbytes(rng.choice([1, 4, 8]))
            case 4:
                out[at : at + 8] = rng.choice([0, 2**31, 2**40, 2**62, len(out)]).to_bytes(8, "little")
    return bytes(out)


def write_case(data: bytes, seed: int, folder: Path) -> Path:
    path = folder / f"{seed}.usdc"
    path.write_bytes(damaged(data, random.Random(seed)))
    return path


def read_all(data: bytes, seeds: range, folder: Path, answers: Connection) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    faulthandler.disable()  # a crash is counted, that is enough
    for seed in seeds:
        path = write_case(data, seed, folder)
        answers.send("began")
        try:
            Usd.Stage.Open(str(path)).Flatten().ExportToString()
            answers.send("read")
        except Exception:
            answers.send("refused")
        path.unlink()


def outcomes(data: bytes, count: int, folder: Path) -> list[str]:
    """Return what became of each damaged file: read, refused, hung or crashed."""
    found: list[str] = []
    while len(found) < count:
        reader = Child(read_all, data, range(len(found), count), folder)
        try:
            while len(found) < count:
                assert reader.receive() == "began"
                found.append(reader.receive(LONGEST_CASE))
        except EOFError:
            found.append("crashed")
        except AssertionError:
            found.append("hung")
        reader.kill()
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("usd") / "whole.usdc"
    stage = Usd.Stage.Open(CF2X_USD_PATH)
    stage.GetRootLayer().Export(str(path))
    return path


def test_a_binary_file_gives_the_quadrotor_of_its_text(whole):
    binary, text = load_quad(str(whole)), load_quad(CF2X_USD_PATH)
    for name, value in vars(text).items():
        np.testing.assert_array_equal(getattr(binary, name), value)


@pytest.mark.parametrize("cases", [40, pytest.param(6000, marks=pytest.mark.faults)])
def test_a_damaged_binary_file_is_read_or_refused_also_where_usd_itself_is_lost(
    tmp_path, cases, whole, record_figures
):
    data = whole.read_bytes()
    found = outcomes(data, cases, tmp_path)
    figures = {kind: found.count(kind) for kind in ("read", "refused", "hung", "crashed")}
    assert sum(figures.values()) == cases
    # Some damage is harmless; among a few files there may be none of it.
    assert figures["read"] > 0 or cases < 1000
    lost = [seed for seed, outcome in enumerate(found) if outcome in ("hung", "crashed")]
    # All that USD is lost on, and as many that it is not.
    answers = collections.Counter(
        ours(write_case(data, seed, tmp_path)) for seed in [*lost, *range(len(lost) + 8)]
    )
    assert set(answers) <= {"read", "refused"}
    record_figures("damaged binary USD files", **figures, lost_by_our_reader=0)


def ours(path: Path) -> str:
    try:
        load_quad(str(path))
    except UsdVehicleError as error:
        return "refused" if "\n" not in str(error) else "refused in two lines"
    return "read"
