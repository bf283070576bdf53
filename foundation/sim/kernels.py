"""The dynamics of :mod:`foundation.sim.reference` as NVIDIA Warp functions, for CPU and CUDA.

One thread advances one vehicle. Structures of arrays hold the batch; the functions work on values
held in registers, so that a task can fuse them with its own reward and observations.
"""

from __future__ import annotations

import warp as wp

from foundation.sim import params

# A machine without CUDA is a supported machine: Warp's start-up banner and warning say nothing new.
wp.config.log_level = wp.LOG_ERROR
wp.init()
wp.set_module_options({"enable_backward": False})

GRAVITY = wp.constant(wp.float32(params.GRAVITY))


@wp.struct
class VehicleTable:
    """Parameters of V vehicles; see :class:`foundation.sim.params.QuadParams` for units and frames."""

    mass: wp.array(dtype=wp.float32)
    inertia: wp.array(dtype=wp.mat33)
    inertia_inv: wp.array(dtype=wp.mat33)
    rotor_x: wp.array(dtype=wp.vec4)
    rotor_y: wp.array(dtype=wp.vec4)
    rotor_spin: wp.array(dtype=wp.vec4)
    thrust_curve: wp.array(dtype=wp.vec3)
    motor: wp.array(dtype=wp.vec3)  # torque constant [m], tau_up [s], tau_down [s]
    drag: wp.array(dtype=wp.vec3)
    force_std: wp.array(dtype=wp.float32)


@wp.struct
class StateArrays:
    """State of N vehicles; see :class:`foundation.sim.simulator.Simulator`."""

    pos_w: wp.array(dtype=wp.vec3)
    quat_wb: wp.array(dtype=wp.quat)
    vel_w: wp.array(dtype=wp.vec3)
    ang_vel_b: wp.array(dtype=wp.vec3)
    rotor: wp.array(dtype=wp.vec4)
    force_w: wp.array(dtype=wp.vec3)
    vehicle: wp.array(dtype=wp.int32)


@wp.struct
class Vehicle:
    """One row of the vehicle table."""

    mass: wp.float32
    inertia: wp.mat33
    inertia_inv: wp.mat33
    rotor_x: wp.vec4
    rotor_y: wp.vec4
    rotor_spin: wp.vec4
    thrust_curve: wp.vec3
    motor: wp.vec3
    drag: wp.vec3


@wp.struct
class State:
    """State of one vehicle, or its time derivative."""

    pos_w: wp.vec3
    quat_wb: wp.quat
    vel_w: wp.vec3
    ang_vel_b: wp.vec3
    rotor: wp.vec4


@wp.struct
class Integrator:
    """How to advance time."""

    dt: wp.float32  # control step [s]
    substeps: wp.int32


@wp.func
def load_vehicle(table: VehicleTable, v: wp.int32) -> Vehicle:
    out = Vehicle()
    out.mass = table.mass[v]
    out.inertia = table.inertia[v]
    out.inertia_inv = table.inertia_inv[v]
    out.rotor_x = table.rotor_x[v]
    out.rotor_y = table.rotor_y[v]
    out.rotor_spin = table.rotor_spin[v]
    out.thrust_curve = table.thrust_curve[v]
    out.motor = table.motor[v]
    out.drag = table.drag[v]
    return out


@wp.func
def load_state(arrays: StateArrays, i: wp.int32) -> State:
    out = State()
    out.pos_w = arrays.pos_w[i]
    out.quat_wb = arrays.quat_wb[i]
    out.vel_w = arrays.vel_w[i]
    out.ang_vel_b = arrays.ang_vel_b[i]
    out.rotor = arrays.rotor[i]
    return out


@wp.func
def store_state(arrays: StateArrays, i: wp.int32, s: State):
    arrays.pos_w[i] = s.pos_w
    arrays.quat_wb[i] = s.quat_wb
    arrays.vel_w[i] = s.vel_w
    arrays.ang_vel_b[i] = s.ang_vel_b
    arrays.rotor[i] = s.rotor


@wp.func
def motor_lag(rotor: wp.vec4, command: wp.vec4, tau_up: wp.float32, tau_down: wp.float32) -> wp.vec4:
    rate = wp.vec4()
    for k in range(4):
        rate[k] = (command[k] - rotor[k]) / wp.where(command[k] > rotor[k], tau_up, tau_down)
    return rate


@wp.func
def rotor_thrust(rotor: wp.vec4, curve: wp.vec3) -> wp.vec4:
    thrust = wp.vec4()
    for k in range(4):
        thrust[k] = curve[0] + rotor[k] * (curve[1] + rotor[k] * curve[2])
    return thrust


@wp.func
def derivative(s: State, command: wp.vec4, v: Vehicle, force_w: wp.vec3) -> State:
    unit = wp.normalize(s.quat_wb)
    thrust = rotor_thrust(s.rotor, v.thrust_curve)
    total = thrust[0] + thrust[1] + thrust[2] + thrust[3]
    vel_b = wp.quat_rotate_inv(unit, s.vel_w)
    force_b = wp.vec3(0.0, 0.0, total) - wp.cw_mul(v.drag, vel_b)
    torque_b = wp.vec3(
        wp.dot(v.rotor_y, thrust), -wp.dot(v.rotor_x, thrust), -v.motor[0] * wp.dot(v.rotor_spin, thrust)
    )
    gyroscopic = wp.cross(s.ang_vel_b, v.inertia * s.ang_vel_b)
    rate = State()
    rate.pos_w = s.vel_w
    rate.quat_wb = s.quat_wb * wp.quat(s.ang_vel_b, 0.0) * 0.5
    rate.vel_w = (wp.quat_rotate(unit, force_b) + force_w) / v.mass - wp.vec3(0.0, 0.0, GRAVITY)
    rate.ang_vel_b = v.inertia_inv * (torque_b - gyroscopic)
    rate.rotor = motor_lag(s.rotor, command, v.motor[1], v.motor[2])
    return rate


@wp.func
def plus(s: State, rate: State, dt: wp.float32) -> State:
    out = State()
    out.pos_w = s.pos_w + rate.pos_w * dt
    out.quat_wb = s.quat_wb + rate.quat_wb * dt
    out.vel_w = s.vel_w + rate.vel_w * dt
    out.ang_vel_b = s.ang_vel_b + rate.ang_vel_b * dt
    out.rotor = s.rotor + rate.rotor * dt
    return out


@wp.func
def rk4_step(s: State, command: wp.vec4, v: Vehicle, force_w: wp.vec3, dt: wp.float32) -> State:
    k1 = derivative(s, command, v, force_w)
    k2 = derivative(plus(s, k1, dt * 0.5), command, v, force_w)
    k3 = derivative(plus(s, k2, dt * 0.5), command, v, force_w)
    k4 = derivative(plus(s, k3, dt), command, v, force_w)
    total = plus(plus(k1, k2, 2.0), plus(k4, k3, 2.0), 1.0)
    after = plus(s, total, dt / 6.0)
    after.quat_wb = wp.normalize(after.quat_wb)
    return after


@wp.func
def advance(s: State, command: wp.vec4, v: Vehicle, force_w: wp.vec3, integrator: Integrator) -> State:
    """Advance one vehicle by a control step; ``command`` is clipped to [0, 1]."""
    clipped = wp.vec4()
    for k in range(4):
        clipped[k] = wp.clamp(command[k], 0.0, 1.0)
    dt = integrator.dt / float(integrator.substeps)
    after = s
    for _ in range(integrator.substeps):
        after = rk4_step(after, clipped, v, force_w, dt)
    return after


@wp.kernel
def physics_step(
    arrays: StateArrays, table: VehicleTable, command: wp.array(dtype=wp.vec4), integrator: Integrator
):
    """Advance every vehicle by one control step."""
    i = wp.tid()
    vehicle = load_vehicle(table, arrays.vehicle[i])
    after = advance(load_state(arrays, i), command[i], vehicle, arrays.force_w[i], integrator)
    store_state(arrays, i, after)
