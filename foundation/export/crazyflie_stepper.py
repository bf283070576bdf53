"""Fly a Crazyflie's compiled controller in the simulator."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import numpy as np

from foundation.export.crazyflie import Vehicle
from foundation.export.errors import ExportError

FIRMWARE_HZ = 1000
"""Rate at which the firmware calls its controller [Hz]."""


class Controller:
    """The compiled controller of one vehicle, called as the firmware does."""

    def __init__(self, library: Path, full_thrust: float) -> None:
        """Load the library.

        Args:
            library: The compiled controller. One loaded file holds the state of one vehicle.
            full_thrust: Thrust of one motor at the firmware's full scale [N].
        """
        self.functions = ctypes.CDLL(str(library.resolve()))
        """The C functions of the loaded file."""
        self.full_thrust = full_thrust
        """Thrust of one motor at the firmware's full scale [N]."""

    def init(self) -> bool:
        """Restart the controller; return whether the firmware's self-test passes."""
        return bool(self.functions.bridge_init(ctypes.c_float(4.0 * self.full_thrust)))

    def control(
        self,
        state: np.ndarray,
        gyro_deg: np.ndarray,
        target: np.ndarray,
        yaw_deg: float | None = 0.0,
        enabled: bool = True,
        has_position: bool = True,
        calls: int = 1,
    ) -> np.ndarray:
        """Return the forces over full scale, shape (4,), after calls at 1000 Hz; -1 where PID flies.

        Args:
            state: Position [m], attitude (x, y, z, w), velocity [m/s], world frame, shape (10,).
            gyro_deg: Angular velocity, body frame [deg/s], shape (3,).
            target: Position setpoint [m], shape (3,).
            yaw_deg: Yaw setpoint [deg], or None for none.
            enabled: Whether ``foundation.enable`` is set.
            has_position: Whether the setpoint is a position.
            calls: Number of calls with these arguments.
        """
        forces = np.empty(4, dtype=np.float32)
        yaw, flags = ctypes.c_float(yaw_deg or 0.0), (int(enabled), int(has_position), int(yaw_deg is not None))
        arguments = (*c_arrays(state, gyro_deg, target), yaw, *flags, *c_arrays(forces))
        for _ in range(calls):
            self.functions.bridge_control(*arguments)
        return forces

    def is_stopped(self) -> bool:
        """Return whether the controller has stopped the motors."""
        return bool(self.functions.bridge_is_stopped())

    def action(self) -> np.ndarray:
        """Return the controller's last action, shape (4,)."""
        action = np.empty(4, dtype=np.float32)
        self.functions.bridge_action(*c_arrays(action))
        return action


class CrazyflieStepper:
    """Flies N vehicles with the controller, about another target and with another heading than the policy's."""

    TARGET = np.array([0.7, -1.3, 4.0])
    YAW_DEG = 40.0

    def __init__(self, library: Path, vehicle: Vehicle, num_envs: int, must_fly: bool = False) -> None:
        """Load a copy of the library for every vehicle.

        Args:
            library: The compiled controller.
            vehicle: Its parameters.
            num_envs: Number of vehicles.
            must_fly: Whether motors that the controller stops are an error.
        """
        self._must_fly = must_fly
        self.turn_deg = 0.0
        """Yaw setpoint relative to ``YAW_DEG`` [deg]."""
        self._vehicle = vehicle
        self._controllers = []
        for index in range(num_envs):
            copy = library.with_name(f"vehicle_{index}.so")
            shutil.copy(library, copy)
            self._controllers.append(Controller(copy, vehicle.full_thrust))
        self.reset(np.ones(num_envs, dtype=bool))

    def __call__(self, obs: np.ndarray) -> np.ndarray:
        """Return the actions (N, 4) that give the commanded forces, for observations (N, 22).

        Close to standstill the thrust curve is negative, but a motor cannot pull downwards: zero force then stands
        for a range of actions, and the controller's last action is returned.

        Raises:
            ExportError: If a controller that must fly has stopped the motors.
        """
        calls = FIRMWARE_HZ // self._vehicle.rate
        forces, last = np.empty((2, len(obs), 4))
        for index, (controller, row) in enumerate(zip(self._controllers, obs, strict=True)):
            state, gyro_deg = firmware_state(row.astype(np.float64), self.TARGET, self.YAW_DEG)
            yaw_deg = self.YAW_DEG + self.turn_deg
            forces[index] = controller.control(state, gyro_deg, self.TARGET, yaw_deg, calls=calls)
            last[index] = controller.action()
            if self._must_fly and controller.is_stopped():
                raise ExportError(_reason_to_stop(row, self._vehicle))
        smallest = 1e-9
        pushing = 2.0 * self._vehicle.speed(np.maximum(forces * self._vehicle.full_thrust, smallest)) - 1.0
        still = np.where(self._vehicle.thrust(last) <= 0.0, last, -1.0)
        return np.where(forces > 0.0, pushing, still).astype(np.float32)

    def reset(self, dones: np.ndarray) -> None:
        """Restart the controllers of the vehicles in a mask of shape (N,)."""
        for index in dones.nonzero()[0]:
            self._controllers[index].init()


def _reason_to_stop(obs: np.ndarray, vehicle: Vehicle) -> str:
    """Return why a controller has stopped the motors at these observations, shape (22,)."""
    bounds = {
        "velocity": (obs[12:15], vehicle.max_velocity, "m/s per axis of the policy's frame"),
        "angular velocity": (obs[15:18], vehicle.max_angular_velocity, "rad/s per axis of the body"),
    }
    for name, (values, bound, unit) in bounds.items():
        if np.abs(values).max() > bound:
            return (
                "in the export's flight the policy leaves the bounds of its controller, which stops the motors: "
                f"{name} {np.abs(values).max():.3g}, bound {bound:g} {unit}; train it to fly more slowly, or "
                f"train with a wider env.termination.{name.replace(' ', '_')}"
            )
    return "in the export's flight the controller stops the motors: an observation or an action is not finite"


def firmware_state(obs: np.ndarray, target: np.ndarray, yaw_deg: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the Crazyflie's state and gyroscope readings that give a policy these observations.

    Args:
        obs: The 22 observations, float64.
        target: Position setpoint, world frame [m], shape (3,).
        yaw_deg: Yaw setpoint [deg].

    Returns:
        Position [m], attitude (x, y, z, w) and velocity [m/s] in the world frame, shape (10,), and the angular
        velocity, body frame [deg/s], shape (3,).
    """
    yaw = np.radians(yaw_deg)
    to_world = np.array([[np.cos(yaw), -np.sin(yaw), 0.0], [np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
    quat = quaternion(to_world @ obs[3:12].reshape(3, 3))
    state = np.concatenate([target + to_world @ obs[:3], quat, to_world @ obs[12:15]])
    return state, np.degrees(obs[15:18])


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """Return the unit quaternion (x, y, z, w) of a rotation matrix (Shepperd 1978, largest component first)."""
    trace = np.trace(rotation)
    squares = np.array([*(1.0 + 2.0 * np.diagonal(rotation) - trace), 1.0 + trace])
    first = int(squares.argmax())
    cross = rotation - rotation.T
    out = np.empty(4)
    if first == 3:
        out[:3], out[3] = (cross[2, 1], cross[0, 2], cross[1, 0]), squares[3]
    else:
        out[:3] = rotation[first] + rotation[:, first]
        out[first] = squares[first]
        out[3] = (cross[2, 1], cross[0, 2], cross[1, 0])[first]
    return out / np.linalg.norm(out)


def c_arrays(*arrays: np.ndarray) -> list[ctypes.Array]:
    """Return arrays as float32 ctypes arrays, which keep their memory alive; float32 arrays are not copied."""
    return [np.ctypeslib.as_ctypes(np.ascontiguousarray(array, dtype=np.float32)) for array in arrays]
