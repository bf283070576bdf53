"""A controller for the Crazyflie firmware's app layer."""

from __future__ import annotations

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
    """Bound of the linear velocity, per axis of the policy's frame, whose x axis is the heading flown to [m/s]."""
    max_angular_velocity: float
    """Bound of the angular velocity, per axis of the body frame [rad/s]."""
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


def flown_cfg(cfg: PointCtrlEnvCfg) -> PointCtrlEnvCfg:
    """Return the task for the check: the nominal vehicle, exact sensors, rotors at hover speed at first."""
    exact = dict.fromkeys(("position", "attitude", "velocity", "angular_velocity", "delay"), 0.0)
    return replace(
        cfg,
        states=None,
        noise=replace(cfg.noise, **exact),
        init=replace(cfg.init, rotor=(1.0, 1.0), rotor_over_hover=True),
        randomization=replace(cfg.randomization, family="none"),
    )
