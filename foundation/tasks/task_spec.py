"""The parts of a task."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskSpec:
    """Import paths of a task's parts, as ``module:attribute``."""

    env: str
    """Environment class, called with configuration, device and seed."""
    env_cfg: str
    """Factory of the environment's configuration."""
    agent_cfg: str
    """Factory of the runner's configuration."""
    runner: str
    """Runner class."""
