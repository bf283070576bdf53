"""The actions of the environment's expert, along paths or at the origin."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from foundation.control.expert import LqrExpert
from foundation.control.rotations import rotated_by_inverse
from foundation.control.vehicle_table import VehicleTable
from foundation.sim.params import QuadParams
from foundation.sim.simulator import Simulator
from foundation.tasks.point_ctrl.references import ReferenceTable


class ExpertActions:
    """An :class:`LqrExpert` in the frame of what each environment follows."""

    def __init__(self, expert: LqrExpert, vehicles: QuadParams, dt: float, device: torch.device) -> None:
        """Take an expert for a table of vehicles; ``dt`` is the control step [s]."""
        self._expert = expert
        self._preview = round(expert.cfg.preview / dt)
        columns = {"mass": vehicles.mass[:, None], "drag": vehicles.drag}
        self._table = VehicleTable(columns, device, torch.float32)

    def __call__(
        self, sim: Simulator, previous: torch.Tensor, paths: ReferenceTable | None, row: torch.Tensor
    ) -> torch.Tensor:
        """Return actions in [-1, 1], shape (N, 4).

        Args:
            sim: The vehicles.
            previous: Actions of the step before, shape (N, 4).
            paths: What is followed; None is the origin.
            row: Row of ``paths`` that each environment is at, integer, shape (N,).
        """
        pos, quat, vel, turning, force = sim.pos_w, sim.quat_wb, sim.vel_w, sim.ang_vel_b, sim.force_w
        if paths is not None:
            at, ahead = paths.ahead(row, 0), paths.ahead(row, self._preview)
            own = self._table.of(sim.vehicle)
            # In the frame of the reference both are forces; drag as in level flight.
            force = at.turned_back(force - own["mass"] * ahead.acceleration) - own["drag"] * at.turned_back(
                ahead.velocity
            )
            pos, vel = at.turned_back(pos - at.position), at.turned_back(vel - at.velocity)
            quat = at.relative_attitude(quat)
            turning = turning - rotated_by_inverse(quat, pad(at.heading_rate, (2, 0)))
        state = (sim.vehicle, pos, quat, vel, turning, sim.rotor)
        return 2.0 * self._expert(*state, 0.5 * (previous + 1.0), force) - 1.0
