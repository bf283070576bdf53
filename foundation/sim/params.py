"""Physical parameters of quadrotors, in SI units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from foundation.sim.layout import first_indices

GRAVITY = 9.81
"""Gravitational acceleration [m/s^2], the value crazyflow identifies its models with."""

ALTERNATING = (1, -1, 1, -1)
"""Turning directions of a Crazyflie's rotors, in the order of :class:`QuadParams`."""

Columns = Callable[["QuadParams"], np.ndarray]


def parameter(*shape: int, sign: str | None = None, **columns: Columns | tuple[int, Columns]) -> dict[str, Any]:
    """Declare a parameter of a vehicle, for validation, the vehicle table and the kernels.

    Args:
        shape: Shape of one vehicle's value.
        sign: Required of every number: ``positive``, ``zero or positive``, or None.
        columns: Columns of the vehicle table that derive from it, by name: a function of the :class:`QuadParams`,
            preceded by the number of columns if that is not 1. Kernels read ``drag=(3, ...)`` as columns
            ``Column.DRAG`` to ``Column.DRAG + 2``.
    """
    return {
        "shape": shape,
        "sign": sign,
        "columns": {name: given if isinstance(given, tuple) else (1, given) for name, given in columns.items()},
    }


def _upper_triangle(matrix: np.ndarray) -> np.ndarray:
    """Return xx, yy, zz, xy, xz, yz of symmetric matrices, shape (V, 6)."""
    return matrix[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]


@dataclass(frozen=True)
class QuadParams:
    """A batch of V quadrotors; every field is float64 and has a leading dimension V.

    A field declares everything about its parameter. To add one, add a field here, read its columns in
    :func:`foundation.sim.kernels.dynamics.derivative` and in :func:`foundation.sim.reference.derivative`, and give
    the nominal vehicle's value in :class:`MotorParams` or :func:`foundation.sim.usd.load_quad`.

    The body frame is FLU (x forward, y left, z up) with its origin at the centre of mass. Rotors
    are ordered front-right, back-right, back-left, front-left and push along body +z.

    Raises:
        ValueError: If a field has the wrong shape, is not finite, or is not physical.
    """

    mass: np.ndarray = field(metadata=parameter(sign="positive", mass_inv=lambda v: 1.0 / v.mass))
    """Total mass [kg], shape (V,)."""
    inertia: np.ndarray = field(
        metadata=parameter(
            3,
            3,
            inertia=(6, lambda v: _upper_triangle(v.inertia)),
            inertia_inv=(6, lambda v: _upper_triangle(np.linalg.inv(v.inertia))),
        )
    )
    """Inertia about the centre of mass, body frame [kg m^2], shape (V, 3, 3)."""
    rotor_pos_b: np.ndarray = field(
        metadata=parameter(
            4,
            3,
            # Torque about x and y per thrust of each rotor [m].
            torque_x=(4, lambda v: v.rotor_pos_b[..., 1]),
            torque_y=(4, lambda v: -v.rotor_pos_b[..., 0]),
        )
    )
    """Rotor hubs relative to the centre of mass, body frame [m], shape (V, 4, 3)."""
    rotor_spin: np.ndarray = field(metadata=parameter(4))
    """+1 for a rotor turning counter-clockwise seen from above, -1 for clockwise, shape (V, 4)."""
    thrust_curve: np.ndarray = field(metadata=parameter(3, thrust_curve=(3, lambda v: v.thrust_curve)))
    """c0, c1, c2 of the thrust c0 + c1 u + c2 u^2 of one rotor [N] at speed u in [0, 1], shape (V, 3)."""
    torque_constant: np.ndarray = field(
        metadata=parameter(
            sign="positive",
            # Torque about z per thrust of each rotor [m].
            torque_z=(4, lambda v: -v.torque_constant[:, None] * v.rotor_spin),
        )
    )
    """Reaction torque per thrust [m], shape (V,)."""
    tau_up: np.ndarray = field(metadata=parameter(sign="positive", rate_up=lambda v: 1.0 / v.tau_up))
    """Time constant of a rotor speeding up [s], shape (V,)."""
    tau_down: np.ndarray = field(metadata=parameter(sign="positive", rate_down=lambda v: 1.0 / v.tau_down))
    """Time constant of a rotor slowing down [s], shape (V,)."""
    drag: np.ndarray = field(metadata=parameter(3, sign="zero or positive", drag=(3, lambda v: v.drag)))
    """Linear drag along the body axes [N s/m], shape (V, 3)."""
    force_std: np.ndarray = field(metadata=parameter(sign="zero or positive", force_std=lambda v: v.force_std))
    """Standard deviation per axis of an episode's constant disturbance force [N], shape (V,)."""

    def __post_init__(self) -> None:
        """Convert to float64 and check shapes and physics."""
        for item in fields(self):
            value = np.asarray(getattr(self, item.name), dtype=np.float64)
            object.__setattr__(self, item.name, value)
            expected = (len(self), *item.metadata["shape"])
            if value.shape != expected:
                raise ValueError(f"QuadParams.{item.name} must have shape {expected}, got {value.shape}")
            _require(item.name, np.isfinite(value), value, "finite")
        self._check_physics()

    def __len__(self) -> int:
        """Return the number of vehicles V."""
        return len(np.atleast_1d(self.mass))

    def __getitem__(self, index: slice | np.ndarray) -> QuadParams:
        """Return the vehicles that a slice or an integer array selects."""
        return QuadParams(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    @property
    def max_thrust(self) -> np.ndarray:
        """Thrust of all four rotors at full speed [N], shape (V,)."""
        return 4.0 * self.thrust_curve.sum(-1)

    @property
    def thrust_to_weight(self) -> np.ndarray:
        """Full thrust over weight, shape (V,)."""
        return self.max_thrust / (self.mass * GRAVITY)

    @property
    def hover_speed(self) -> np.ndarray:
        """Rotor speed u at which four rotors carry the weight, shape (V,)."""
        c0, c1, c2 = self.thrust_curve.T
        c = c0 - self.mass * GRAVITY / 4.0
        # The form without cancellation also covers c2 = 0, a linear thrust curve.
        return -2.0 * c / (c1 + np.sqrt(c1**2 - 4.0 * c2 * c))

    def table(self) -> np.ndarray:
        """Return the vehicle table that the kernels read, with the columns of :data:`COLUMNS`, shape (V, 35)."""
        return np.column_stack([columns(self) for _, columns in _columns().values()])

    def _check_physics(self) -> None:
        for item in fields(self):
            value, sign = getattr(self, item.name), item.metadata["sign"]
            if sign is not None:
                _require(item.name, value > 0.0 if sign == "positive" else value >= 0.0, value, sign)
        _require("rotor_spin", np.isin(self.rotor_spin, (-1.0, 1.0)), self.rotor_spin, "+1 or -1")
        _require("inertia", self.inertia == np.swapaxes(self.inertia, -1, -2), self.inertia, "a symmetric matrix")
        moments = np.linalg.eigvalsh(self.inertia)
        rigid = (moments[:, 0] > 0) & (moments[:, 0] + moments[:, 1] >= moments[:, 2] * (1 - 1e-9))
        _require("inertia", rigid, moments, "positive principal moments that satisfy the triangle inequality")
        _require(
            "thrust_curve",
            self.thrust_to_weight > 1.0,
            self.thrust_to_weight,
            "strong enough to lift the mass (thrust-to-weight above 1)",
        )
        slopes = self.thrust_curve[:, 1] + 2.0 * self.thrust_curve[:, 2]
        _require("thrust_curve", slopes > 0.0, slopes, "rising at full speed")
        with np.errstate(divide="ignore", invalid="ignore"):
            hover = self.hover_speed
        within = (hover >= 0.0) & (hover <= 1.0)
        _require("thrust_curve", within, hover, "as strong as the weight at a rotor speed in [0, 1]")


def _require(name: str, ok: np.ndarray, value: np.ndarray, demand: str) -> None:
    if not np.all(ok):
        worst = np.asarray(value)[np.unravel_index(np.argmin(np.asarray(ok)), np.shape(ok))]
        raise ValueError(f"QuadParams.{name} must be {demand}, got {worst}")


def _columns() -> dict[str, tuple[int, Columns]]:
    return {name: column for item in fields(QuadParams) for name, column in item.metadata["columns"].items()}


COLUMNS = {name: width for name, (width, _) in _columns().items()}
"""Widths of the columns of the vehicle table."""
Column: Any = first_indices(COLUMNS)
"""First column of each quantity in the vehicle table."""


@dataclass
class MotorParams:
    """Motors and drag, which USD cannot describe; defaults are a Crazyflie 2.1 with the thrust-upgrade motors.

    The thrust and torque curves of crazyflow 0.4.0's ``cf2x_T350`` (identified in flight, MIT licence)
    are rescaled from RPM to the share of the speed, 25 992 RPM, that gives its maximum thrust of 0.18 N.
    The reaction torque is its torque at full speed over that thrust. The time constants are those of its
    rotor model, linearised at the hover speed of a vehicle of 28.2 g.
    """

    thrust_curve: tuple[float, float, float] = (0.0, -0.018629, 0.198629)
    """c0, c1, c2 of one rotor's thrust [N] over its speed in [0, 1]."""
    torque_constant: float = 0.00508
    """Reaction torque per thrust [m]."""
    tau_up: float = 0.088
    """Time constant of a rotor speeding up [s]."""
    tau_down: float = 0.080
    """Time constant of a rotor slowing down [s]."""
    drag: tuple[float, float, float] = (0.01520, 0.01520, 0.02205)
    """Linear drag along the body axes [N s/m]."""
    spin: tuple[int, int, int, int] | None = None
    """Turning directions, +1 counter-clockwise from above, of rotors whose USD joint has no drive; others must
    have the same. None stands for those of a Crazyflie, :data:`ALTERNATING`."""

    def __post_init__(self) -> None:
        """Check the turning directions.

        Raises:
            ValueError: If they are not four of +1 and -1.
        """
        if self.spin is not None and (len(self.spin) != 4 or any(one not in (1, -1) for one in self.spin)):
            raise ValueError(f"MotorParams.spin must be four of 1 and -1, as [1,-1,1,-1], got {list(self.spin)}")
