"""Blocks of environments: their types, and how they are read from memory and written to it.

A block holds as many environments as there are lanes. Every quantity of a block is a lane vector (one number per
environment), a :class:`Vec3` or :class:`Vec4` of lane vectors, or a structure of these.
"""

import functools
from types import SimpleNamespace
from typing import Any

import warp as wp

from foundation.sim.layout import Row
from foundation.sim.params import COLUMNS

NUM_COLUMNS = wp.constant(sum(COLUMNS.values()))


@functools.cache
def block_types(lanes: int) -> SimpleNamespace:
    """Return the types of blocks of ``lanes`` environments."""
    lane = wp.types.vector(length=lanes, dtype=wp.float32)
    # A vehicle of every lane: row k holds column k of the vehicle table.
    vehicle = wp.types.matrix(shape=(NUM_COLUMNS, lanes), dtype=wp.float32)

    @wp.struct
    class Vec3:
        x: lane
        y: lane
        z: lane

    @wp.struct
    class Vec4:
        x: lane
        y: lane
        z: lane
        w: lane

    @wp.struct
    class State:
        """The state of a block of vehicles, or its time derivative."""

        pos_w: Vec3
        quat_wb: Vec4
        vel_w: Vec3
        ang_vel_b: Vec3
        rotor: Vec4

    @wp.struct
    class StateArrays:
        """State of all vehicles; see :class:`foundation.sim.simulator.Simulator`."""

        blocks: wp.array2d(dtype=lane)  # rows of foundation.sim.layout.STATE, (20, number of blocks)
        scalars: wp.array2d(dtype=wp.float32)  # the same memory, (20, number of lanes)
        vehicle: wp.array(dtype=wp.int32)
        table: wp.array2d(dtype=wp.float32)  # (number of vehicles, NUM_COLUMNS)

    return SimpleNamespace(lane=lane, vehicle=vehicle, Vec3=Vec3, Vec4=Vec4, State=State, StateArrays=StateArrays)


@wp.func
def load3(rows: Any, row: int, block: int, like: Any):
    return type(like)(rows[row, block], rows[row + 1, block], rows[row + 2, block])


@wp.func
def load4(rows: Any, row: int, block: int, like: Any):
    return type(like)(rows[row, block], rows[row + 1, block], rows[row + 2, block], rows[row + 3, block])


@wp.func
def store3(rows: Any, row: int, block: int, a: Any):
    rows[row, block] = a.x
    rows[row + 1, block] = a.y
    rows[row + 2, block] = a.z


@wp.func
def store4(rows: Any, row: int, block: int, a: Any):
    rows[row, block] = a.x
    rows[row + 1, block] = a.y
    rows[row + 2, block] = a.z
    rows[row + 3, block] = a.w


@wp.func
def load_state(arrays: Any, block: int, like: Any):
    out = type(like)()
    out.pos_w = load3(arrays.blocks, Row.POS_W, block, like.pos_w)
    out.quat_wb = load4(arrays.blocks, Row.QUAT_WB, block, like.quat_wb)
    out.vel_w = load3(arrays.blocks, Row.VEL_W, block, like.vel_w)
    out.ang_vel_b = load3(arrays.blocks, Row.ANG_VEL_B, block, like.ang_vel_b)
    out.rotor = load4(arrays.blocks, Row.ROTOR, block, like.rotor)
    return out


@wp.func
def store_state(arrays: Any, block: int, s: Any):
    store3(arrays.blocks, Row.POS_W, block, s.pos_w)
    store4(arrays.blocks, Row.QUAT_WB, block, s.quat_wb)
    store3(arrays.blocks, Row.VEL_W, block, s.vel_w)
    store3(arrays.blocks, Row.ANG_VEL_B, block, s.ang_vel_b)
    store4(arrays.blocks, Row.ROTOR, block, s.rotor)


@wp.func
def column(rows: wp.array2d(dtype=wp.float32), first_row: int, k: int, like: Any):
    """Return column k of as many consecutive rows as there are lanes."""
    out = type(like)()
    for lane in range(len(like)):
        out[lane] = rows[first_row + lane, k]
    return out


@wp.func
def load_command(rows: wp.array2d(dtype=wp.float32), block: int, like: Any):
    """Return the four numbers that rows of actions or commands hold for each environment of a block."""
    first = block * len(like.x)
    return type(like)(
        column(rows, first, 0, like.x),
        column(rows, first, 1, like.x),
        column(rows, first, 2, like.x),
        column(rows, first, 3, like.x),
    )


@wp.func
def parameter(arrays: Any, block: int, k: int, like: Any):
    """Return a column of the vehicle table for the vehicles of a block."""
    out = type(like)()
    for lane in range(len(like)):
        out[lane] = arrays.table[arrays.vehicle[block * len(like) + lane], k]
    return out


@wp.func
def load_vehicle(arrays: Any, block: int, like: Any, lane: Any):
    """Return the vehicle table's columns for the vehicles of a block, one row per column."""
    out = type(like)()
    for k in range(NUM_COLUMNS):
        out[k] = parameter(arrays, block, k, lane)
    return out
