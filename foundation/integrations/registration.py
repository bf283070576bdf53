"""What registering a task at a host needs, whichever host it is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

DESCRIBED = {"class_name", "rnd_cfg", "obs_groups", "student", "teacher", "algorithm"}
"""Settings that arguments of a ``register_distillation`` describe, or that have one value."""
NOISE = {"class_name": "GaussianDistribution", "init_std": 0.1, "std_type": "scalar"}
"""Action noise of a student whose network nobody describes."""
RNN = {"rnn_hidden_dim": 64, "rnn_num_layers": 1}
"""Memory of such a student."""


def separated(options: dict[str, Any], runner: type, algorithm: type) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the runner, and those of the algorithm.

    Args:
        options: Settings by name.
        runner: The runner's configuration, a dataclass.
        algorithm: The algorithm's configuration, a dataclass.

    Raises:
        ValueError: If a name is neither's.
    """
    of_runner, of_algorithm = ({one.name for one in fields(kind)} - DESCRIBED for kind in (runner, algorithm))
    for name in options:
        if name not in of_runner | of_algorithm:
            raise ValueError(f"register_distillation has no option {nearest(name, of_runner | of_algorithm)}")
    chosen = {name: value for name, value in options.items() if name in of_algorithm}
    if "learning_rate" in chosen:
        # As in the class: whoever sets the rate alone gets just that rate.
        chosen.setdefault("learning_rate_schedule", "constant")
    return {name: value for name, value in options.items() if name in of_runner}, chosen


def nearest(name: str, known: Iterable[str]) -> str:
    """Return an unknown name with the nearest known one, for a message; without a near one, with all."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"{name!r}; did you mean {near[0]!r}?" if near else f"{name!r}; there are {', '.join(sorted(known))}"
