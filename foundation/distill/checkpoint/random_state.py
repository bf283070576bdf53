"""The states of all global random generators, as tensors and plain values."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def rng_state(device: str) -> dict[str, Any]:
    """Return the states of torch's generators of the CPU and of a device, of NumPy's and of Python's."""
    drawn: Any = np.random.get_state(legacy=False)  # noqa: NPY002 - environments may use it
    version, words, next_gauss = random.getstate()
    state: dict[str, Any] = {
        "cpu": torch.get_rng_state(),
        "numpy": {**drawn, "state": {**drawn["state"], "key": drawn["state"]["key"].tolist()}},
        "python": {"version": version, "words": torch.tensor(words), "gauss": next_gauss},
    }
    if torch.device(device).type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_rng_state(state: dict[str, Any], device: str) -> None:
    """Restore the states that :func:`rng_state` returned; a GPU's only on a GPU."""
    torch.set_rng_state(state["cpu"])
    drawn = state["numpy"]
    key = np.array(drawn["state"]["key"], dtype=np.uint32)
    np.random.set_state({**drawn, "state": {**drawn["state"], "key": key}})  # noqa: NPY002
    python = state["python"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    if torch.device(device).type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
