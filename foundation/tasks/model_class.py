"""Another model class in the place of a task's own: settings that only the old one has give way."""

from __future__ import annotations

import re
from typing import Any

from omegaconf import DictConfig, OmegaConf

_CLASS = re.compile(r"agent\.(actor|critic|student|teacher)\.class_name=")


def classes_first(overrides: list[str]) -> list[str]:
    """Return overrides in an order in which a class comes before the settings that were given with it."""
    return sorted(overrides, key=lambda override: _CLASS.match(override) is None)


def give_way(group: DictConfig, key: str, value: Any) -> None:
    """Unset what a model has for its present class and the new one has not.

    Args:
        group: The runner's configuration; it is changed in place.
        key: The setting that is about to be changed.
        value: Its new value; nothing happens unless it names a class of a model.
    """
    owner, _, name = key.rpartition(".")
    if name != "class_name" and not (isinstance(value, dict) and "class_name" in value):
        return
    # They load torch, which the registry of tasks does without.
    from foundation.distill.checkpoint.run_network import ENCODER_RNN, OF_SOME_CLASSES
    from foundation.distill.runners.config import RslRlModelCfg

    new_class = value if name == "class_name" else value["class_name"]
    model = OmegaConf.select(group, owner if name == "class_name" else key)
    if not isinstance(model, DictConfig) or OmegaConf.get_type(model) is not RslRlModelCfg:
        return
    for setting, owners in OF_SOME_CLASSES.items():
        if new_class not in owners:
            model[setting] = None
    if not model.hidden_dims and new_class != ENCODER_RNN:
        model.hidden_dims = RslRlModelCfg().hidden_dims
