"""A batch of quadrotors: state in torch tensors, advanced by Warp kernels."""

from __future__ import annotations

import torch
import warp as wp

from foundation.sim.kernels.blocks import block_types
from foundation.sim.kernels.dynamics import Integrator, physics_step
from foundation.sim.kernels.lanes import CPU_LANES
from foundation.sim.launch import RecordedLaunch, lane_array
from foundation.sim.layout import STATE, Row
from foundation.sim.params import QuadParams


class Simulator:
    """N quadrotors drawn from a table of V vehicles.

    The state attributes are torch tensors that the kernels share without copying: write into them
    in place (``sim.pos_w[0] = ...``), never replace them.
    """

    pos_w: torch.Tensor
    """Position of the centre of mass, world frame [m], shape (N, 3)."""
    quat_wb: torch.Tensor
    """Attitude, body to world, (x, y, z, w), shape (N, 4)."""
    vel_w: torch.Tensor
    """Linear velocity, world frame [m/s], shape (N, 3)."""
    ang_vel_b: torch.Tensor
    """Angular velocity, body frame [rad/s], shape (N, 3)."""
    rotor: torch.Tensor
    """Rotor speeds as a share of full speed, shape (N, 4)."""
    force_w: torch.Tensor
    """Disturbance force, world frame [N], shape (N, 3)."""
    vehicle: torch.Tensor
    """Row of the vehicle table that each environment flies, int32, shape (N,)."""

    def __init__(
        self,
        params: QuadParams,
        num_envs: int,
        device: str = "cpu",
        dt: float = 0.01,
        substeps: int = 1,
    ) -> None:
        """Place N quadrotors level and at rest at the origin, environment i flying vehicle i modulo V.

        Args:
            params: The table of V vehicles.
            num_envs: Number of environments N.
            device: Torch device, ``cpu`` or ``cuda[:i]``.
            dt: Control step [s].
            substeps: Runge-Kutta steps per control step.

        Raises:
            ValueError: If ``num_envs``, ``dt`` or ``substeps`` is not positive.
        """
        for name, value in (("num_envs", num_envs), ("dt", dt), ("substeps", substeps)):
            if value <= 0:
                raise ValueError(f"Simulator.{name} must be positive, got {value}")
        self.num_envs = num_envs
        # An empty tensor's device has an index, which Warp needs: cuda becomes cuda:0.
        self.device = torch.empty(0, device=device).device
        self.params = params
        self.dt = dt
        self.lanes = CPU_LANES if self.device.type == "cpu" else 1
        self.padded_envs = -(-num_envs // self.lanes) * self.lanes
        self._allocate_state()
        self.integrator = Integrator()
        self.integrator.dt = dt
        self.integrator.substeps = substeps
        self._command = torch.zeros(self.padded_envs, 4, device=self.device)
        self._step: RecordedLaunch | None = None

    def step(self, command: torch.Tensor) -> None:
        """Advance all vehicles by one control step.

        Args:
            command: Commanded rotor speeds in [0, 1] (clipped), shape (N, 4).
        """
        if self._step is None:  # compiled on first use: a task has its own fused kernel
            inputs = {
                "arrays": self.arrays,
                "command": wp.from_torch(self._command),
                "integrator": self.integrator,
            }
            self._step = RecordedLaunch(physics_step(self.lanes), self.blocks, inputs, self.device)
        self._command[: self.num_envs].copy_(command)
        self._step.launch()

    @property
    def blocks(self) -> int:
        """Number of blocks of lanes; see :mod:`foundation.sim.kernels`."""
        return self.padded_envs // self.lanes

    def _allocate_state(self) -> None:
        n = self.num_envs
        # The last block may have surplus lanes: they are simulated, and no view shows them.
        state = torch.zeros(sum(STATE.values()), self.padded_envs, device=self.device)
        state[Row.QUAT_WB + 3] = 1.0
        for name, rows in zip(STATE, state[:, :n].split(list(STATE.values())), strict=True):
            setattr(self, name, rows.T)
        vehicle = (torch.arange(self.padded_envs, device=self.device) % len(self.params)).to(torch.int32)
        self.vehicle = vehicle[:n]
        self.arrays = block_types(self.lanes).StateArrays()
        self.arrays.blocks = lane_array(state, self.lanes)
        self.arrays.scalars = wp.from_torch(state)
        self.arrays.vehicle = wp.from_torch(vehicle)
        table = torch.as_tensor(self.params.table(), dtype=torch.float32)
        self.arrays.table = wp.from_torch(table.to(self.device))
