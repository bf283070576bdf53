"""Configuration of task ``tracking``."""

from __future__ import annotations

from dataclasses import replace

from foundation.tasks.foundation.foundation_env_cfg import foundation_env_cfg
from foundation.tasks.point_ctrl.paths_cfg import PathsCfg
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg


def tracking_env_cfg() -> PointCtrlEnvCfg:
    """Return the environment of task ``tracking``: that of task ``foundation``, with a target that moves."""
    return replace(foundation_env_cfg(), paths=PathsCfg())
