"""Vehicles with a name, whose parameters others have published."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from foundation.sim.params import ALTERNATING, GRAVITY, QuadParams

_CORNERS = np.array([[1.0, -1.0, 0.0], [-1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], [1.0, 1.0, 0.0]])
"""Front-right, back-right, back-left, front-left."""


def _cross(
    arm: float,
    mass: float,
    inertia: tuple[float, float, float],
    thrust_curve: tuple[float, float, float],
    torque_constant: float,
    tau: tuple[float, float],
) -> QuadParams:
    """Return a vehicle with its rotors at (± arm, ± arm) [m], without drag; ``tau`` is rising and falling [s]."""
    return QuadParams(
        mass=np.array([mass]),
        inertia=np.diag(inertia)[None],
        rotor_pos_b=arm * _CORNERS[None],
        rotor_spin=np.array([ALTERNATING]),
        thrust_curve=np.array([thrust_curve]),
        torque_constant=np.array([torque_constant]),
        tau_up=np.array([tau[0]]),
        tau_down=np.array([tau[1]]),
        drag=np.zeros((1, 3)),
        force_std=np.zeros(1),
    )


def _identified(
    mass: float,
    inertia: tuple[float, float, float],
    max_thrust: float,
    thrust: tuple[float, float],
    torque: tuple[float, float],
    rise: tuple[float, float],
    fall: tuple[float, float],
    drag: tuple[float, float],
) -> QuadParams:
    """Return a Crazyflie as crazyflow describes it: rotors in RPM, with linear and quadratic coefficients.

    Speeds become shares of the RPM that gives ``max_thrust`` [N] per rotor; the motors are linearised at hover.
    """

    def rpm(newtons: float) -> float:
        return (-thrust[0] + math.sqrt(thrust[0] ** 2 + 4.0 * thrust[1] * newtons)) / (2.0 * thrust[1])

    full, hover = rpm(max_thrust), rpm(mass * GRAVITY / 4.0)
    tau_up, tau_down = (1.0 / (linear + 2.0 * quadratic * hover) for linear, quadratic in (rise, fall))
    vehicle = _cross(
        arm=0.03253,
        mass=mass,
        inertia=inertia,
        thrust_curve=(0.0, thrust[0] * full, thrust[1] * full**2),
        torque_constant=(torque[0] * full + torque[1] * full**2) / max_thrust,
        tau=(tau_up, tau_down),
    )
    return replace(vehicle, drag=np.array([[drag[0], drag[0], drag[1]]]))


def crazyflie() -> QuadParams:
    """Return the Crazyflie 2.1 with flow deck of L2F (rl_tools, ``l2f/parameters/dynamics/crazyflie.h``)."""
    return _cross(
        arm=0.028,
        mass=0.0306,
        inertia=(9.416556729130406e-06, 9.644051701582312e-06, 1.745951732253285e-05),
        thrust_curve=(0.00352526, 0.01437313, 0.09223048),
        torque_constant=4.665e-3,
        tau=(0.05545454545454546, 0.24939393939393945),
    )


def cf2x_l250() -> QuadParams:
    """Return the Crazyflie with legacy propellers, as crazyflow 0.4.0 identified it in flight (``cf2x_L250``)."""
    return _identified(
        mass=0.0328,
        inertia=(16.8e-6, 16.8e-6, 29.8e-6),
        max_thrust=0.12,
        thrust=(-5.382196214637237e-7, 2.4582929831265485e-10),
        torque=(1.410454111996297e-9, 1.4592584373980652e-12),
        rise=(7.355623702172756, 0.0),
        fall=(0.0, 0.00024443862952110715),
        drag=(0.014953790232821078, 0.013900090000325344),
    )


def cf2x_p250() -> QuadParams:
    """Return the Crazyflie with newer propellers, as crazyflow 0.4.0 identified it in flight (``cf2x_P250``)."""
    return _identified(
        mass=0.0318,
        inertia=(16.8e-6, 16.8e-6, 29.8e-6),
        max_thrust=0.12,
        thrust=(-3.6200226530383495e-7, 1.6060924304100328e-10),
        torque=(-2.2665265829562245e-9, 1.1149485566919186e-12),
        rise=(5.172596691828673, 8.14774234381285e-5),
        fall=(0.0, 0.0002095253491455741),
        drag=(0.01351483, 0.01677452),
    )


def cf2x_t350() -> QuadParams:
    """Return the Crazyflie with the thrust upgrade, as crazyflow 0.4.0 identified it in flight (``cf2x_T350``)."""
    return _identified(
        mass=0.0379,
        inertia=(15.7e-6, 17.1e-6, 30.0e-6),
        max_thrust=0.18,
        thrust=(-7.167227176573658e-7, 2.9401303690194613e-10),
        torque=(5.815894847811497e-10, 1.331813874166509e-12),
        rise=(11.374753209400291, 0.0),
        fall=(0.0, 0.00037867688499079635),
        drag=(0.015203241038199845, 0.02204579179094129),
    )


def x500() -> QuadParams:
    """Return the Holybro X500, 2 kg, as simulated for PX4 (rl_tools, ``l2f/parameters/dynamics/x500_sim.h``)."""
    return _cross(
        arm=0.176776695296636,
        mass=2.0,
        inertia=(0.0216666666666666, 0.0216666666666666, 0.04),
        thrust_curve=(0.0, 0.0, 8.74),
        torque_constant=0.11697849233439939,
        tau=(0.03, 0.03),
    )


def flightmare() -> QuadParams:
    """Return the racing quadrotor of Flightmare, 0.73 kg (rl_tools, ``l2f/parameters/dynamics/flightmare.h``)."""
    return _cross(
        arm=0.17 * math.sqrt(0.5),
        mass=0.73,
        inertia=(0.00791, 0.00791, 0.0123),
        thrust_curve=(-1.7689986848125325, 11.50824315802381, 11.968428150335603),
        torque_constant=0.016,
        tau=(0.02, 0.02),
    )


VEHICLES: dict[str, Callable[[], QuadParams]] = {
    "crazyflie": crazyflie,
    "cf2x_L250": cf2x_l250,
    "cf2x_P250": cf2x_p250,
    "cf2x_T350": cf2x_t350,
    "x500": x500,
    "flightmare": flightmare,
}
"""By the name that ``env.robot.vehicle`` takes; each without disturbance force."""
