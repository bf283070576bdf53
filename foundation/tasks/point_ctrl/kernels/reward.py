"""Reward: one function per term, weighted and summed in :func:`step_reward`.

The terms are those of :class:`foundation.tasks.point_ctrl.point_ctrl_env_cfg.RewardCfg`. A new one is a setting
there, a function here, and a line of the sum.
"""

from typing import Any

import warp as wp

from foundation.sim.kernels.lanes import mul, root  # noqa: F401 (mul is the operator *)
from foundation.sim.kernels.vectors import dot3, dot4, plus4
from foundation.tasks.point_ctrl.kernels.arrays import TaskCfg


@wp.func
def target_distance(s: Any):
    """Return the distance to the target [m]."""
    return root(dot3(s.pos_w, s.pos_w))


@wp.func
def heading_error(s: Any):
    """Return 2 acos(1 - |q_z|) [rad].

    acos(x) = sqrt(1 - x) times a polynomial, exact to 2e-8: Abramowitz and Stegun, 4.4.46.
    """
    z = wp.abs(s.quat_wb.z)
    x = type(z)(1.0) - z
    p = x * -0.0012624911 + type(z)(0.0066700901)
    p = p * x - type(z)(0.0170881256)
    p = p * x + type(z)(0.0308918810)
    p = p * x - type(z)(0.0501743046)
    p = p * x + type(z)(0.0889789874)
    p = p * x - type(z)(0.2145988016)
    p = p * x + type(z)(1.5707963050)
    return root(z) * p * 2.0


@wp.func
def action_change_sq(action: Any, previous_action: Any):
    """Return the squared change of action between two steps."""
    change = plus4(action, previous_action, -1.0)
    return dot4(change, change)


@wp.func
def mean_action_change(action: Any, previous_action: Any):
    """Return the mean over the rotors of the change of action between two steps."""
    change = plus4(action, previous_action, -1.0)
    return (wp.abs(change.x) + wp.abs(change.y) + wp.abs(change.z) + wp.abs(change.w)) * 0.25


@wp.func
def step_reward(s: Any, distance: Any, action: Any, previous_action: Any, cfg: TaskCfg):
    """Return the reward of a step that does not fail."""
    change_sq = action_change_sq(action, previous_action)
    return (
        type(distance)(cfg.reward.alive)
        - distance * cfg.reward.position
        - heading_error(s) * cfg.reward.attitude
        - change_sq * cfg.reward.action_rate
        - root(change_sq) * cfg.reward.action_change
    ) * cfg.reward.scale
