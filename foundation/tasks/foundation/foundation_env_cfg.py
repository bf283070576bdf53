"""Configuration of task ``foundation``: RAPTOR's family, states and reward, and an expert for every vehicle."""

from __future__ import annotations

from foundation.control.lqr import LqrCfg
from foundation.tasks.point_ctrl.noise_cfg import NoiseCfg
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg, RandomizationCfg, RewardCfg


def foundation_env_cfg() -> PointCtrlEnvCfg:
    """Return the environment of task ``foundation``; its return is that of RAPTOR (arXiv 2509.11481)."""
    return PointCtrlEnvCfg(
        num_envs=512,
        randomization=RandomizationCfg(family="raptor", num_vehicles=65_536),
        states="raptor",
        reward=RewardCfg(scale=1.0, action_rate=0.0, action_change=1.0, termination=-100.0),
        # Who has met late sensors flies more calmly with prompt ones, too.
        noise=NoiseCfg(delay=0.01, delayed_share=0.4),
        expert=LqrCfg(),
    )
