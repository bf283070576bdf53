"""Export a policy in one of the formats; a file gets its name only after it has passed the check."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.export.c_header import CHeader, Origin
from foundation.export.c_library import BRIDGE, Compiled, CStepper, c_compiler, compile_c
from foundation.export.closed_loop import Agreement, require_agreement, require_tolerance
from foundation.export.crazyflie import (
    NOWHERE_CLAMPED,
    NUM_ACTIONS,
    NUM_OBS,
    Vehicle,
    compile_crazyflie,
    write_crazyflie,
)
from foundation.export.crazyflie_stepper import CrazyflieStepper
from foundation.export.errors import ExportError
from foundation.export.inputs import byte_images
from foundation.export.network import Network, extract
from foundation.export.onnx_file import OnnxStepper, require_onnxruntime, write_onnx
from foundation.export.torchscript_file import TorchScriptStepper, write_torchscript

if TYPE_CHECKING:
    from rsl_rl.env import VecEnv
    from rsl_rl.models import MLPModel

FILES = {"onnx": "policy.onnx", "torchscript": "policy.pt", "c": "policy.h", "crazyflie": "crazyflie"}
"""File or folder of each format."""
ALL = ("onnx", "torchscript", "c")
"""Formats of ``all``."""
PROCESSOR_HZ = 168e6
"""Clock of the Crazyflie's STM32F405 [Hz]."""
CYCLES_PER_MULTIPLY, CYCLES_PER_FUNCTION = 8, 150
"""Assumptions, not measurements: two loads, multiply, add and the loop, with weights in flash memory; tanhf."""
CRAZYFLIE_TOLERANCE = 2e-3
"""Largest difference of an action of a Crazyflie's controller, relative to the actions' scale. The controller
rounds position and heading to about 1e-7 m and rad. A recurrent policy may integrate their errors, and then sums
the rounding up over an episode: to 5e-4 with a GRU of 16."""
LONGEST_STEP = 0.6e-3
"""Longest step on the vehicle [s]; the firmware's loop has a period of 1 ms, which other work needs, too."""


@dataclass(frozen=True)
class Source:
    """A policy and its origin."""

    model: MLPModel
    """The policy, on the CPU."""
    origin: Origin
    make_env: Callable[[], VecEnv]
    """Returns equal environments that the policy can fly."""
    vehicle: Vehicle | None = None
    """Vehicle of a Crazyflie's controller; ``make_env`` then has the nominal vehicle, exact sensors and rotors at
    hover speed at first."""
    tolerance: float | None = None
    """Largest difference of an action on the same observations, relative to the actions' scale; None for the
    format's own: ``TOLERANCE``, or ``CRAZYFLIE_TOLERANCE``."""

    def __post_init__(self) -> None:
        """Check the tolerance.

        Raises:
            ExportError: If it is not a share.
        """
        if self.tolerance is not None:
            require_tolerance(self.tolerance)


@dataclass(frozen=True)
class Export:
    """A file or folder that has been written and checked."""

    path: Path
    facts: str
    """Size and structure, as printed."""
    agreement: Agreement


def export(source: Source, form: str, folder: Path) -> Export:
    """Write a policy into ``folder`` and compare it with the original one.

    Args:
        source: The policy.
        form: One of ``FILES``.
        folder: Where the file or folder goes; a file of the same name is replaced once the new one is checked.

    Raises:
        ExportError: If the policy cannot be written so, does not do what the policy does, or the folder of a
            controller exists. The folder is then unchanged.
    """
    target = folder / FILES[form]
    if form == "crazyflie" and target.exists():
        raise ExportError(f"{target} exists, and may hold changes of yours; move it or give another folder")
    is_new = not folder.exists()
    was_training = source.model.training
    source.model.eval()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".export_") as temporary:
            written = Path(temporary) / FILES[form]
            facts, agreement = _WRITERS[form](source, written, Path(temporary))
            size = _size(written)
            os.replace(written, target)
    except OSError as error:
        raise ExportError(f"{target} cannot be written: {error}") from error
    finally:
        source.model.train(was_training)
        if is_new and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return Export(target, f"{size / 1000:.1f} kB, {facts}", agreement)


def require_tools(forms: Sequence[str]) -> None:
    """Raise if a tool that checks a format is not installed.

    Raises:
        ExportError: Names the tool and how to install it.
    """
    if "onnx" in forms:
        require_onnxruntime()
    if {"c", "crazyflie"} & set(forms):
        c_compiler()


def _onnx(source: Source, path: Path, work: Path) -> tuple[str, Agreement]:
    write_onnx(source.model, path, byte_images(source.model, source.make_env))
    agreement = require_agreement(source.model, partial(OnnxStepper, path), source.make_env, source.tolerance)
    return "any number of vehicles at once", agreement


def _torchscript(source: Source, path: Path, work: Path) -> tuple[str, Agreement]:
    write_torchscript(source.model, path, byte_images(source.model, source.make_env))
    agreement = require_agreement(
        source.model, partial(TorchScriptStepper, path), source.make_env, source.tolerance
    )
    if source.model.is_recurrent:
        return "one vehicle, keeps its hidden values", agreement
    return "any number of vehicles at once", agreement


def _c(source: Source, path: Path, work: Path) -> tuple[str, Agreement]:
    network = extract(source.model)
    header = CHeader(network)
    path.write_text(header.text(source.origin))
    bridge = work / "bridge.c"
    bridge.write_text(BRIDGE)
    compiled = compile_c([bridge], [work], work / "policy.so")
    make_stepper = partial(CStepper, compiled.path, num_actions=network.num_actions)
    agreement = require_agreement(source.model, make_stepper, source.make_env, source.tolerance)
    facts = (
        f"{header.structure}: {4 * network.num_weights} bytes of weights, {network.num_multiplies} "
        f"multiplications a step, {header.state_bytes} bytes of state, {_stack(compiled)}"
    )
    return facts, agreement


def _crazyflie(source: Source, path: Path, work: Path) -> tuple[str, Agreement]:
    network, vehicle = extract(source.model), source.vehicle
    if vehicle is None or (network.num_obs, network.num_actions) != (NUM_OBS, NUM_ACTIONS):
        raise ExportError(
            f"a Crazyflie's controller needs a student of {NUM_OBS} observations and {NUM_ACTIONS} actions, "
            f"this policy has {network.num_obs} and {network.num_actions}"
        )
    seconds = _require_time(network)
    path.mkdir()
    write_crazyflie(CHeader(network).text(source.origin), vehicle, source.origin, path)
    # In the environment a vehicle may stray farther than the setpoint's limit; the policies must agree there, too.
    compiled = compile_crazyflie(path, work / "controller.so", *NOWHERE_CLAMPED)
    make_stepper = partial(CrazyflieStepper, compiled.path, vehicle, must_fly=True)
    tolerance = CRAZYFLIE_TOLERANCE if source.tolerance is None else source.tolerance
    agreement = require_agreement(source.model, make_stepper, source.make_env, tolerance, to_rotors=_clipped)
    facts = (
        f"policy at {vehicle.rate} Hz, {_stack(compiled)}, about {1e3 * seconds:.2f} ms a step there "
        f"({CYCLES_PER_MULTIPLY} cycles a multiplication and {CYCLES_PER_FUNCTION} a function assumed)"
    )
    if agreement.terminated:
        facts += (
            f"; the policy left its bounds {agreement.terminated} times, where the controller stops the motors"
        )
    return facts, agreement


def _require_time(network: Network) -> float:
    """Return the estimated time of a step on the vehicle [s]."""
    cycles = network.num_multiplies * CYCLES_PER_MULTIPLY + network.num_functions * CYCLES_PER_FUNCTION
    seconds = cycles / PROCESSOR_HZ
    if seconds > LONGEST_STEP:
        raise ExportError(
            f"a step of this policy would take about {1e3 * seconds:.2f} ms on the vehicle, whose loop waits for "
            f"it and comes every millisecond; distil a student of at most {1e3 * LONGEST_STEP:g} ms, such as "
            "the default one, a GRU of 16, which takes 0.14 ms and flies better than 128 x 128: see docs/DEPLOY.md"
        )
    return seconds


def _clipped(actions: np.ndarray) -> np.ndarray:
    return actions.clip(-1.0, 1.0)


_WRITERS = {"onnx": _onnx, "torchscript": _torchscript, "c": _c, "crazyflie": _crazyflie}


def _stack(compiled: Compiled) -> str:
    if compiled.stack_bytes is None:
        return f"stack unknown to {compiled.compiler}"
    return f"at most {compiled.stack_bytes} bytes of stack ({compiled.compiler} -Os on this machine)"


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
