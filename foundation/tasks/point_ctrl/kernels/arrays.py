"""Structures that the task's kernels read and write, one entry per environment."""

import functools
from types import SimpleNamespace

import warp as wp

from foundation.sim.kernels.blocks import block_types
from foundation.tasks.kernel_cfg import kernel_struct
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg

TaskCfg = kernel_struct(PointCtrlEnvCfg)


@wp.struct
class VehicleTraits:
    """Properties of V vehicles besides their dynamics."""

    hover_speed: wp.array(dtype=wp.float32)
    position_bound: wp.array(dtype=wp.float32)  # distance from the target that ends an episode [m]
    descriptors: wp.array2d(dtype=wp.float32)  # (V, 8)


@functools.cache
def task_types(lanes: int) -> SimpleNamespace:
    """Return the types of blocks of ``lanes`` environments, those of the simulator included."""
    types = block_types(lanes)
    lane = types.lane
    integer_lane = wp.types.vector(length=lanes, dtype=wp.uint32)

    @wp.struct
    class Reference:
        """What the environments of a block follow."""

        pos_w: types.Vec3
        vel_w: types.Vec3
        acceleration_w: types.Vec3
        half_sin: lane  # of half of the heading
        half_cos: lane

    @wp.struct
    class TaskArrays:
        """The task's state of all environments, and the results of a step; rows as in the task's layout."""

        rng: wp.array2d(dtype=integer_lane)  # (2, number of blocks)
        rng_scalars: wp.array2d(dtype=wp.uint32)  # the same memory, (2, number of lanes)
        episode: wp.array2d(dtype=lane)  # (8, number of blocks)
        episode_scalars: wp.array2d(dtype=wp.float32)  # the same memory, (8, number of lanes)
        length: wp.array(dtype=wp.int64)  # steps of the running episodes
        row: wp.array(dtype=wp.int32)  # of the table of paths, where there is one
        last_row: wp.array(dtype=wp.int32)  # of the path that is followed, held beyond its end
        finished: wp.array2d(dtype=wp.float32)  # last finished episodes, (number of lanes, 7)
        # This step.
        reward: wp.array(dtype=wp.float32)
        done: wp.array(dtype=wp.int64)
        time_out: wp.array(dtype=wp.bool)

    return SimpleNamespace(**vars(types), TaskArrays=TaskArrays, Reference=Reference)
