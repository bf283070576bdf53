"""Fly the cascaded PID controller and the LQR expert: to a point, against a force, in circles; all named vehicles.

Vehicles fly in the float64 dynamics. The circle has a radius of 1 m; positions and velocities are told relative to
it. The LQR expert is told of the acceleration as a force, the PID controller is not: it has no place for it. The
last lines raise the gains of the rate loop until a vehicle oscillates, at 100 and at 500 control steps per second.

Run: python benchmarks/pid.py
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields

import numpy as np
import torch

from foundation.control.expert import LqrExpert
from foundation.control.pid import CascadedPid
from foundation.control.pid_cfg import PidCfg
from foundation.sim import reference
from foundation.sim.params import GRAVITY, QuadParams
from foundation.sim.vehicles import VEHICLES

Reference = Callable[[float], np.ndarray]
"""Position, velocity and acceleration at a time [s], shape (3, 3)."""

NAMED = [make() for make in VEHICLES.values()]
FLEET = QuadParams(**{f.name: np.concatenate([getattr(v, f.name) for v in NAMED]) for f in fields(QuadParams)})
WIDE = math.radians(35.0)
"""A tilt limit that lets the vehicles fly the faster circle [rad]."""


def point(_: float) -> np.ndarray:
    """Return the origin at rest."""
    return np.zeros((3, 3))


def circle(speed: float) -> Reference:
    """Return a circle with a radius of 1 m through the origin."""

    def at(time: float) -> np.ndarray:
        cosine, sine = math.cos(speed * time), math.sin(speed * time)
        rows = [[cosine - 1.0, sine, 0.0], [-speed * sine, speed * cosine, 0.0]]
        return np.array([*rows, [-(speed**2) * cosine, -(speed**2) * sine, 0.0]])

    return at


def fly(
    controller: CascadedPid | LqrExpert,
    seconds: float,
    path: Reference = point,
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0),
    force_w: np.ndarray | float = 0.0,
    dt: float = 0.01,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances to the path [m], shape (T, V), and the body rates [rad/s], shape (T, V, 3)."""
    count, tells = len(FLEET), isinstance(controller, LqrExpert)
    zero, force = np.zeros((count, 3)), np.zeros((count, 3)) + force_w
    level, hover = np.tile([0.0, 0.0, 0.0, 1.0], (count, 1)), np.tile(FLEET.hover_speed[:, None], 4)
    state = reference.QuadState(zero + path(0.0)[0] + offset, level, zero + path(0.0)[1], zero, hover)
    last, distances, rates = hover, [], []
    for step in range(round(seconds / dt)):
        pos_w, vel_w, acc_w = path(step * dt)
        told = force - FLEET.mass[:, None] * acc_w if tells else zero
        given = (state.pos_w - pos_w, state.quat_wb, state.vel_w - vel_w, state.ang_vel_b, state.rotor, last, told)
        last = controller(torch.arange(count), *map(torch.as_tensor, given)).numpy()
        state = reference.step(state, last, FLEET, force, dt)
        distances.append(np.linalg.norm(state.pos_w - path((step + 1) * dt)[0], axis=1))
        rates.append(state.ang_vel_b)
    return np.array(distances), np.array(rates)


def pid(dt: float = 0.01, **changes: float) -> CascadedPid:
    """Return a new controller."""
    return CascadedPid(FLEET, len(FLEET), PidCfg(**changes), dt, dtype=torch.float64)


def print_row(name: str, values: np.ndarray) -> None:
    """Print one number per vehicle."""
    print(f"{name:44s}" + "".join(f"{value:12.4f}" for value in values), flush=True)


def main() -> None:
    """Print the table."""
    expert = LqrExpert(FLEET, dtype=torch.float64)
    print(f"{'':44s}" + "".join(f"{name:>12s}" for name in VEHICLES))
    start = (0.2, -0.15, 0.165)
    for name, controller in (("PID", pid()), ("LQR", expert)):
        distances, _ = fly(controller, 20.0, offset=start)
        print_row(f"{name}: farthest from the point [m]", distances.max(0))
        for second in (5, 10, 20):
            print_row(f"{name}: from the point after {second} s [m]", distances[100 * second - 1])
    force = 0.1 * FLEET.mass[:, None] * GRAVITY * np.array([1.0, 0.0, 0.0])
    distances, _ = fly(pid(), 60.0, force_w=force)
    for second in (5, 20, 60):
        print_row(f"PID: 0.1 weight across, after {second} s [m]", distances[100 * second - 1])
    for speed in (1.0, 2.0):
        for name, controller in (("PID", pid()), ("PID, 35 deg", pid(tilt_limit=WIDE)), ("LQR", expert)):
            distances, _ = fly(controller, 16.0, circle(speed))
            print_row(f"{name}: circle at {speed:.0f} m/s, RMSE [m]", np.sqrt((distances[400:] ** 2).mean(0)))
    for dt in (0.01, 0.002):
        print_row(f"PID: rate gains times, at {1 / dt:.0f} Hz", highest_factor(dt))


def highest_factor(dt: float) -> np.ndarray:
    """Return the highest factor on the rate loop's gains, in steps of a half, at which no oscillation stays."""
    gains = {name: value for name, value in vars(PidCfg()).items() if name.startswith("tilt_rate")}
    gains.pop("tilt_rate_integral_limit")
    calm, highest = np.ones(len(FLEET), dtype=bool), np.zeros(len(FLEET))
    for factor in np.arange(1.0, 12.1, 0.5):
        cfg = {name: factor * value for name, value in gains.items()}
        _, rates = fly(pid(dt, **cfg), 2.5, offset=(1e-3, 1e-3, 0.0), dt=dt)
        early, late = (np.abs(part).max((0, 2)) for part in np.split(rates, 2))
        calm &= late < 0.5 * early
        highest = np.where(calm, factor, highest)
        if not calm.any():
            break
    return highest


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
