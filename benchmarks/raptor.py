"""RAPTOR's released policy (package ``foundation-policy``, NumPy only) as a policy of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Raptor:
    """The released policy, with the hidden state of every vehicle."""

    def __init__(self) -> None:
        self._policy = _released()
        self._policy.reset()

    def __call__(self, obs: Any) -> torch.Tensor:
        return torch.from_numpy(self._policy.evaluate_step(obs["student"].numpy()).astype(np.float32))

    def reset(self, dones: torch.Tensor) -> None:
        for layer in self._policy.layers:
            if getattr(layer, "state", None) is not None:
                layer.state[dones.numpy() > 0] = layer.initial_hidden_state


def _released() -> Any:
    """Return the package's policy, for which it reads a file of its own; a script here has the package's name."""
    path, script = sys.path, sys.modules.pop("foundation_policy", None)
    sys.path = [folder for folder in path if Path(folder).resolve() != Path(__file__).parent.resolve()]
    try:
        from foundation_policy import Raptor as Released

        return Released()
    finally:
        sys.path = path
        sys.modules.pop("foundation_policy", None)
        if script is not None:
            sys.modules["foundation_policy"] = script
