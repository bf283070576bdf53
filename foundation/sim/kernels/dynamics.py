"""The dynamics of :mod:`foundation.sim.reference` for blocks of environments, and the kernel that advances them.

The functions take and return values in registers, so that a task can fuse them with its own reward and
observations into one kernel.
"""

import functools
from typing import Any

import warp as wp

from foundation.sim.kernels.blocks import block_types, load3, load_command, load_state, load_vehicle, store_state
from foundation.sim.kernels.lanes import lane_module, mul  # noqa: F401 (mul is the operator *)
from foundation.sim.kernels.vectors import (
    clamped4,
    cross,
    dot4,
    plus3,
    plus4,
    quaternion_product,
    rotated,
    scaled3,
    unit_quaternion,
)
from foundation.sim.layout import Row
from foundation.sim.params import GRAVITY, Column


@wp.struct
class Integrator:
    """How to advance time."""

    dt: wp.float32  # control step [s]
    substeps: wp.int32


@functools.cache
def physics_step(lanes: int) -> wp.Kernel:
    """Return the kernel that advances blocks of ``lanes`` vehicles by one control step."""
    types = block_types(lanes)

    @wp.kernel(module=lane_module(__name__, lanes))
    def physics_step(
        arrays: types.StateArrays, command: wp.array2d(dtype=wp.float32), integrator: Integrator, first_block: int
    ):
        block = first_block + wp.tid()
        s = load_state(arrays, block, types.State())
        vehicle = load_vehicle(arrays, block, types.vehicle(), types.lane())
        force_w = load3(arrays.blocks, Row.FORCE_W, block, types.Vec3())
        u = load_command(command, block, s.rotor)
        store_state(arrays, block, advance(s, u, vehicle, force_w, integrator))

    return physics_step


@wp.func
def motor_lag(rotor: Any, command: Any, rate_up: Any, rate_down: Any):
    """Return the acceleration of rotors [1/s] towards their command."""
    missing = command - rotor
    zero = type(missing)(0.0)
    return wp.max(missing, zero) * rate_up + wp.min(missing, zero) * rate_down


@wp.func
def rotor_thrust(speed: Any, curve: Any):
    """Return the thrust of rotors [N]."""
    return curve.x + speed * (curve.y + speed * curve.z)


@wp.func
def rows3(v: Any, first: int, like: Any):
    """Return three consecutive columns of the vehicles as a vector."""
    return type(like)(v[first], v[first + 1], v[first + 2])


@wp.func
def rows4(v: Any, first: int, like: Any):
    return type(like)(v[first], v[first + 1], v[first + 2], v[first + 3])


@wp.func
def symmetric_product(v: Any, first: int, a: Any):
    """Return a symmetric matrix, whose xx, yy, zz, xy, xz, yz begin at column ``first``, times a vector."""
    xx, yy, zz = v[first], v[first + 1], v[first + 2]
    xy, xz, yz = v[first + 3], v[first + 4], v[first + 5]
    return type(a)(xx * a.x + xy * a.y + xz * a.z, xy * a.x + yy * a.y + yz * a.z, xz * a.x + yz * a.y + zz * a.z)


@wp.func
def derivative(s: Any, command: Any, v: Any, force_w: Any):
    """Return the time derivative of the state by Newton and Euler."""
    q, u = s.quat_wb, s.rotor
    axis = type(s.pos_w)(q.x, q.y, q.z)
    curve = rows3(v, Column.THRUST_CURVE, axis)
    thrust = type(u)(
        rotor_thrust(u.x, curve), rotor_thrust(u.y, curve), rotor_thrust(u.z, curve), rotor_thrust(u.w, curve)
    )
    vel_b = rotated(scaled3(axis, -1.0), q.w, s.vel_w)
    drag = rows3(v, Column.DRAG, axis)
    force_b = type(axis)(
        -(drag.x * vel_b.x),
        -(drag.y * vel_b.y),
        thrust.x + thrust.y + thrust.z + thrust.w - drag.z * vel_b.z,
    )
    acc_w = scaled3(plus3(rotated(axis, q.w, force_b), force_w, 1.0), v[Column.MASS_INV])
    torque_b = type(axis)(
        dot4(rows4(v, Column.TORQUE_X, u), thrust),
        dot4(rows4(v, Column.TORQUE_Y, u), thrust),
        dot4(rows4(v, Column.TORQUE_Z, u), thrust),
    )
    gyroscopic = cross(s.ang_vel_b, symmetric_product(v, Column.INERTIA, s.ang_vel_b))
    half = scaled3(s.ang_vel_b, 0.5)

    rate = type(s)()
    rate.pos_w = s.vel_w
    rate.quat_wb = quaternion_product(q, type(q)(half.x, half.y, half.z, type(q.w)(0.0)))
    rate.vel_w = type(axis)(acc_w.x, acc_w.y, acc_w.z - type(q.w)(GRAVITY))
    rate.ang_vel_b = symmetric_product(v, Column.INERTIA_INV, plus3(torque_b, gyroscopic, -1.0))
    rate_up, rate_down = v[Column.RATE_UP], v[Column.RATE_DOWN]
    rate.rotor = type(u)(
        motor_lag(u.x, command.x, rate_up, rate_down),
        motor_lag(u.y, command.y, rate_up, rate_down),
        motor_lag(u.z, command.z, rate_up, rate_down),
        motor_lag(u.w, command.w, rate_up, rate_down),
    )
    return rate


@wp.func
def plus(s: Any, rate: Any, dt: wp.float32):
    """Return the state moved along ``rate`` for ``dt`` seconds."""
    out = type(s)()
    out.pos_w = plus3(s.pos_w, rate.pos_w, dt)
    out.quat_wb = plus4(s.quat_wb, rate.quat_wb, dt)
    out.vel_w = plus3(s.vel_w, rate.vel_w, dt)
    out.ang_vel_b = plus3(s.ang_vel_b, rate.ang_vel_b, dt)
    out.rotor = plus4(s.rotor, rate.rotor, dt)
    return out


@wp.func
def rk4_step(s: Any, command: Any, v: Any, force_w: Any, dt: wp.float32):
    k1 = derivative(s, command, v, force_w)
    k2 = derivative(plus(s, k1, dt * 0.5), command, v, force_w)
    k3 = derivative(plus(s, k2, dt * 0.5), command, v, force_w)
    k4 = derivative(plus(s, k3, dt), command, v, force_w)
    after = plus(plus(plus(plus(s, k1, dt / 6.0), k2, dt / 3.0), k3, dt / 3.0), k4, dt / 6.0)
    after.quat_wb = unit_quaternion(after.quat_wb)
    return after


@wp.func
def advance(s: Any, command: Any, v: Any, force_w: Any, integrator: Integrator):
    """Advance a block by a control step; ``command`` is clipped to [0, 1]."""
    clipped = clamped4(command, 0.0, 1.0)
    dt = integrator.dt / float(integrator.substeps)
    after = s
    for _ in range(integrator.substeps):
        after = rk4_step(after, clipped, v, force_w, dt)
    return after
