"""The reset of one environment: its vehicle, disturbance force and first state."""

from typing import Any

import warp as wp

from foundation.sim.kernels.functions import own_function
from foundation.sim.kernels.random_numbers import gaussian_pair, random_bits, unit_uniform
from foundation.sim.layout import Row
from foundation.sim.params import Column
from foundation.tasks.point_ctrl.kernels.arrays import VehicleTraits
from foundation.tasks.point_ctrl.kernels.reference import Paths, placed_on
from foundation.tasks.point_ctrl.layout import Episode, Rng

RESET_DRAWS = wp.constant(wp.uint32(22))
"""Random numbers that a reset takes."""
PATH_DRAW = 22
"""Index of one more random number, which a reset takes where there are paths."""


@own_function
def reset_env(i: int, arrays: Any, traits: VehicleTraits, task: Any, init: Any, wind: Any, paths: Paths):
    """Draw a vehicle, a disturbance force, a path and a first state, and clear the finished episode."""
    key = task.rng_scalars[Rng.KEY, i]
    counter = task.rng_scalars[Rng.COUNTER, i]
    num_vehicles = arrays.table.shape[0]
    vehicle = wp.min(int(uniform(key, counter, 0) * float(num_vehicles)), num_vehicles - 1)
    off_origin = wp.where(uniform(key, counter, 1) < init.origin_probability, 0.0, 1.0)
    force_x, force_y = gaussian_pair(key, counter, 2, 0.0)
    force_z, _unused = gaussian_pair(key, counter, 4, 0.0)
    force_std = arrays.table[vehicle, Column.FORCE_STD]
    force_w = wp.vec3(force_x, force_y, force_z) * force_std + wind
    attitude = wp.quat_from_axis_angle(
        random_axis(uniform(key, counter, 6), uniform(key, counter, 7)),
        uniform(key, counter, 8) * init.tilt * off_origin,
    )
    for k in range(3):
        arrays.scalars[Row.POS_W + k, i] = symmetric(key, counter, 9 + k, init.position * off_origin)
        arrays.scalars[Row.VEL_W + k, i] = symmetric(key, counter, 12 + k, init.velocity * off_origin)
        arrays.scalars[Row.ANG_VEL_B + k, i] = symmetric(key, counter, 15 + k, init.angular_velocity * off_origin)
        arrays.scalars[Row.FORCE_W + k, i] = force_w[k]
    if paths.count > 0:
        path = wp.min(int(uniform(key, counter, PATH_DRAW) * float(paths.count)), paths.count - 1)
        row = path * paths.steps
        task.row[i] = row
        task.last_row[i] = row + paths.steps - 1
        attitude = placed_on(row, paths, attitude)
        first, second = paths.samples[row, 0], paths.samples[row, 1]
        motion = wp.vec3(first[3], second[0], second[1])
        for k in range(3):
            arrays.scalars[Row.POS_W + k, i] += first[k]
            arrays.scalars[Row.VEL_W + k, i] += motion[k]
    low, high = init.rotor[0], init.rotor[1]
    full = wp.where(init.rotor_over_hover, traits.hover_speed[vehicle], 1.0)
    for k in range(4):
        share = low + (high - low) * uniform(key, counter, 18 + k)
        rotor = wp.min(full * share, 1.0)
        arrays.scalars[Row.QUAT_WB + k, i] = attitude[k]
        arrays.scalars[Row.ROTOR + k, i] = rotor
        # The command that would have kept the rotors at their speeds.
        task.episode_scalars[Episode.PREVIOUS_ACTION + k, i] = 2.0 * rotor - 1.0
    arrays.vehicle[i] = vehicle
    task.length[i] = wp.int64(0)
    task.episode_scalars[Episode.RETURN, i] = 0.0
    task.episode_scalars[Episode.WINDOW_ERROR_SQ, i] = 0.0
    task.episode_scalars[Episode.LAST_OUTSIDE, i] = 0.0
    task.episode_scalars[Episode.COMMAND_CHANGE, i] = 0.0
    task.rng_scalars[Rng.COUNTER, i] = counter + RESET_DRAWS + wp.uint32(wp.where(paths.count > 0, 1, 0))


@wp.func
def uniform(key: wp.uint32, counter: wp.uint32, index: int):
    """Return a uniform number in [0, 1)."""
    return unit_uniform(random_bits(key, counter, index), 0.0)


@wp.func
def symmetric(key: wp.uint32, counter: wp.uint32, index: int, half_width: wp.float32):
    """Return a uniform number in [-half_width, half_width)."""
    return half_width * (2.0 * uniform(key, counter, index) - 1.0)


@wp.func
def random_axis(first: wp.float32, second: wp.float32):
    """Return a unit vector, uniform on the sphere for two uniform numbers in [0, 1): Archimedes' cylinder."""
    z = 2.0 * first - 1.0
    angle = 6.283185307179586 * second
    radius = wp.sqrt(wp.max(1.0 - z * z, 0.0))
    return wp.vec3(radius * wp.cos(angle), radius * wp.sin(angle), z)
