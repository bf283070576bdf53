"""The C header against the float64 network."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest

from foundation.export.c_header import CHeader, Origin, c_literal
from foundation.export.c_library import BRIDGE, STRICT, CStepper, compile_c
from foundation.export.errors import ExportError
from foundation.export.network import extract
from tests.export.float64 import initial_state, step
from tests.export.models import KINDS, observations, policy
from tests.export.test_network import ACTIVATIONS

ORIGIN = Origin("run/model_9.pt", 100.0)


def compiled(network, folder):
    (folder / "policy.h").write_text(CHeader(network).text(ORIGIN))
    (folder / "bridge.c").write_text(BRIDGE)
    return compile_c([folder / "bridge.c"], [folder], folder / "policy.so")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_computes_the_actions_of_the_network_and_is_reset_where_a_mask_says_so(kind, activation, tmp_path):
    network = extract(policy(kind, activation))
    stepper = CStepper(compiled(network, tmp_path).path, 4, 4)
    state = initial_state(network, 4)
    for number in range(20):
        # Large inputs reach the flat parts of the functions.
        obs = observations(seed=number)["student"].numpy() * (1.0 if number < 10 else 30.0)
        expected, state = step(network, obs, state)
        np.testing.assert_allclose(stepper(obs), expected, rtol=2e-5, atol=2e-5)
        if number % 7 == 3:
            dones = np.array([True, False, False, True])
            stepper.reset(dones)
            state[:, :, dones] = 0.0


def test_a_recurrent_policy_that_is_not_reset_does_something_else(tmp_path):
    network = extract(policy("gru"))
    stepper = CStepper(compiled(network, tmp_path).path, 4, 4)
    obs = observations()["student"].numpy()
    first, second = stepper(obs), stepper(obs)
    assert np.abs(first - second).max() > 1e-3
    stepper.reset(np.ones(4, dtype=bool))
    np.testing.assert_array_equal(stepper(obs), first)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_mathematical_functions_that_it_lists_are_left_to_the_linker(kind, tmp_path):
    text = CHeader(extract(policy(kind, "mish"))).text(ORIGIN)
    listed = re.search(r"from <math.h>\s+(.*)", text)[1].split(", ")
    (tmp_path / "policy.h").write_text(text)
    (tmp_path / "bridge.c").write_text(BRIDGE)
    subprocess.run(["cc", *STRICT, "-c", "bridge.c"], cwd=tmp_path, check=True)
    symbols = subprocess.run(["nm", "-u", "bridge.o"], cwd=tmp_path, check=True, capture_output=True, text=True)
    needed = {line.split()[-1] for line in symbols.stdout.splitlines()} - {"_GLOBAL_OFFSET_TABLE_"}
    # Freestanding or not, a compiler may copy and fill with these.
    assert needed - {"memcpy", "memset"} == set(listed)


def test_memory_is_constant_or_on_the_stack_and_none_is_allocated(tmp_path):
    network = extract(policy("lstm"))
    compiled(network, tmp_path)
    subprocess.run(["cc", *STRICT, "-Os", "-c", "bridge.c"], cwd=tmp_path, check=True)
    size = subprocess.run(
        ["size", "-A", "bridge.o"], cwd=tmp_path, check=True, capture_output=True, text=True
    ).stdout
    sections = {line.split()[0]: int(line.split()[1]) for line in size.splitlines() if line.startswith(".")}
    assert sections[".data"] == sections[".bss"] == 0
    assert sections[".rodata"] >= 4 * network.num_weights


def test_the_state_has_the_size_that_is_printed(tmp_path):
    for kind in KINDS:
        folder = tmp_path / kind
        folder.mkdir()
        network = extract(policy(kind))
        stepper = CStepper(compiled(network, folder).path, 1, 4)
        assert stepper.state_bytes == CHeader(network).state_bytes


def test_a_wide_network_needs_no_more_stack_than_a_narrow_one(tmp_path):
    used = []
    for width in (4, 400):
        folder = tmp_path / str(width)
        folder.mkdir()
        used.append(compiled(extract(policy("gru", hidden_dims=[width, width])), folder).stack_bytes)
    assert 0 < used[0] == used[1] < 600


@pytest.mark.parametrize("value", [0.1, 1.0, -0.0, 1e-30, 3e38, 123456789.0, 1.0 / 3.0])
def test_constants_read_back_to_the_same_bits(value):
    text = c_literal(value)
    assert text.endswith("f")
    assert np.float32(text[:-1]).tobytes() == np.float32(value).tobytes()


def test_without_a_compiler_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ExportError, match="no compiler 'no-such-compiler'; install gcc or clang, or name one"):
        compiled(extract(policy()), tmp_path)
