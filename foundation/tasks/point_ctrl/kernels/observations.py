"""Observations of both groups, written in the order of :mod:`foundation.tasks.point_ctrl.layout`."""

from typing import Any

import warp as wp

from foundation.sim.kernels.blocks import load3, load4, load_state, parameter
from foundation.sim.kernels.functions import own_function
from foundation.sim.kernels.lanes import mul  # noqa: F401 (mul is the operator *)
from foundation.sim.kernels.random_numbers import gaussian_pair
from foundation.sim.kernels.vectors import plus3, quaternion_product, scaled3, unit_quaternion
from foundation.sim.layout import Row
from foundation.sim.params import GRAVITY, Column
from foundation.tasks.point_ctrl import layout
from foundation.tasks.point_ctrl.kernels.arrays import VehicleTraits
from foundation.tasks.point_ctrl.kernels.reference import relative_force, relative_state
from foundation.tasks.point_ctrl.layout import STUDENT_DIM, TEACHER_DIM, Episode, Observed, Rng

OBSERVATION_DRAWS = wp.constant(wp.uint32(12))
"""Random numbers that an observation takes."""
NUM_DESCRIPTORS = layout.TEACHER["descriptors"]


@wp.func
def next_noise(block: int, task: Any):
    """Advance the counters past the random numbers of the last observation, so that the next has new noise."""
    counter = task.rng[Rng.COUNTER, block]
    task.rng[Rng.COUNTER, block] = counter + type(counter)(OBSERVATION_DRAWS)


# It rounds the same in both kernels, and get_observations repeats the observations of the last step.
@own_function
def observe(
    block: int,
    arrays: Any,
    traits: VehicleTraits,
    task: Any,
    noise: Any,
    follows: bool,
    target: Any,
    student: wp.uint64,
    teacher: wp.uint64,
    like: Any,
):
    """Write both observations of a block; a function of the environments' state alone, noise included.

    Where the environments follow a path, both are relative to ``target``.
    """
    s = load_state(arrays, block, like)
    per_weight = parameter(arrays, block, Column.MASS_INV, s.pos_w.x) * (1.0 / GRAVITY)
    force = scaled3(load3(arrays.blocks, Row.FORCE_W, block, s.pos_w), per_weight)
    if follows:
        force = relative_force(force, target)
        s = relative_state(s, target)
    previous_action = load4(task.episode, Episode.PREVIOUS_ACTION, block, s.rotor)
    count = arrays.vehicle.shape[0]

    rows = wp.array(ptr=teacher, shape=(count, TEACHER_DIM), dtype=wp.float32)
    put_motion(rows, block, s, previous_action)
    put4(rows, block, Observed.ROTOR, s.rotor)
    put3(rows, block, Observed.FORCE, force)
    for i in range(block * len(per_weight), (block + 1) * len(per_weight)):
        for k in range(NUM_DESCRIPTORS):
            rows[i, Observed.DESCRIPTORS + k] = traits.descriptors[arrays.vehicle[i], k]

    noisy = add_sensor_noise(s, task.rng[Rng.KEY, block], task.rng[Rng.COUNTER, block], noise)
    put_motion(wp.array(ptr=student, shape=(count, STUDENT_DIM), dtype=wp.float32), block, noisy, previous_action)


@wp.func
def add_sensor_noise(s: Any, key: Any, counter: Any, noise: Any):
    """Return the state as the sensors measure it."""
    like = s.pos_w.x
    p0, p1 = gaussian_pair(key, counter, 0, like)
    p2, a0 = gaussian_pair(key, counter, 2, like)
    a1, a2 = gaussian_pair(key, counter, 4, like)
    v0, v1 = gaussian_pair(key, counter, 6, like)
    v2, w0 = gaussian_pair(key, counter, 8, like)
    w1, w2 = gaussian_pair(key, counter, 10, like)
    half = 0.5 * noise.attitude
    turn = type(s.quat_wb)(a0 * half, a1 * half, a2 * half, type(like)(1.0))
    out = s
    out.pos_w = plus3(s.pos_w, type(s.pos_w)(p0, p1, p2), noise.position)
    out.quat_wb = unit_quaternion(quaternion_product(s.quat_wb, turn))
    out.vel_w = plus3(s.vel_w, type(s.pos_w)(v0, v1, v2), noise.velocity)
    out.ang_vel_b = plus3(s.ang_vel_b, type(s.pos_w)(w0, w1, w2), noise.angular_velocity)
    return out


@wp.func
def put_motion(rows: wp.array2d(dtype=wp.float32), block: int, s: Any, previous_action: Any):
    """Write the columns that both groups share: position error, rotation matrix, velocities, previous action."""
    q = s.quat_wb
    one = type(q.x)(1.0)
    put3(rows, block, Observed.POSITION, s.pos_w)
    put(rows, block, Observed.ROTATION, one - (q.y * q.y + q.z * q.z) * 2.0)
    put(rows, block, Observed.ROTATION + 1, (q.x * q.y - q.w * q.z) * 2.0)
    put(rows, block, Observed.ROTATION + 2, (q.x * q.z + q.w * q.y) * 2.0)
    put(rows, block, Observed.ROTATION + 3, (q.x * q.y + q.w * q.z) * 2.0)
    put(rows, block, Observed.ROTATION + 4, one - (q.x * q.x + q.z * q.z) * 2.0)
    put(rows, block, Observed.ROTATION + 5, (q.y * q.z - q.w * q.x) * 2.0)
    put(rows, block, Observed.ROTATION + 6, (q.x * q.z - q.w * q.y) * 2.0)
    put(rows, block, Observed.ROTATION + 7, (q.y * q.z + q.w * q.x) * 2.0)
    put(rows, block, Observed.ROTATION + 8, one - (q.x * q.x + q.y * q.y) * 2.0)
    put3(rows, block, Observed.VELOCITY, s.vel_w)
    put3(rows, block, Observed.ANGULAR_VELOCITY, s.ang_vel_b)
    put4(rows, block, Observed.PREVIOUS_ACTION, previous_action)


@wp.func
def put(rows: wp.array2d(dtype=wp.float32), block: int, k: int, values: Any):
    """Write one number per lane into column ``k`` of a block's rows."""
    first = block * len(values)
    for lane in range(len(values)):
        rows[first + lane, k] = values[lane]


@wp.func
def put3(rows: wp.array2d(dtype=wp.float32), block: int, k: int, v: Any):
    put(rows, block, k, v.x)
    put(rows, block, k + 1, v.y)
    put(rows, block, k + 2, v.z)


@wp.func
def put4(rows: wp.array2d(dtype=wp.float32), block: int, k: int, v: Any):
    put(rows, block, k, v.x)
    put(rows, block, k + 1, v.y)
    put(rows, block, k + 2, v.z)
    put(rows, block, k + 3, v.w)
