"""Running episodes: reward and termination of a step, and the metrics of the episodes that it ends."""

from typing import Any

import warp as wp

from foundation.sim.kernels.blocks import load4, store4
from foundation.sim.kernels.lanes import mul  # noqa: F401 (mul is the operator *)
from foundation.tasks.point_ctrl.kernels.arrays import TaskCfg, VehicleTraits
from foundation.tasks.point_ctrl.kernels.reward import mean_action_change, step_reward, target_distance
from foundation.tasks.point_ctrl.layout import Episode, Finished


@wp.func
def within(v: Any, lane: int, bound: wp.float32):
    # False for NaN.
    return wp.abs(v.x[lane]) <= bound and wp.abs(v.y[lane]) <= bound and wp.abs(v.z[lane]) <= bound


@wp.func
def compute_reward_and_done(
    block: int,
    s: Any,
    action: Any,
    vehicle: wp.array(dtype=wp.int32),
    traits: VehicleTraits,
    task: Any,
    cfg: TaskCfg,
):
    """Write reward, done and time-out of a step, and update the metrics of the running episodes."""
    distance = target_distance(s)
    previous_action = load4(task.episode, Episode.PREVIOUS_ACTION, block, action)
    reward = step_reward(s, distance, action, previous_action, cfg)
    last_outside = task.episode[Episode.LAST_OUTSIDE, block]
    in_window, not_first = type(distance)(), type(distance)()
    first = block * len(distance)
    max_length = wp.int64(cfg.max_episode_length)
    for lane in range(len(distance)):
        i = first + lane
        length = task.length[i] + wp.int64(1)
        failed = not (
            within(s.pos_w, lane, traits.position_bound[vehicle[i]])
            and within(s.vel_w, lane, cfg.termination.velocity)
            and within(s.ang_vel_b, lane, cfg.termination.angular_velocity)
        )
        time_out = (not failed) and length >= max_length
        reward[lane] = wp.where(failed, cfg.reward.scale * cfg.reward.termination, reward[lane])
        last_outside[lane] = wp.where(
            distance[lane] > cfg.metrics.settle_radius, float(length), last_outside[lane]
        )
        # The action before the first step stands for the rotors' speeds; nobody gave it.
        not_first[lane] = wp.where(length > wp.int64(1), 1.0, 0.0)
        in_window[lane] = wp.where(length > max_length - wp.int64(cfg.window_steps), 1.0, 0.0)
        task.length[i] = length
        task.reward[i] = reward[lane]
        task.time_out[i] = time_out
        task.done[i] = wp.where(failed or time_out, wp.int64(1), wp.int64(0))

    task.episode[Episode.COMMAND_CHANGE, block] = (
        task.episode[Episode.COMMAND_CHANGE, block] + mean_action_change(action, previous_action) * not_first
    )
    store4(task.episode, Episode.PREVIOUS_ACTION, block, action)
    task.episode[Episode.RETURN, block] = task.episode[Episode.RETURN, block] + reward
    task.episode[Episode.WINDOW_ERROR_SQ, block] = (
        task.episode[Episode.WINDOW_ERROR_SQ, block] + distance * distance * in_window
    )
    task.episode[Episode.LAST_OUTSIDE, block] = last_outside


@wp.func
def finish_episode(i: int, task: Any, cfg: TaskCfg):
    """Write the metrics of an episode that ended in this step."""
    last_outside = task.episode_scalars[Episode.LAST_OUTSIDE, i]
    length = float(task.length[i])
    window_error_sq = task.episode_scalars[Episode.WINDOW_ERROR_SQ, i]
    task.finished[i, Finished.RETURN] = task.episode_scalars[Episode.RETURN, i]
    survived = task.time_out[i]
    task.finished[i, Finished.SURVIVED] = wp.where(survived, 1.0, 0.0)
    task.finished[i, Finished.SETTLED] = wp.where(survived and last_outside != length, 1.0, 0.0)
    task.finished[i, Finished.POSITION_RMSE] = wp.sqrt(window_error_sq / float(cfg.window_steps))
    task.finished[i, Finished.SETTLE_TIME] = last_outside * cfg.sim.dt
    task.finished[i, Finished.LENGTH] = length
    task.finished[i, Finished.COMMAND_RATE] = task.episode_scalars[Episode.COMMAND_CHANGE, i] / wp.max(
        length - 1.0, 1.0
    )
