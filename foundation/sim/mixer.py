"""Whether four rotors can turn a vehicle about each axis and hold it level."""

from __future__ import annotations

import numpy as np

from foundation.sim.params import GRAVITY, QuadParams

SMALLEST_AUTHORITY = 0.01
"""Smallest singular value of the mixer with rows of length 1; 1 where all four quantities are independent."""
QUANTITIES = ("thrust", "roll", "pitch", "yaw")
"""Rows of the mixer, in order."""


def mixer(vehicle: QuadParams) -> np.ndarray:
    """Return the matrices from the rotors' thrusts [N] to thrust [N] and torques [N m], shape (V, 4, 4).

    Torques are about the axes of the body frame. The rows are those of :data:`QUANTITIES`, the columns the rotors
    of :class:`QuadParams`.
    """
    x, y = vehicle.rotor_pos_b[..., 0], vehicle.rotor_pos_b[..., 1]
    # A rotor that turns counter-clockwise pushes the body clockwise.
    return np.stack([np.ones_like(x), y, -x, -vehicle.torque_constant[:, None] * vehicle.rotor_spin], axis=1)


def require_control(vehicle: QuadParams) -> None:
    """Check that every vehicle can be turned about each axis alone and can hover level.

    Raises:
        ValueError: If not; the message names the axis, or the rotor that hovering would ask too much of.
    """
    for index in range(len(vehicle)):
        _require_alternating(vehicle.rotor_spin[index])
        _require_rank(mixer(vehicle)[index], vehicle.rotor_pos_b[index])
        _require_trim(vehicle[index : index + 1])


def _require_alternating(spin: np.ndarray) -> None:
    if np.any(spin[:-1] == spin[1:]):
        raise ValueError(
            f"yaw cannot be turned alone: the rotors front-right, back-right, back-left, front-left spin "
            f"{spin.astype(int).tolist()}, neighbours must spin in opposite directions, as [1, -1, 1, -1]"
        )


def _require_rank(matrix: np.ndarray, places: np.ndarray) -> None:
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0.0)
    directions, authority, _ = np.linalg.svd(rows)
    if authority[-1] < SMALLEST_AUTHORITY:
        # What the rotors cannot produce is a mixture of these quantities.
        lost = [name for name, share in zip(QUANTITIES, directions[:, -1], strict=True) if abs(share) > 0.1]
        axis = [name for name in lost if name != "thrust"][-1]
        others = f" without {', '.join(name for name in lost if name != axis)}" if len(lost) > 1 else ""
        raise ValueError(
            f"{axis} cannot be turned{others}: the rotors are at x, y = {places[:, :2].round(4).tolist()} m from "
            "the centre of mass (physics:localPos0 of the joints)"
        )


def _require_trim(vehicle: QuadParams) -> None:
    """Check that the thrusts that hover level, without torque, are within what a rotor gives."""
    weight = np.array([vehicle.mass[0] * GRAVITY, 0.0, 0.0, 0.0])
    thrusts = np.linalg.solve(mixer(vehicle)[0], weight)
    most = vehicle.max_thrust[0] / 4.0
    if thrusts.min() <= 0.0 or thrusts.max() >= most:
        raise ValueError(
            f"hovering level takes thrusts of {thrusts.round(4).tolist()} N (front-right, back-right, back-left, "
            f"front-left) of rotors that give 0 to {most:.4g} N; the centre of mass is too far "
            "from the rotors' middle (physics:centerOfMass, physics:localPos0)"
        )
