"""Settings that can work but hardly are what was meant."""

from __future__ import annotations

import math

from foundation.sim.params import GRAVITY, QuadParams
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg


def doubts(cfg: PointCtrlEnvCfg, vehicle: QuadParams) -> list[str]:
    """Return a sentence for each setting that can work but hardly is what was meant.

    Args:
        cfg: The environment.
        vehicle: The nominal vehicle, a batch of one.
    """
    return _reward_doubts(cfg) + _wind_doubts(cfg, vehicle)


def _wind_doubts(cfg: PointCtrlEnvCfg, vehicle: QuadParams) -> list[str]:
    x, y, z = cfg.wind
    needed, most = math.hypot(x, y, vehicle.mass[0] * GRAVITY - z), vehicle.max_thrust[0]
    if needed <= most:
        return []
    return [
        f"to stay in place in env.wind takes a thrust of {needed:.3g} N, and the vehicle has {most:.3g} N; lower "
        "env.wind"
    ]


def _reward_doubts(cfg: PointCtrlEnvCfg) -> list[str]:
    # The mean distance to the centre of a cube of half-width 1.
    distance = 0.9606 * cfg.init.position * (1.0 - cfg.init.origin_probability)
    typical = cfg.reward.scale * (cfg.reward.alive - cfg.reward.position * distance)
    if typical >= 0.0:
        return []
    return [
        f"the reward of a typical first step is {typical:.3g}, so that crashing pays; raise reward.alive above "
        f"{cfg.reward.position * distance:.3g}, or lower reward.position"
    ]
