"""The dynamics in float64 NumPy: slow, written to be read, and the oracle of the Warp kernels.

A vehicle is a rigid body with four rotors. All functions are pure and batched over a leading
dimension N. Quaternions are (x, y, z, w) and take body vectors to world vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from foundation.sim.params import GRAVITY, QuadParams


@dataclass(frozen=True)
class QuadState:
    """The state of N quadrotors, or its time derivative."""

    pos_w: np.ndarray
    """Position of the centre of mass, world frame [m], shape (N, 3)."""
    quat_wb: np.ndarray
    """Attitude, body to world, (x, y, z, w), shape (N, 4)."""
    vel_w: np.ndarray
    """Linear velocity, world frame [m/s], shape (N, 3)."""
    ang_vel_b: np.ndarray
    """Angular velocity, body frame [rad/s], shape (N, 3)."""
    rotor: np.ndarray
    """Rotor speeds as a share of full speed, shape (N, 4)."""

    def plus(self, rate: QuadState, dt: float) -> QuadState:
        """Return this state moved along ``rate`` for ``dt`` seconds."""
        return QuadState(**{f.name: getattr(self, f.name) + dt * getattr(rate, f.name) for f in fields(self)})


def rotation_matrix(quat_wb: np.ndarray) -> np.ndarray:
    """Return the body-to-world rotation matrices of quaternions of any norm, shape (N, 3, 3)."""
    x, y, z, w = (quat_wb / np.linalg.norm(quat_wb, axis=-1, keepdims=True)).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def quaternion_rate(quat_wb: np.ndarray, ang_vel_b: np.ndarray) -> np.ndarray:
    """Return the quaternion's derivative, half the product of the quaternion and the body rate, shape (N, 4)."""
    x, y, z, w = quat_wb.T
    p, q, r = ang_vel_b.T
    return 0.5 * np.stack(
        [w * p + y * r - z * q, w * q + z * p - x * r, w * r + x * q - y * p, -x * p - y * q - z * r], axis=-1
    )


def motor_lag(rotor: np.ndarray, command: np.ndarray, tau_up: np.ndarray, tau_down: np.ndarray) -> np.ndarray:
    """Return the rotors' acceleration [1/s] towards their command, faster or slower by direction, shape (N, 4)."""
    tau = np.where(command > rotor, tau_up[:, None], tau_down[:, None])
    return (command - rotor) / tau


def rotor_thrust(rotor: np.ndarray, thrust_curve: np.ndarray) -> np.ndarray:
    """Return each rotor's thrust c0 + c1 u + c2 u^2 [N], shape (N, 4)."""
    c0, c1, c2 = (thrust_curve[:, None, i] for i in range(3))
    return c0 + c1 * rotor + c2 * rotor**2


def rotor_torque_b(thrust: np.ndarray, params: QuadParams) -> np.ndarray:
    """Return the rotors' torque about the centre of mass, body frame [N m], shape (N, 3)."""
    x, y = params.rotor_pos_b[..., 0], params.rotor_pos_b[..., 1]
    reaction = -params.torque_constant[:, None] * params.rotor_spin * thrust
    return np.stack([(y * thrust).sum(-1), -(x * thrust).sum(-1), reaction.sum(-1)], axis=-1)


def derivative(state: QuadState, command: np.ndarray, params: QuadParams, force_w: np.ndarray) -> QuadState:
    """Return the state's time derivative by Newton and Euler.

    Args:
        state: The state of N vehicles.
        command: Commanded rotor speeds in [0, 1], shape (N, 4).
        params: The N vehicles.
        force_w: Disturbance force on the centre of mass, world frame [N], shape (N, 3).
    """
    rotation = rotation_matrix(state.quat_wb)
    thrust = rotor_thrust(state.rotor, params.thrust_curve)
    vel_b = np.einsum("nji,nj->ni", rotation, state.vel_w)
    force_b = -params.drag * vel_b
    force_b[:, 2] += thrust.sum(-1)
    acc_w = (np.einsum("nij,nj->ni", rotation, force_b) + force_w) / params.mass[:, None]
    acc_w[:, 2] -= GRAVITY
    momentum_b = np.einsum("nij,nj->ni", params.inertia, state.ang_vel_b)
    torque_b = rotor_torque_b(thrust, params) - np.cross(state.ang_vel_b, momentum_b)
    return QuadState(
        pos_w=state.vel_w,
        quat_wb=quaternion_rate(state.quat_wb, state.ang_vel_b),
        vel_w=acc_w,
        ang_vel_b=np.linalg.solve(params.inertia, torque_b[..., None])[..., 0],
        rotor=motor_lag(state.rotor, command, params.tau_up, params.tau_down),
    )


def rk4_step(
    state: QuadState, command: np.ndarray, params: QuadParams, force_w: np.ndarray, dt: float
) -> QuadState:
    """Return the state ``dt`` seconds later by one classical Runge-Kutta step, the quaternion normalised."""
    k1 = derivative(state, command, params, force_w)
    k2 = derivative(state.plus(k1, dt / 2), command, params, force_w)
    k3 = derivative(state.plus(k2, dt / 2), command, params, force_w)
    k4 = derivative(state.plus(k3, dt), command, params, force_w)
    after = state.plus(k1, dt / 6).plus(k2, dt / 3).plus(k3, dt / 3).plus(k4, dt / 6)
    unit = after.quat_wb / np.linalg.norm(after.quat_wb, axis=-1, keepdims=True)
    return QuadState(after.pos_w, unit, after.vel_w, after.ang_vel_b, after.rotor)


def step(
    state: QuadState,
    command: np.ndarray,
    params: QuadParams,
    force_w: np.ndarray,
    dt: float = 0.01,
    substeps: int = 1,
) -> QuadState:
    """Return the state after one control step of ``dt`` seconds in ``substeps`` integration steps.

    Commands are clipped to [0, 1].
    """
    command = np.clip(command, 0.0, 1.0)
    for _ in range(substeps):
        state = rk4_step(state, command, params, force_w, dt / substeps)
    return state
