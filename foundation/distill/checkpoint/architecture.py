"""The settings of a model's configuration that its weights tell, to say which of them differ."""

from __future__ import annotations

import re
from typing import Any

import torch

from foundation.distill.checkpoint.run_network import ENCODER_RNN

_GATES = {3: "gru", 4: "lstm"}
"""Rows of a recurrent layer's weights, by the width of its hidden state."""
_OF_RECURRENT = ("rnn_type", "rnn_hidden_dim", "rnn_num_layers", "encoder_dims", "skip_connection")
NO_NOISE = "none"
"""``std_type`` of weights without a standard deviation."""


def architecture(weights: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that weights of an rsl_rl model tell, by name.

    Besides settings there are ``inputs`` and ``outputs``, the numbers that the network reads and gives. Empty if
    the weights are of no such model. The activation function cannot be seen.

    Args:
        weights: A model's state, as ``state_dict()`` returns it.
    """
    weights = {name: value for name, value in weights.items() if isinstance(value, torch.Tensor) and value.numel()}
    matches = [re.fullmatch(r"mlp\.(\d+)\.weight", name) for name in weights]
    layers = sorted(int(match[1]) for match in matches if match is not None)
    shapes = [list(weights[f"mlp.{layer}.weight"].shape) for layer in layers]
    if not shapes or any(len(shape) != 2 for shape in shapes):
        return {}
    convolves = any(name.startswith("cnns.") for name in weights)
    found: dict[str, Any] = {"class_name": "CNNModel" if convolves else "MLPModel"}
    inputs: int | None = None if convolves else shapes[0][1]
    recurrent = [weights.get(f"rnn.rnn.weight_{kind}_l0") for kind in ("ih", "hh")]
    if all(value is not None and value.ndim == 2 for value in recurrent):
        rows, width = recurrent[1].shape  # pyright: ignore
        found |= {
            "class_name": "RNNModel",
            "rnn_type": _GATES.get(rows // width),
            "rnn_hidden_dim": width,
            "rnn_num_layers": sum(name.startswith("rnn.rnn.weight_hh_l") for name in weights),
        }
        inputs = recurrent[0].shape[1]  # pyright: ignore
        encoder = [value for name, value in weights.items() if re.fullmatch(r"encoder\.\d+\.weight", name)]
        if encoder:
            inputs = encoder[0].shape[1]
        skips = shapes[0][1] == width + inputs
        if encoder or skips or len(shapes) == 1:
            found |= {
                "class_name": ENCODER_RNN,
                "encoder_dims": [len(value) for value in encoder],
                "skip_connection": skips,
            }
    found |= {
        "hidden_dims": [rows for rows, _ in shapes[:-1]],
        "obs_normalization": any(name.startswith("obs_normalizer.") for name in weights),
        "distribution_cfg.std_type": std_type(weights),
        "outputs": shapes[-1][0],
    }
    return found if inputs is None else found | {"inputs": inputs}


def std_type(weights: dict[str, Any]) -> str:
    """Return how a Gaussian's constant standard deviation is saved: ``scalar``, ``log`` or :data:`NO_NOISE`."""
    kinds = {"scalar": "distribution.std_param", "log": "distribution.log_std_param"}
    return next((kind for kind, name in kinds.items() if name in weights), NO_NOISE)


def difference(file: dict[str, Any], model: dict[str, Any]) -> str | None:
    """Return which settings of a file's model and of the configured one differ, and the values that would fit.

    Args:
        file: Weights of the file.
        model: Weights of the configured model.

    Returns:
        Words that go on after "does not fit the configured model: "; None if the weights tell no difference.
    """
    theirs, ours = architecture(file), architecture(model)
    differing = differing_settings(theirs, ours)
    if not differing:
        return None
    facts = [_fact(name, theirs, ours) for name in differing]
    return f"{', '.join(facts)}; {_advice(differing, theirs, ours)}"


def differing_settings(theirs: dict[str, Any], ours: dict[str, Any]) -> list[str]:
    """Return the names in which two architectures differ; none if either is empty."""
    if not theirs or not ours:
        return []
    differing = [name for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)]
    if "class_name" in differing:
        differing = [name for name in differing if name not in _OF_RECURRENT]
    if theirs["outputs"] in (2 * ours["outputs"], ours["outputs"] / 2):
        # One of the two has a standard deviation that the network computes.
        differing = [name for name in differing if name != "distribution_cfg.std_type"]
    return differing


def _fact(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    there, here = theirs.get(name), ours.get(name)
    if name == "hidden_dims" and there and here and len(there) == len(here):
        index = next(i for i in range(len(there)) if there[i] != here[i])
        return f"{name}[{index}] is {there[index]} in the file and {here[index]} in the model"
    if name in ("inputs", "outputs"):
        return f"its {name} differ, {there} numbers in the file and {here} in the model"
    return f"{name} is {there} in the file and {here} in the model"


def _advice(differing: list[str], theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    advice = [_setting(name, theirs) for name in differing if name not in ("inputs", "outputs")]
    if "class_name" in differing:
        advice += [f"{name}={theirs[name]}" for name in _OF_RECURRENT if name in theirs]
    if advice:
        advice = [f"set {', '.join(advice)}"]
    if "inputs" in differing:
        advice.append("set obs_groups and the environment to those of the file's run")
    if "outputs" in differing:
        advice.append(_outputs_advice(theirs, ours))
    return ", and ".join(advice)


def _setting(name: str, theirs: dict[str, Any]) -> str:
    if name == "distribution_cfg.std_type":
        if theirs[name] == NO_NOISE:
            return "distribution_cfg=None"
        return f"distribution_cfg to a GaussianDistribution of std_type={theirs[name]}"
    return f"{name}={theirs[name]}"


def _outputs_advice(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    if theirs["outputs"] == 2 * ours["outputs"]:
        return (
            "if the file has as many actions, its standard deviation depends on the state: set "
            "distribution_cfg.class_name=HeteroscedasticGaussianDistribution"
        )
    if 2 * theirs["outputs"] == ours["outputs"]:
        return "if the file has as many actions, set distribution_cfg.class_name=GaussianDistribution"
    return "choose an environment with as many actions"


def shapes_differ(file: dict[str, Any], model: dict[str, Any]) -> str | None:
    """Return the first entry whose shape differs, in words; None if there is none.

    Args:
        file: Weights of the file.
        model: Weights of the configured model.
    """
    for name, value in file.items():
        own = model.get(name)
        if isinstance(value, torch.Tensor) and isinstance(own, torch.Tensor) and value.shape != own.shape:
            return f"{name} has shape {list(value.shape)} in the file and {list(own.shape)} in the model"
    return None
