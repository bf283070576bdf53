"""The dynamics of :mod:`foundation.sim.reference` as NVIDIA Warp functions, for CPU and CUDA.

The functions work on blocks of environments, one per lane (see :mod:`foundation.sim.lanes`), held in
registers, so that a task can fuse them with its own reward and observations.
"""

import functools
from types import SimpleNamespace
from typing import Any

import warp as wp

from foundation.sim import params
from foundation.sim.lanes import MODULE_OPTIONS, clamped, lane_module, mul, root  # noqa: F401 (mul is the operator *)

wp.set_module_options(MODULE_OPTIONS)

GRAVITY = wp.constant(wp.float32(params.GRAVITY))

# Rows of the state array.
POS_W = wp.constant(0)
QUAT_WB = wp.constant(3)
VEL_W = wp.constant(7)
ANG_VEL_B = wp.constant(10)
ROTOR = wp.constant(13)
FORCE_W = wp.constant(17)
STATE_ROWS = 20

# Columns of the vehicle table.
MASS = wp.constant(0)
FORCE_STD = wp.constant(1)
MASS_INV = wp.constant(2)
INERTIA = wp.constant(3)  # xx, yy, zz, xy, xz, yz
INERTIA_INV = wp.constant(9)
TORQUE = wp.constant(15)  # torque about x, y and z per thrust of each rotor [m]
THRUST_CURVE = wp.constant(27)
RATE_UP = wp.constant(30)  # 1 / tau_up [1/s]
RATE_DOWN = wp.constant(31)
DRAG = wp.constant(32)
TABLE_COLUMNS = 35


@wp.struct
class Integrator:
    """How to advance time."""

    dt: wp.float32  # control step [s]
    substeps: wp.int32


@functools.cache
def types(lanes: int) -> SimpleNamespace:
    """Return the structures of blocks of ``lanes`` environments, and the kernel that advances them."""
    lane = wp.types.vector(length=lanes, dtype=wp.float32)

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
    class Symmetric:
        """A symmetric matrix: diagonal (xx, yy, zz) and the rest (xy, xz, yz)."""

        diagonal: Vec3
        rest: Vec3

    @wp.struct
    class Vehicle:
        """The vehicles of a block and the forces on them."""

        mass_inv: lane
        inertia: Symmetric
        inertia_inv: Symmetric
        torque_x: Vec4
        torque_y: Vec4
        torque_z: Vec4
        thrust_curve: Vec3
        rate_up: lane
        rate_down: lane
        drag: Vec3
        force_w: Vec3

    @wp.struct
    class StateArrays:
        """State of all vehicles; see :class:`foundation.sim.simulator.Simulator`."""

        blocks: wp.array2d(dtype=lane)  # (STATE_ROWS, number of blocks)
        scalars: wp.array2d(dtype=wp.float32)  # the same memory, (STATE_ROWS, number of lanes)
        vehicle: wp.array(dtype=wp.int32)
        table: wp.array2d(dtype=wp.float32)  # (number of vehicles, TABLE_COLUMNS)

    @wp.kernel(module=lane_module(__name__, lanes))
    def physics_step(
        arrays: StateArrays, command: wp.array2d(dtype=wp.float32), integrator: Integrator, first_block: int
    ):
        """Advance a block of vehicles by one control step."""
        block = first_block + wp.tid()
        s = load_state(arrays, block, State())
        vehicle = load_vehicle(arrays, block, Vehicle())
        u = load_vec4(command, block, s.rotor)
        store_state(arrays, block, advance(s, u, vehicle, integrator))

    return SimpleNamespace(**locals())


@wp.func
def plus3(a: Any, b: Any, factor: wp.float32):
    """Return a + b times factor."""
    return type(a)(a.x + b.x * factor, a.y + b.y * factor, a.z + b.z * factor)


@wp.func
def plus4(a: Any, b: Any, factor: wp.float32):
    return type(a)(a.x + b.x * factor, a.y + b.y * factor, a.z + b.z * factor, a.w + b.w * factor)


@wp.func
def scaled3(a: Any, factor: Any):
    return type(a)(a.x * factor, a.y * factor, a.z * factor)


@wp.func
def scaled4(a: Any, factor: Any):
    return type(a)(a.x * factor, a.y * factor, a.z * factor, a.w * factor)


@wp.func
def dot3(a: Any, b: Any):
    return a.x * b.x + a.y * b.y + a.z * b.z


@wp.func
def dot4(a: Any, b: Any):
    return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w


@wp.func
def cross(a: Any, b: Any):
    return type(a)(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x)


@wp.func
def product(m: Any, v: Any):
    """Return a symmetric matrix times a vector."""
    d, r = m.diagonal, m.rest
    return type(v)(
        d.x * v.x + r.x * v.y + r.y * v.z, r.x * v.x + d.y * v.y + r.z * v.z, r.y * v.x + r.z * v.y + d.z * v.z
    )


@wp.func
def rotated(axis: Any, w: Any, v: Any):
    """Return v rotated by the quaternion (axis, w) of any norm: v + 2 (w (a x v) + a x (a x v)) / norm^2."""
    turn = scaled3(cross(axis, v), wp.cw_div(type(w)(2.0), dot3(axis, axis) + w * w))
    return plus3(plus3(v, scaled3(turn, w), 1.0), cross(axis, turn), 1.0)


@wp.func
def quaternion_product(a: Any, b: Any):
    return type(a)(
        a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
        a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
        a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w,
        a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
    )


@wp.func
def unit_quaternion(q: Any):
    return scaled4(q, wp.cw_div(type(q.w)(1.0), root(dot4(q, q))))


@wp.func
def motor_lag(rotor: Any, command: Any, rate_up: Any, rate_down: Any):
    missing = command - rotor
    zero = type(missing)(0.0)
    return wp.max(missing, zero) * rate_up + wp.min(missing, zero) * rate_down


@wp.func
def rotor_thrust(speed: Any, curve: Any):
    return curve.x + speed * (curve.y + speed * curve.z)


@wp.func
def derivative(s: Any, command: Any, v: Any):
    """Return the time derivative of the state by Newton and Euler."""
    q, u = s.quat_wb, s.rotor
    axis = type(s.pos_w)(q.x, q.y, q.z)
    thrust = type(u)(
        rotor_thrust(u.x, v.thrust_curve),
        rotor_thrust(u.y, v.thrust_curve),
        rotor_thrust(u.z, v.thrust_curve),
        rotor_thrust(u.w, v.thrust_curve),
    )
    vel_b = rotated(scaled3(axis, -1.0), q.w, s.vel_w)
    force_b = type(axis)(
        -(v.drag.x * vel_b.x),
        -(v.drag.y * vel_b.y),
        thrust.x + thrust.y + thrust.z + thrust.w - v.drag.z * vel_b.z,
    )
    acc_w = scaled3(plus3(rotated(axis, q.w, force_b), v.force_w, 1.0), v.mass_inv)
    torque_b = type(axis)(dot4(v.torque_x, thrust), dot4(v.torque_y, thrust), dot4(v.torque_z, thrust))
    gyroscopic = cross(s.ang_vel_b, product(v.inertia, s.ang_vel_b))
    half = scaled3(s.ang_vel_b, 0.5)

    rate = type(s)()
    rate.pos_w = s.vel_w
    rate.quat_wb = quaternion_product(q, type(q)(half.x, half.y, half.z, type(q.w)(0.0)))
    rate.vel_w = type(axis)(acc_w.x, acc_w.y, acc_w.z - type(q.w)(GRAVITY))
    rate.ang_vel_b = product(v.inertia_inv, plus3(torque_b, gyroscopic, -1.0))
    rate.rotor = type(u)(
        motor_lag(u.x, command.x, v.rate_up, v.rate_down),
        motor_lag(u.y, command.y, v.rate_up, v.rate_down),
        motor_lag(u.z, command.z, v.rate_up, v.rate_down),
        motor_lag(u.w, command.w, v.rate_up, v.rate_down),
    )
    return rate


@wp.func
def plus(s: Any, rate: Any, dt: wp.float32):
    out = type(s)()
    out.pos_w = plus3(s.pos_w, rate.pos_w, dt)
    out.quat_wb = plus4(s.quat_wb, rate.quat_wb, dt)
    out.vel_w = plus3(s.vel_w, rate.vel_w, dt)
    out.ang_vel_b = plus3(s.ang_vel_b, rate.ang_vel_b, dt)
    out.rotor = plus4(s.rotor, rate.rotor, dt)
    return out


@wp.func
def rk4_step(s: Any, command: Any, v: Any, dt: wp.float32):
    k1 = derivative(s, command, v)
    k2 = derivative(plus(s, k1, dt * 0.5), command, v)
    k3 = derivative(plus(s, k2, dt * 0.5), command, v)
    k4 = derivative(plus(s, k3, dt), command, v)
    after = plus(plus(plus(plus(s, k1, dt / 6.0), k2, dt / 3.0), k3, dt / 3.0), k4, dt / 6.0)
    after.quat_wb = unit_quaternion(after.quat_wb)
    return after


@wp.func
def advance(s: Any, command: Any, v: Any, integrator: Integrator):
    """Advance a block by a control step; ``command`` is clipped to [0, 1]."""
    clipped = clamped4(command, 0.0, 1.0)
    dt = integrator.dt / float(integrator.substeps)
    after = s
    for _ in range(integrator.substeps):
        after = rk4_step(after, clipped, v, dt)
    return after


@wp.func
def clamped4(a: Any, low: wp.float32, high: wp.float32):
    return type(a)(
        clamped(a.x, low, high), clamped(a.y, low, high), clamped(a.z, low, high), clamped(a.w, low, high)
    )


@wp.func
def column(rows: wp.array2d(dtype=wp.float32), first_row: int, k: int, like: Any):
    """Return element k of as many consecutive rows as there are lanes."""
    out = type(like)()
    for lane in range(len(like)):
        out[lane] = rows[first_row + lane, k]
    return out


@wp.func
def load_vec4(rows: wp.array2d(dtype=wp.float32), block: int, like: Any):
    first = block * len(like.x)
    return type(like)(
        column(rows, first, 0, like.x),
        column(rows, first, 1, like.x),
        column(rows, first, 2, like.x),
        column(rows, first, 3, like.x),
    )


@wp.func
def state3(arrays: Any, row: int, block: int, like: Any):
    return type(like)(arrays.blocks[row, block], arrays.blocks[row + 1, block], arrays.blocks[row + 2, block])


@wp.func
def state4(arrays: Any, row: int, block: int, like: Any):
    return type(like)(
        arrays.blocks[row, block],
        arrays.blocks[row + 1, block],
        arrays.blocks[row + 2, block],
        arrays.blocks[row + 3, block],
    )


@wp.func
def load_state(arrays: Any, block: int, like: Any):
    out = type(like)()
    out.pos_w = state3(arrays, POS_W, block, like.pos_w)
    out.quat_wb = state4(arrays, QUAT_WB, block, like.quat_wb)
    out.vel_w = state3(arrays, VEL_W, block, like.vel_w)
    out.ang_vel_b = state3(arrays, ANG_VEL_B, block, like.ang_vel_b)
    out.rotor = state4(arrays, ROTOR, block, like.rotor)
    return out


@wp.func
def store3(arrays: Any, row: int, block: int, a: Any):
    arrays.blocks[row, block] = a.x
    arrays.blocks[row + 1, block] = a.y
    arrays.blocks[row + 2, block] = a.z


@wp.func
def store4(arrays: Any, row: int, block: int, a: Any):
    arrays.blocks[row, block] = a.x
    arrays.blocks[row + 1, block] = a.y
    arrays.blocks[row + 2, block] = a.z
    arrays.blocks[row + 3, block] = a.w


@wp.func
def store_state(arrays: Any, block: int, s: Any):
    store3(arrays, POS_W, block, s.pos_w)
    store4(arrays, QUAT_WB, block, s.quat_wb)
    store3(arrays, VEL_W, block, s.vel_w)
    store3(arrays, ANG_VEL_B, block, s.ang_vel_b)
    store4(arrays, ROTOR, block, s.rotor)


@wp.func
def parameter(arrays: Any, block: int, k: int, like: Any):
    """Return a column of the vehicle table for the vehicles of a block."""
    out = type(like)()
    for lane in range(len(like)):
        out[lane] = arrays.table[arrays.vehicle[block * len(like) + lane], k]
    return out


@wp.func
def parameter3(arrays: Any, block: int, k: int, like: Any):
    return type(like)(
        parameter(arrays, block, k, like.x),
        parameter(arrays, block, k + 1, like.x),
        parameter(arrays, block, k + 2, like.x),
    )


@wp.func
def parameter4(arrays: Any, block: int, k: int, like: Any):
    return type(like)(
        parameter(arrays, block, k, like.x),
        parameter(arrays, block, k + 1, like.x),
        parameter(arrays, block, k + 2, like.x),
        parameter(arrays, block, k + 3, like.x),
    )


@wp.func
def load_vehicle(arrays: Any, block: int, like: Any):
    v = type(like)()
    v.mass_inv = parameter(arrays, block, MASS_INV, v.mass_inv)
    v.inertia.diagonal = parameter3(arrays, block, INERTIA, v.drag)
    v.inertia.rest = parameter3(arrays, block, INERTIA + 3, v.drag)
    v.inertia_inv.diagonal = parameter3(arrays, block, INERTIA_INV, v.drag)
    v.inertia_inv.rest = parameter3(arrays, block, INERTIA_INV + 3, v.drag)
    v.torque_x = parameter4(arrays, block, TORQUE, v.torque_x)
    v.torque_y = parameter4(arrays, block, TORQUE + 4, v.torque_x)
    v.torque_z = parameter4(arrays, block, TORQUE + 8, v.torque_x)
    v.thrust_curve = parameter3(arrays, block, THRUST_CURVE, v.drag)
    v.rate_up = parameter(arrays, block, RATE_UP, v.rate_up)
    v.rate_down = parameter(arrays, block, RATE_DOWN, v.rate_down)
    v.drag = parameter3(arrays, block, DRAG, v.drag)
    v.force_w = state3(arrays, FORCE_W, block, v.drag)
    return v
