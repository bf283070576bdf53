"""Export to ONNX: a function of observations and hidden values, for any number of vehicles."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foundation.export.errors import ExportError

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel

OPSET = 18


def write_onnx(model: MLPModel, path: Path) -> None:
    """Write a model with its normaliser inside.

    Inputs are ``obs`` (N, O) and, for recurrent models, ``h_in`` and for LSTM ``c_in`` (layers, N, H), outputs
    ``actions`` (N, A), ``h_out`` and ``c_out``. N is dynamic; hidden values are zero at the start of a flight.

    Args:
        model: A model of rsl_rl.
        path: The file to write.
    """
    import torch

    wrapped = model.as_onnx(verbose=False).eval()
    names = [*wrapped.input_names, *wrapped.output_names]  # pyright: ignore
    batch = {name: {0 if name in ("obs", "actions") else 1: "batch"} for name in names}
    with warnings.catch_warnings():
        # torch warns of its older exporter, and that initial states must be inputs, which they are.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapped,
            wrapped.get_dummy_inputs(),  # pyright: ignore
            str(path),
            input_names=wrapped.input_names,  # pyright: ignore
            output_names=wrapped.output_names,  # pyright: ignore
            dynamic_axes=batch,
            opset_version=OPSET,
            dynamo=False,
        )


def require_onnxruntime() -> None:
    """Raise if onnxruntime is not installed.

    Raises:
        ExportError: Names the command that installs it.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ExportError('onnx files are checked with onnxruntime, which is missing; pip install -e ".[export]"')


class OnnxStepper:
    """Runs a file on onnxruntime."""

    def __init__(self, path: Path, num_envs: int) -> None:
        """Load the file."""
        require_onnxruntime()
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        states = self._session.get_inputs()[1:]
        self._names = [state.name for state in states]
        self._states = [np.zeros((state.shape[0], num_envs, state.shape[2]), np.float32) for state in states]

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Return the actions (N, A) for observations (N, O)."""
        inputs = {"obs": obs} | dict(zip(self._names, self._states, strict=True))
        actions, *states = (np.asarray(output) for output in self._session.run(None, inputs))
        self._states = states
        return actions

    def reset(self, dones: np.ndarray) -> None:
        """Reset the recurrent state of the vehicles in a mask of shape (N,)."""
        for state in self._states:
            state[:, dones] = 0.0
