"""Teachers that are exported policies: TorchScript and ONNX files that map observations to mean actions."""

from __future__ import annotations

import importlib.util
import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tensordict import TensorDict
from torch import nn

from foundation.distill.checkpoint.files import CheckpointError
from foundation.distill.checkpoint.loading import is_torchscript

CONTENTS = "_extra_state"
"""Entry of a saved state that holds a policy file, as bytes; the name is torch's."""
_ONNX = "policy.onnx"

Function = Callable[[torch.Tensor], torch.Tensor]
"""Maps observations (N, O) to actions (N, A), both float32."""


class PolicyFile(nn.Module):
    """An exported policy in the place of a teacher's network.

    It has no standard deviation and no hidden state. Its saved state holds the whole file, so that a run's
    checkpoint needs no other.
    """

    is_recurrent = False
    obs_normalization = False
    distribution = None

    def __init__(
        self, contents: torch.Tensor, obs: TensorDict, obs_groups: Sequence[str], num_actions: int, what: str
    ) -> None:
        """Load the policy and try it on observations of zeros.

        Args:
            contents: The file, as :func:`read_policy_file` returns it.
            obs: Example observations (N, …).
            obs_groups: The groups that the policy reads, concatenated in this order.
            num_actions: Number of actions A.
            what: How messages call the file.

        Raises:
            CheckpointError: If the file cannot be used with these observations and actions.
        """
        super().__init__()
        self.obs_groups = list(obs_groups)
        self._num_inputs = sum(_width(group, obs[group], what) for group in self.obs_groups)
        self._act: Function
        self._num_actions, self._device = num_actions, obs[self.obs_groups[0]].device
        self._load(contents, what)

    def forward(
        self,
        obs: TensorDict,
        masks: torch.Tensor | None = None,
        hidden_state: Any = None,
        stochastic_output: bool = False,
    ) -> torch.Tensor:
        """Return the actions, shape (N, A), for observations (N, …); the other arguments are those of rsl_rl."""
        return self._act(torch.cat([obs[group] for group in self.obs_groups], dim=-1).float())

    def reset(self, dones: torch.Tensor | None = None, hidden_state: Any = None) -> None:
        """Do nothing: there is no hidden state."""

    def get_hidden_state(self) -> None:
        """Return None: there is no hidden state."""

    def get_extra_state(self) -> torch.Tensor:
        """Return the file, uint8, shape (bytes,)."""
        return self._contents

    def set_extra_state(self, state: torch.Tensor) -> None:
        """Take another file.

        Raises:
            CheckpointError: If it cannot be used; the present one stays.
        """
        self._load(state, "the checkpoint's teacher")

    def _load(self, contents: torch.Tensor, what: str) -> None:
        function = _function(contents.cpu().numpy().tobytes(), self._device, what)
        zeros = torch.zeros(2, self._num_inputs, device=self._device)
        reads = f"the {self._num_inputs} numbers of the observation groups {', '.join(self.obs_groups)}"
        try:
            actions = function(zeros)
        except Exception as error:  # both runtimes raise errors of their own
            reason = " ".join(str(error).split())[-300:]
            raise CheckpointError(
                f"{what} cannot read {reads}; set obs_groups to those that it was trained on: {reason}"
            ) from error
        shape = list(actions.shape) if isinstance(actions, torch.Tensor) else type(actions).__name__
        if shape != [2, self._num_actions]:
            raise CheckpointError(
                f"{what} returns {shape} for two observations, expected actions {[2, self._num_actions]}; "
                "export a policy of one output, for this environment"
            )
        self._act, self._contents = function, contents.to(self._device)


def read_policy_file(path: str | Path, what: str) -> torch.Tensor:
    """Return a policy file as bytes, uint8, shape (bytes,); an ONNX file together with its ``.data`` file.

    Raises:
        CheckpointError: If it does not exist.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{what} does not exist; give the path of a file")
    contents = path.read_bytes()
    if path.suffix == ".onnx":
        packed, data = io.BytesIO(), path.with_name(f"{path.name}.data")
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(_ONNX, contents)
            if data.is_file():
                archive.writestr(data.name, data.read_bytes())
        contents = packed.getvalue()
    return torch.frombuffer(bytearray(contents), dtype=torch.uint8)


def _width(group: str, values: torch.Tensor, what: str) -> int:
    if values.ndim != 2:
        raise CheckpointError(
            f"{what} would read observation group {group!r} of shape {list(values.shape[1:])}, but policy files "
            "read vectors only; name groups of vectors in obs_groups, or give the checkpoint of its run"
        )
    return values.shape[1]


def _function(contents: bytes, device: torch.device, what: str) -> Function:
    try:
        if is_torchscript(io.BytesIO(contents)):
            return _torchscript(contents, device, what)
        return _onnx(contents, what)
    except CheckpointError:
        raise
    except Exception as error:  # both runtimes raise errors of their own
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{what} is damaged, or no TorchScript or ONNX file: {reason}") from error


def _torchscript(contents: bytes, device: torch.device, what: str) -> Function:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(io.BytesIO(contents), map_location=device).eval()
    if any("weight_hh_l" in name for name in module.state_dict()):
        raise _recurrent(what)
    for parameter in module.parameters():
        # Rollouts run in inference mode, where weights with gradients cannot be used.
        parameter.requires_grad_(False)
    return lambda obs: module(obs)  # a module itself would become a part of the teacher's state


def _onnx(contents: bytes, what: str) -> Function:
    if importlib.util.find_spec("onnxruntime") is None:
        raise CheckpointError(
            f"{what} is an ONNX file, which needs onnxruntime; install it with: "
            "pip install 'foundation-distill[export]'"
        )
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(io.BytesIO(contents)) as archive:
            archive.extractall(folder)
        session = onnxruntime.InferenceSession(str(Path(folder) / _ONNX), providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    names = [value.name for value in inputs]
    if "h_in" in names:
        raise _recurrent(what)
    if len(names) != 1:
        raise CheckpointError(f"{what} has the inputs {', '.join(names)}, expected one, the observations")
    name, one_at_a_time = names[0], inputs[0].shape[:1] == [1]

    def act(obs: torch.Tensor) -> torch.Tensor:
        values = obs.cpu().numpy()
        # rsl_rl and Isaac Lab export for one environment.
        parts = values[:, None] if one_at_a_time else [values]
        actions = [torch.from_numpy(session.run([outputs[0].name], {name: part})[0]) for part in parts]
        return torch.cat(actions).to(obs.device)

    return act


def _recurrent(what: str) -> CheckpointError:
    return CheckpointError(
        f"{what} is an exported recurrent policy, whose memory a run cannot reset and save; give the checkpoint "
        "of its run instead"
    )
