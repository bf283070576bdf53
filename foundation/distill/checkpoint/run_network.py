"""The network of a checkpoint's policy, as its run's ``params/agent.yaml`` describes it."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

from rsl_rl.models import MLPModel
from rsl_rl.utils import resolve_callable
from tensordict import TensorDict

from foundation.distill.log import logger

_OF_4 = ("stochastic", "init_noise_std", "noise_std_type", "state_dependent_std")
ENCODER_RNN = "foundation.distill:EncoderRnnModel"
OF_SOME_CLASSES = {
    "rnn_type": ("RNNModel", ENCODER_RNN),
    "rnn_hidden_dim": ("RNNModel", ENCODER_RNN),
    "rnn_num_layers": ("RNNModel", ENCODER_RNN),
    "cnn_cfg": ("CNNModel",),
    "encoder_dims": (ENCODER_RNN,),
    "skip_connection": (ENCODER_RNN,),
}
"""Settings that not every model class has, and those that have them."""
_WITHOUT_MEMORY = ("MLPModel", "CNNModel")
_CONSTANT, _STATE_DEPENDENT = "GaussianDistribution", "HeteroscedasticGaussianDistribution"


def network_of_run(checkpoint: str | Path, role: str) -> dict[str, Any] | None:
    """Return the settings of a model as the checkpoint's run configured it, as rsl_rl 5 names them.

    Args:
        checkpoint: The checkpoint; its run's folder is the one that it lies in.
        role: ``actor``, ``student`` or ``teacher``.

    Returns:
        The settings, with ``class_name``; None if the folder has none that can be read, or PyYAML is missing.
    """
    settings = Path(checkpoint).parent / "params" / "agent.yaml"
    if not settings.is_file():
        return None
    try:
        from foundation.distill.checkpoint.saved_yaml import SavedYamlError, read_yaml
    except ModuleNotFoundError:
        _say_that_runs_are_not_read()
        return None
    try:
        agent = read_yaml(settings)
    except (OSError, SavedYamlError):
        return None
    return network_in(agent, role) if isinstance(agent, dict) else None


@functools.cache
def _say_that_runs_are_not_read() -> None:
    logger.warning("[DAgger] PyYAML is not installed: networks are not read from the folders of runs")


def network_in(agent: dict[str, Any], role: str) -> dict[str, Any] | None:
    """Return the settings of a model in a runner's configuration of rsl_rl 2 to 5, as rsl_rl 5 names them.

    Args:
        agent: The runner's configuration.
        role: ``actor``, ``student`` or ``teacher``.
    """
    model, policy = agent.get(role), agent.get("policy")
    if isinstance(model, dict):
        found = {name: value for name, value in model.items() if name not in _OF_4}
        if model.get("stochastic") and model.get("distribution_cfg") is None:
            found["distribution_cfg"] = _noise(model)
    elif isinstance(policy, dict):
        try:
            found = _of_3(policy, role, bool(agent.get("empirical_normalization")))
        except (KeyError, TypeError, ValueError, AttributeError):  # no policy of rsl_rl
            return None
    else:
        return None
    if not found.get("class_name"):
        return None
    if found.get("rnn_type") is None and found["class_name"] in _WITHOUT_MEMORY:
        # mjlab writes the settings of every class, with numbers where they mean nothing.
        found = {name: value for name, value in found.items() if not name.startswith("rnn_")}
    return model_kwargs(found)


def model_kwargs(cfg: dict[str, Any]) -> dict[str, Any]:
    """Return a model's configuration without unset values of settings that not every model class has."""
    return {name: value for name, value in cfg.items() if name not in OF_SOME_CLASSES or value is not None}


def build_model(
    network: dict[str, Any], obs: TensorDict, obs_groups: list[str], role: str, num_actions: int
) -> MLPModel:
    """Return a model of a run's settings with random weights.

    Args:
        network: The settings, as :func:`network_in` returns them.
        obs: Example observations (N, …).
        obs_groups: The groups that the model reads.
        role: Name of the model.
        num_actions: Number of actions.
    """
    settings = copy.deepcopy(network)
    model_class = resolve_callable(settings.pop("class_name"))
    return model_class(obs, {role: obs_groups}, role, num_actions, **settings)


def groups_in(agent: dict[str, Any], role: str) -> list[str] | None:
    """Return the observation groups that a model reads in a runner's configuration; None if it does not say."""
    groups = agent.get("obs_groups")
    found = groups.get(role) if isinstance(groups, dict) else None
    return found if isinstance(found, list) else None


def _of_3(policy: dict[str, Any], role: str, normalizes: bool) -> dict[str, Any]:
    """Return the settings of one model of rsl_rl 2 or 3, which configured all of them together."""
    name = str(policy.get("class_name", ""))
    is_recurrent = "Recurrent" in name and (role != "teacher" or bool(policy.get("teacher_recurrent")))
    found = {
        "class_name": "RNNModel" if is_recurrent else "CNNModel" if "CNN" in name else "MLPModel",
        "hidden_dims": policy[f"{role}_hidden_dims"],
        "activation": policy["activation"],
        "obs_normalization": bool(policy.get(f"{role}_obs_normalization") or normalizes),
        # In a distillation run only the student has a standard deviation.
        "distribution_cfg": None if role == "teacher" else _noise(policy),
    }
    if is_recurrent:
        found |= {key: policy.get(key) for key in ("rnn_type", "rnn_hidden_dim", "rnn_num_layers")}
        found["rnn_hidden_dim"] = found["rnn_hidden_dim"] or policy.get("rnn_hidden_size")
    if "CNN" in name:
        found["cnn_cfg"] = policy.get(f"{role}_cnn_cfg")
    return found


def _noise(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "class_name": _STATE_DEPENDENT if settings.get("state_dependent_std") else _CONSTANT,
        "init_std": settings.get("init_noise_std") or 1.0,
        "std_type": settings.get("noise_std_type") or "scalar",
    }
