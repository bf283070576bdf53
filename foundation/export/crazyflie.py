"""A controller for the Crazyflie firmware's app layer, and the stepper that flies it in the simulator."""

from __future__ import annotations

import ctypes
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

import numpy as np

import foundation
from foundation.export.c_header import TEMPLATES, Origin, c_literal, comment
from foundation.export.c_library import Compiled, compile_c
from foundation.export.errors import ExportError

if TYPE_CHECKING:
    from foundation.sim.params import QuadParams
    from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg

FOLDER = TEMPLATES / "crazyflie"
STAND_IN = FOLDER / "stand_in"
RATES = (1000, 500, 250, 100, 50, 25)
"""Rates that the firmware defines and that divide its 1000 Hz evenly [Hz]."""
NUM_OBS, NUM_ACTIONS = 22, 4
FIRMWARE_HZ = 1000
HEADING_SHARE = 0.6
"""Largest turn at once over the largest tilt that training starts from, which is about any axis."""
LEAST_UPGRADED_THRUST = 0.15
"""Threshold between a standard motor's full thrust in the firmware, 0.12 N, and the upgrade kit's, 0.18 N [N]."""
_UPGRADED = "CONFIG_CRAZYFLIE_THRUST_UPGRADE_KIT=y\n"
NOWHERE_CLAMPED = ("-DFOUNDATION_REACH=1e6f", "-DFOUNDATION_HEADING_REACH=7.0f")
"""Compiler flags that remove the limits on the distance and the turn to a setpoint, for the check."""
_FILES = ("README.md", "Makefile", "Kbuild", "app-config")
_SOURCES = ("Kbuild", "conversions.h", "foundation_controller.c", "vehicle.h")


@dataclass(frozen=True)
class Vehicle:
    """Parameters of the controller, from the vehicle and the task that a policy was trained on."""

    thrust_curve: tuple[float, float, float]
    """c0, c1, c2 of one rotor's thrust [N] over its speed in [0, 1]."""
    hover_action: float
    """Action at which the nominal vehicle hovers."""
    reach: float
    """Largest distance to the target, per axis, that training starts from [m]."""
    heading_reach: float
    """Largest turn towards another heading at once [rad]."""
    max_velocity: float
    """Bound of the linear velocity, per axis [m/s]."""
    max_angular_velocity: float
    """Bound of the angular velocity, per axis [rad/s]."""
    rate: int
    """Steps of the policy per second [Hz]."""

    @classmethod
    def of(cls, cfg: PointCtrlEnvCfg, nominal: QuadParams) -> Vehicle:
        """Return the parameters of a task and its nominal vehicle.

        Raises:
            ExportError: If the firmware has no loop at the task's rate.
        """
        rate = round(1.0 / cfg.sim.dt)
        if rate not in RATES or not np.isclose(rate * cfg.sim.dt, 1.0):
            raise ExportError(
                f"env.sim.dt={cfg.sim.dt} fits no loop of the firmware; it has {', '.join(map(str, RATES))} Hz"
            )
        c0, c1, c2 = nominal.thrust_curve[0].tolist()
        return cls(
            (c0, c1, c2),
            2.0 * float(nominal.hover_speed[0]) - 1.0,
            cfg.init.position,
            HEADING_SHARE * cfg.init.tilt,
            cfg.termination.velocity,
            cfg.termination.angular_velocity,
            rate,
        )

    @property
    def full_thrust(self) -> float:
        """Thrust of one rotor at full speed [N]."""
        return sum(self.thrust_curve)

    def speed(self, thrust: np.ndarray) -> np.ndarray:
        """Return the speed of a rotor in [0, 1] that gives a positive thrust [N]."""
        c0, c1, c2 = self.thrust_curve
        # The form without cancellation also covers c2 = 0, a linear thrust curve.
        offset = c0 - thrust
        return -2.0 * offset / (c1 + np.sqrt(c1**2 - 4.0 * c2 * offset))

    def thrust(self, action: np.ndarray) -> np.ndarray:
        """Return the thrust of a rotor [N] for an action in [-1, 1]."""
        c0, c1, c2 = self.thrust_curve
        speed = 0.5 * (action + 1.0)
        return c0 + speed * (c1 + speed * c2)


def write_crazyflie(header: str, vehicle: Vehicle, origin: Origin, folder: Path) -> None:
    """Write the folder of a firmware app.

    Args:
        header: The policy's C header.
        vehicle: Parameters of the controller.
        origin: Origin of the policy.
        folder: An empty folder.
    """
    names = {"version": foundation.__version__, "source": comment(origin.source), "rate": vehicle.rate}
    numbers: dict[str, float] = dict(zip(("thrust_0", "thrust_1", "thrust_2"), vehicle.thrust_curve, strict=True))
    for name in ("hover_action", "reach", "heading_reach", "max_velocity", "max_angular_velocity"):
        numbers[name] = getattr(vehicle, name)
    fields = names | {name: c_literal(value) for name, value in numbers.items()}
    fields["propellers"] = _UPGRADED if vehicle.full_thrust > LEAST_UPGRADED_THRUST else ""
    (folder / "src").mkdir()
    for name in (*_FILES, *(f"src/{name}" for name in _SOURCES)):
        text = (FOLDER / name).read_text()
        filled = name.endswith(("README.md", "vehicle.h", "app-config"))
        (folder / name).write_text(Template(text).substitute(fields) if filled else text)
    (folder / "src" / "policy.h").write_text(header)


def compile_crazyflie(folder: Path, output: Path, *flags: str) -> Compiled:
    """Compile the controller against stand-ins for the firmware's headers.

    Args:
        folder: The app, as written by :func:`write_crazyflie`.
        output: The library to write.
        *flags: Other flags of the compiler.

    Raises:
        ExportError: If there is no C compiler, or it refuses the sources.
    """
    return compile_c([STAND_IN / "bridge.c"], [folder / "src", STAND_IN], output, *flags)


class Controller:
    """The compiled controller of one vehicle, called as the firmware does."""

    def __init__(self, library: Path, full_thrust: float) -> None:
        """Load the library.

        Args:
            library: The compiled controller. One loaded file holds the state of one vehicle.
            full_thrust: Thrust of one motor at the firmware's full scale [N].
        """
        self.library = ctypes.CDLL(str(library.resolve()))
        """The loaded library."""
        self.full_thrust = full_thrust
        """Thrust of one motor at the firmware's full scale [N]."""

    def init(self) -> bool:
        """Restart the controller; return whether the firmware's self-test passes."""
        return bool(self.library.bridge_init(ctypes.c_float(4.0 * self.full_thrust)))

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
            self.library.bridge_control(*arguments)
        return forces

    def action(self) -> np.ndarray:
        """Return the controller's last action, shape (4,)."""
        action = np.empty(4, dtype=np.float32)
        self.library.bridge_action(*c_arrays(action))
        return action


class CrazyflieStepper:
    """Flies N vehicles with the controller, about another target and with another heading than the policy's."""

    TARGET = np.array([0.7, -1.3, 4.0])
    YAW_DEG = 40.0

    def __init__(self, library: Path, vehicle: Vehicle, num_envs: int) -> None:
        """Load a copy of the library for every vehicle."""
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
        """
        calls = FIRMWARE_HZ // self._vehicle.rate
        forces, last = np.empty((2, len(obs), 4))
        for index, (controller, row) in enumerate(zip(self._controllers, obs, strict=True)):
            state, gyro_deg = firmware_state(row.astype(np.float64), self.TARGET, self.YAW_DEG)
            yaw_deg = self.YAW_DEG + self.turn_deg
            forces[index] = controller.control(state, gyro_deg, self.TARGET, yaw_deg, calls=calls)
            last[index] = controller.action()
        smallest = 1e-9
        pushing = 2.0 * self._vehicle.speed(np.maximum(forces * self._vehicle.full_thrust, smallest)) - 1.0
        still = np.where(self._vehicle.thrust(last) <= 0.0, last, -1.0)
        return np.where(forces > 0.0, pushing, still).astype(np.float32)

    def reset(self, dones: np.ndarray) -> None:
        """Restart the controllers of the vehicles in a mask of shape (N,)."""
        for index in dones.nonzero()[0]:
            self._controllers[index].init()


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


def flown_cfg(cfg: PointCtrlEnvCfg) -> PointCtrlEnvCfg:
    """Return the task for the check: the nominal vehicle, exact sensors, rotors at hover speed at first."""
    exact = replace(cfg.noise, position=0.0, attitude=0.0, velocity=0.0, angular_velocity=0.0)
    return replace(
        cfg,
        noise=exact,
        init=replace(cfg.init, rotor=(1.0, 1.0)),
        randomization=replace(cfg.randomization, family="none"),
    )


def c_arrays(*arrays: np.ndarray) -> list[ctypes.Array]:
    """Return arrays as float32 ctypes arrays, which keep their memory alive; float32 arrays are not copied."""
    return [np.ctypeslib.as_ctypes(np.ascontiguousarray(array, dtype=np.float32)) for array in arrays]
