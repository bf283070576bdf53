"""What a flight along a path is flown in."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from foundation.sim.paths import Path, make_path
from foundation.tasks.point_ctrl.references import ReferenceTable
from foundation.tasks.point_ctrl.states_cfg import InitCfg, TerminationCfg

LOST_M = 2.0
"""Distance from the reference, per axis, at which a vehicle counts as lost [m]."""
LOST_MPS = 10.0
"""Velocity relative to the reference, per axis, at which a vehicle counts as lost [m/s]."""
_AT_A_PHASE = ("circle", "figure_eight", "lissajous")


def tracking_cfg(env_cfg: Any) -> Any:
    """Return an environment's configuration for flights along paths.

    Vehicles begin on the path with its velocity, level and with the rotors at hover; the sensors are as they were.
    The family has as many vehicles as there are environments, and bounds are those that count as lost here.
    """
    randomization = env_cfg.randomization
    if randomization.family != "none":
        randomization = replace(randomization, num_vehicles=env_cfg.num_envs)
    init = InitCfg(origin_probability=1.0, rotor=(1.0, 1.0))
    lost = TerminationCfg(position=LOST_M, velocity=LOST_MPS)
    return replace(env_cfg, states=None, init=init, termination=lost, paths=None, randomization=randomization)


def make_paths(name: str, parameters: dict[str, Any], num_envs: int) -> list[Path]:
    """Return as many paths as there are environments.

    Those that repeat begin at phases on an even grid, unless a phase is given. Every flight draws one.

    Raises:
        ValueError: If there is no such path or a parameter cannot work.
    """
    if name in _AT_A_PHASE and "phase" not in parameters:
        return [make_path(name, **parameters, phase=i / num_envs) for i in range(num_envs)]
    return [make_path(name, **parameters)] * num_envs


def reference_table(paths: list[Path], env: Any, seed: int) -> ReferenceTable:
    """Return the samples of paths for an environment's episodes; what is random about them follows the seed."""
    return ReferenceTable.of(paths, env.max_episode_length, env.cfg.sim.dt, path_generator(seed), env.device)


def path_generator(seed: int) -> np.random.Generator:
    """Return the generator of what is random about the paths of a seed."""
    return np.random.default_rng([seed, 2])
