"""Export to ONNX: a function of observations and hidden values, for any number of vehicles."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from foundation.export.errors import ExportError
from foundation.export.inputs import image_groups

if TYPE_CHECKING:
    from rsl_rl.models import MLPModel

OPSET = 18
IMAGE_RANK = 4
"""Dimensions of a batch of images, (N, C, H, W); recurrent states have three."""


def write_onnx(model: MLPModel, path: Path, byte_images: Sequence[str] = ()) -> None:
    """Write a model with its normaliser inside.

    Inputs are ``obs`` (N, O), unless the model reads images only, one input per image group, named as the group,
    (N, C, H, W), and, for recurrent models, ``h_in`` and for LSTM ``c_in`` (layers, N, H); outputs ``actions``
    (N, A), ``h_out`` and ``c_out``. N is dynamic; hidden values are zero at the start of a flight.

    Args:
        model: A model of rsl_rl.
        path: The file to write.
        byte_images: Image groups that are uint8, which the file scales to [0, 1]; the others are float32.

    Raises:
        ExportError: If an image group has the name of another input or output.
    """
    policy = model.as_onnx(verbose=False).eval()
    names, outputs = list(policy.input_names), list(policy.output_names)  # pyright: ignore
    examples = list(policy.get_dummy_inputs())  # pyright: ignore
    images = image_groups(model)
    if images:
        _require_unique(names, outputs, images)
        policy = _WithImages(policy, [name in byte_images for name in names], bool(model.obs_groups))
        examples = [
            example.byte() if name in byte_images else example
            for name, example in zip(names, examples, strict=True)
        ]
        if not model.obs_groups:
            names, examples = names[1:], examples[1:]
    batch = {name: {0: "batch"} for name in ["obs", *images, "actions"] if name in [*names, *outputs]}
    batch |= {name: {1: "batch"} for name in [*names, *outputs] if name not in batch}
    with warnings.catch_warnings():
        # torch warns of its older exporter, and that initial states must be inputs, which they are.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            policy,
            tuple(examples),
            str(path),
            input_names=names,
            output_names=outputs,
            dynamic_axes=batch,
            opset_version=OPSET,
            dynamo=False,
        )


class _WithImages(torch.nn.Module):
    """An exportable policy of rsl_rl that reads bytes, and needs no vector observations if it has none."""

    def __init__(self, policy: torch.nn.Module, is_bytes: list[bool], has_vectors: bool) -> None:
        super().__init__()
        self.policy = policy
        self.is_bytes = is_bytes
        self.has_vectors = has_vectors

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the outputs of the policy."""
        read = list(inputs)
        if not self.has_vectors:
            read.insert(0, torch.zeros(read[0].shape[0], 0))
        scaled = [x.float() / 255.0 if bytes_ else x for x, bytes_ in zip(read, self.is_bytes, strict=True)]
        return self.policy(*scaled)


def _require_unique(names: list[str], outputs: list[str], images: list[str]) -> None:
    """Raise if an image group has the name of another input or output."""
    others = [name for name in names if name not in images] + outputs
    # With a group "obs" there are two inputs of this name.
    taken = [name for name in images if name in others or names.count(name) > 1]
    if taken:
        raise ExportError(
            f"the image group {taken[0]!r} has the name of another input or output of an ONNX file; rename the "
            "group, or use torchscript"
        )


def require_onnxruntime() -> None:
    """Raise if onnxruntime is not installed.

    Raises:
        ExportError: Names the command that installs it.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise ExportError(
            "onnx files are checked with onnxruntime, which is missing; pip install 'foundation-distill[export]'"
        )


class OnnxStepper:
    """Runs a file on onnxruntime."""

    def __init__(self, path: Path, num_envs: int) -> None:
        """Load the file."""
        require_onnxruntime()
        import onnxruntime

        self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        states = [tensor for tensor in inputs if tensor.name != "obs" and len(tensor.shape) != IMAGE_RANK]
        self._names = [state.name for state in states]
        self._given = [tensor.name for tensor in inputs if tensor.name not in self._names]
        self._states = [np.zeros((state.shape[0], num_envs, state.shape[2]), np.float32) for state in states]

    def __call__(self, obs: np.ndarray, *images: np.ndarray) -> np.ndarray:
        """Return the actions (N, A) for observations (N, O) and images (N, C, H, W)."""
        given = (obs, *images) if "obs" in self._given else images
        inputs = dict(zip(self._given, given, strict=True)) | dict(zip(self._names, self._states, strict=True))
        actions, *states = (np.asarray(output) for output in self._session.run(None, inputs))
        self._states = states
        return actions

    def reset(self, dones: np.ndarray) -> None:
        """Reset the recurrent state of the vehicles in a mask of shape (N,)."""
        for state in self._states:
            state[:, dones] = 0.0
