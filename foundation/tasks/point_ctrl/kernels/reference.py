"""The reference that each environment follows, and what is relative to it.

A table holds the samples of all paths, one row per control step; each environment has the row that it is at. In
the frame of the reference, which moves and turns with it, following a path is flying to the origin against one
more force: its acceleration times the vehicle's mass, reversed.
"""

from typing import Any

import warp as wp

from foundation.sim.kernels.lanes import mul  # noqa: F401 (mul is the operator *)
from foundation.sim.kernels.vectors import plus3, quaternion_product
from foundation.sim.params import GRAVITY
from foundation.tasks.point_ctrl.layout import REFERENCE_DIM


@wp.struct
class Paths:
    """The paths that can be followed; none where ``count`` is 0."""

    samples: wp.array2d(dtype=wp.vec4)  # (count * steps, 3): the layout's columns, four at a time
    count: int
    steps: int  # rows per path, more than an episode has steps


@wp.func
def paths_at(address: wp.uint64, count: int, steps: int):
    """Return the table of paths at an address."""
    out = Paths()
    out.count = count
    out.steps = steps
    out.samples = wp.array(ptr=address, shape=(count * steps, REFERENCE_DIM // 4), dtype=wp.vec4)
    return out


@wp.func
def four(paths: Paths, row: int, k: int):
    """Return four columns of a sample."""
    values = paths.samples[row, k]
    return wp.vec4(values[0], values[1], values[2], values[3])


@wp.func
def load_reference(paths: Paths, task: Any, block: int, step: int, like: Any):
    """Return what the environments of a block follow after moving it on by a number of steps.

    Where there are no paths, return ``like`` as it is.
    """
    out = like
    if paths.count > 0:
        x, y, z = type(like.half_sin)(), type(like.half_sin)(), type(like.half_sin)()
        vx, vy, vz = type(like.half_sin)(), type(like.half_sin)(), type(like.half_sin)()
        ax, ay, az = type(like.half_sin)(), type(like.half_sin)(), type(like.half_sin)()
        half_sin, half_cos = type(like.half_sin)(), type(like.half_sin)()
        for lane in range(len(like.half_sin)):
            i = block * len(like.half_sin) + lane
            row = wp.min(task.row[i] + step, task.last_row[i])
            task.row[i] = row
            first = four(paths, row, 0)
            second = four(paths, row, 1)
            third = four(paths, row, 2)
            x[lane] = first[0]
            y[lane] = first[1]
            z[lane] = first[2]
            vx[lane] = first[3]
            vy[lane] = second[0]
            vz[lane] = second[1]
            ax[lane] = second[2]
            ay[lane] = second[3]
            az[lane] = third[0]
            half_sin[lane] = third[1]
            half_cos[lane] = third[2]
        out.pos_w = type(like.pos_w)(x, y, z)
        out.vel_w = type(like.pos_w)(vx, vy, vz)
        out.acceleration_w = type(like.pos_w)(ax, ay, az)
        out.half_sin = half_sin
        out.half_cos = half_cos
    return out


@wp.func
def placed_on(row: int, paths: Paths, attitude: wp.quat):
    """Return an attitude that was drawn for heading 0, turned to the heading of a sample."""
    last = paths.samples[row, 2]
    return wp.quat(0.0, 0.0, last[1], last[2]) * attitude


@wp.func
def turned_back(v: Any, r: Any):
    """Return a vector in axes that are turned about z by a reference's heading."""
    sin = r.half_sin * r.half_cos * 2.0
    cos = r.half_cos * r.half_cos - r.half_sin * r.half_sin
    return type(v)(cos * v.x + sin * v.y, cos * v.y - sin * v.x, v.z)


@wp.func
def relative_state(s: Any, r: Any):
    """Return the state relative to a reference, in axes turned by its heading; angular velocity stays."""
    zero = type(r.half_sin)()
    out = s
    out.pos_w = turned_back(plus3(s.pos_w, r.pos_w, -1.0), r)
    out.vel_w = turned_back(plus3(s.vel_w, r.vel_w, -1.0), r)
    out.quat_wb = quaternion_product(type(s.quat_wb)(zero, zero, zero - r.half_sin, r.half_cos), s.quat_wb)
    return out


@wp.func
def relative_force(per_weight: Any, r: Any):
    """Return a force over weight as it acts in a reference's frame: less its acceleration, and turned."""
    return turned_back(plus3(per_weight, r.acceleration_w, -1.0 / GRAVITY), r)
