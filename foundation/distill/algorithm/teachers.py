"""Teachers: one or several of them, and their loading from checkpoints, runs and exported policies."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rsl_rl.models import MLPModel
from rsl_rl.utils import resolve_nn_activation
from tensordict import TensorDict
from torch import nn

from foundation.distill.checkpoint import CheckpointError, convert_checkpoint, load_checkpoint, load_weights
from foundation.distill.checkpoint.architecture import (
    NO_NOISE,
    architecture,
    difference,
    differing_settings,
    std_type,
)
from foundation.distill.checkpoint.loading import is_policy_file, missing_file
from foundation.distill.checkpoint.policy_files import PolicyFile, read_policy_file
from foundation.distill.checkpoint.run_network import build_model, network_of_run
from foundation.distill.log import logger


class TeacherEnsemble(nn.Module):
    """Teachers of one architecture; each environment's labels come from the teacher assigned to it.

    Every teacher computes actions for every environment, in one batched pass per teacher. So a recurrent teacher
    knows the past of an environment that is assigned to it later, and the assignment is never copied to the host.
    """

    def __init__(self, teacher: MLPModel, count: int) -> None:
        """Make ``count`` copies of a teacher."""
        super().__init__()
        self.models = nn.ModuleList(copy.deepcopy(teacher) for _ in range(count))
        self.assignment: torch.Tensor | None = None
        """Number of each environment's teacher, int64, shape (N,); None until the environment has given it."""

    def __len__(self) -> int:
        """Return the number of teachers."""
        return len(self.models)

    @property
    def is_recurrent(self) -> bool:
        """Whether the teachers are recurrent."""
        return self.models[0].is_recurrent  # pyright: ignore

    def assign(self, ids: torch.Tensor) -> None:
        """Assign teachers to environments.

        Args:
            ids: Number of each environment's teacher, (N,) or (N, 1), or one-hot, (N, number of teachers).

        Raises:
            ValueError: If there is no such teacher.
        """
        if ids.ndim == 2 and ids.shape[1] == len(self):
            ids = self._numbers(ids)
        # A copy: the environment may overwrite the tensor.
        ids = ids.reshape(-1).to(next(self.parameters()).device, torch.long, copy=True)
        if ids.min() < 0 or ids.max() >= len(self):
            raise ValueError(
                f"teacher ids must lie in [0, {len(self) - 1}], one per entry of teacher_checkpoint; "
                f"got {int(ids.min())} to {int(ids.max())}"
            )
        self.assignment = ids

    @staticmethod
    def _numbers(one_hot: torch.Tensor) -> torch.Tensor:
        if not bool(((one_hot != 0).sum(1) == 1).all()):
            raise ValueError(
                f"one-hot teacher ids must have one non-zero entry per environment, got {one_hot[:4].tolist()}"
            )
        return (one_hot != 0).long().argmax(1)

    def labels(self, mask_name: str) -> dict[str, Any]:
        """Return the labels of the step under way: each environment's teacher, and whether it is known yet.

        Args:
            mask_name: Name of the label that says whether a step counts in the loss.
        """
        known = self.assignment is not None
        return {"teacher_id": self.assignment if known else 0, mask_name: known}

    def forward(self, obs: TensorDict, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the assigned teachers' actions, shape (N, A); the first teacher's before any assignment."""
        return self.select([model(obs, *args, **kwargs) for model in self.models])

    def select(self, values: list[torch.Tensor]) -> torch.Tensor:
        """Return, for every environment, the value (N, …) of its teacher."""
        if self.assignment is None:
            return values[0]
        return torch.stack(values)[self.assignment, torch.arange(len(values[0]), device=values[0].device)]

    def reset(self, dones: torch.Tensor | None = None, hidden_state: Any = None) -> None:
        """Reset hidden states."""
        for i, model in enumerate(self.models):
            model.reset(dones, None if hidden_state is None else hidden_state[i])  # pyright: ignore

    def get_hidden_state(self) -> list[Any] | None:
        """Return each teacher's hidden state, or None if there is none yet."""
        states = [model.get_hidden_state() for model in self.models]  # pyright: ignore
        return None if states[0] is None else states


Teacher = MLPModel | TeacherEnsemble | PolicyFile
"""What an algorithm's teacher may be."""


def teachers_in(state: dict[str, torch.Tensor]) -> int | None:
    """Return how many teachers a saved state holds, or None if it is not of a :class:`TeacherEnsemble`."""
    numbers = {match[1] for name in state if (match := re.match(r"models\.(\d+)\.", name))}
    return len(numbers) or None


def parts_of(
    teacher: nn.Module, weights: dict[str, torch.Tensor]
) -> list[tuple[str, nn.Module, dict[str, torch.Tensor]]]:
    """Return every model of a teacher with the beginning of its names and its part of the weights."""
    if not isinstance(teacher, TeacherEnsemble):
        return [("", teacher, weights)]
    starts = [(f"models.{i}.", model) for i, model in enumerate(teacher.models)]
    return [
        (
            start,
            model,
            {name.removeprefix(start): value for name, value in weights.items() if name.startswith(start)},
        )
        for start, model in starts
    ]


class TeacherSite(NamedTuple):
    """What a teacher's network is built for."""

    obs: TensorDict
    """Example observations (N, …)."""
    obs_groups: list[str]
    """The groups that it reads."""
    num_actions: int
    """Number of actions."""

    def build(self, network: dict[str, Any]) -> MLPModel:
        """Return a model of a run's settings, see :func:`network_of_run`, with random weights."""
        return build_model(network, self.obs, self.obs_groups, "teacher", self.num_actions).to(self.device)

    @property
    def device(self) -> torch.device:
        """Where the observations are."""
        return next(iter(self.obs.values())).device


def load_teachers(
    teacher: MLPModel, checkpoint: str | Path | Sequence[str | Path], site: TeacherSite
) -> tuple[Teacher, dict[str, Any] | None]:
    """Load one checkpoint into the teacher, or each of several into a copy of it; none if a file is missing.

    Args:
        teacher: The configured teacher.
        checkpoint: Checkpoint of the teacher, or of each of several; a single one may be an exported policy.
        site: What another network would be built for.

    Returns:
        The teacher, what stands in its place (an exported policy, a network of other settings), or all of several;
        and these other settings.

    Raises:
        CheckpointError: If a checkpoint cannot be used.
    """
    missing = missing_file(checkpoint) is not None
    if not isinstance(checkpoint, (str, Path)):
        ensemble = TeacherEnsemble(teacher, len(checkpoint))
        for model, path in [] if missing else zip(ensemble.models, checkpoint, strict=True):
            load_teacher(model, path)
        return ensemble, None
    if missing:
        return teacher, None
    if is_policy_file(checkpoint):
        what = f"teacher_checkpoint {checkpoint}"
        return PolicyFile(read_policy_file(checkpoint, what), *site, what), None
    return _load_one(teacher, checkpoint, site)


def _load_one(teacher: MLPModel, path: str | Path, site: TeacherSite) -> tuple[MLPModel, dict[str, Any] | None]:
    """Load a teacher, with the network of its run if the configured one is another."""
    weights, role = _read_teacher(path, site.device)
    network = network_of_run(path, role)
    reason = None if network is None else differs_from_run(teacher, network, weights)
    if network is not None and reason is not None:
        try:
            built = site.build(network)
        except Exception:  # a class or observations that are not here, or values that no network has
            built = None
        if built is not None and difference(match_noise(built, weights), built.state_dict()) is None:
            logger.info(f"[DAgger] the teacher's network is that of its run, not the configured one: {reason}")
            load_weights(built, match_noise(built, weights), f"teacher_checkpoint {path}")
            return built, network
    load_weights(teacher, match_noise(teacher, weights), f"teacher_checkpoint {path}")
    return teacher, None


def differs_from_run(teacher: nn.Module, network: dict[str, Any], weights: dict[str, torch.Tensor]) -> str | None:
    """Return how a teacher differs from its run's network, in words; None if it does not.

    Args:
        teacher: The configured teacher.
        network: Settings of the run's network, which alone tell the activation function.
        weights: The teacher's weights.
    """
    own = teacher.state_dict()
    if not lacks_noise(teacher, weights) and (reason := difference(weights, own)) is not None:
        return reason.partition(";")[0]
    layers = [type(layer) for layer in getattr(teacher, "mlp", [])]
    if len(layers) > 1 and isinstance(network.get("activation"), str):
        try:
            fits = type(resolve_nn_activation(network["activation"])) in layers
        except ValueError:
            fits = True  # a name that this version does not know tells nothing
        if not fits:
            return f"activation is {network['activation']} in the run and {layers[1].__name__} in the model"
    return None


def load_teacher(model: nn.Module, path: str | Path) -> None:
    """Load the teacher of a PPO or a distillation run.

    Raises:
        CheckpointError: If the checkpoint cannot be used.
    """
    what = f"teacher_checkpoint {path}"
    if is_policy_file(path) or isinstance(model, PolicyFile):
        raise CheckpointError(
            f"{what}: an exported policy can only be the one teacher of a whole run; give the checkpoint of its "
            "run instead"
        )
    weights, _ = _read_teacher(path, next((parameter.device for parameter in model.parameters()), None))
    load_weights(model, match_noise(model, weights), what)


def _read_teacher(path: str | Path, device: torch.device | None) -> tuple[dict[str, torch.Tensor], str]:
    """Return the weights that a checkpoint has for a teacher, and whether they are of an actor or a teacher."""
    what = f"teacher_checkpoint {path}"
    state = convert_checkpoint(load_checkpoint(path, map_location=device), what)
    role = next((role for role in ("actor", "teacher") if state.get(f"{role}_state_dict")), None)
    if role is None:
        raise CheckpointError(
            f"{what} holds neither an actor nor a teacher: {sorted(state)}; if it is of another library, export "
            "the policy as TorchScript or ONNX and name that file"
        )
    weights = state[f"{role}_state_dict"]
    if teachers_in(weights) is not None:
        raise CheckpointError(f"{what} holds {teachers_in(weights)} teachers, expected one; name theirs in a list")
    return weights, role


def match_noise(model: nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights that fit a teacher, where one of the two has no standard deviation.

    It takes no part in acting. A model whose weights come without one is made deterministic: the one of its
    configuration would be made up.
    """
    if lacks_noise(model, weights):
        model.distribution = None  # pyright: ignore
    elif _only_noise_differs(model, weights) and std_type(model.state_dict()) == NO_NOISE:
        return {name: value for name, value in weights.items() if not name.startswith("distribution.")}
    return weights


def lacks_noise(model: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    """Return whether weights lack the standard deviation that a model has, and fit it otherwise."""
    return _only_noise_differs(model, weights) and std_type(weights) == NO_NOISE


def _only_noise_differs(model: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    differing = differing_settings(architecture(weights), architecture(model.state_dict()))
    return differing == ["distribution_cfg.std_type"]
