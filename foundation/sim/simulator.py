"""A batch of quadrotors whose state lives in torch tensors and is advanced by Warp kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import warp as wp

from foundation.sim import kernels
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
        self._allocate_state()
        self.table = _vehicle_table(params, self.device)
        self.integrator = kernels.Integrator()
        self.integrator.dt = dt
        self.integrator.substeps = substeps
        self._command = torch.zeros(num_envs, 4, device=self.device)
        self._step = Recorded(
            kernels.physics_step,
            num_envs,
            [self.arrays, self.table, wp.from_torch(self._command, wp.vec4), self.integrator],
            self.device,
        )

    def step(self, command: torch.Tensor) -> None:
        """Advance all vehicles by one control step.

        Args:
            command: Commanded rotor speeds in [0, 1] (clipped), shape (N, 4).
        """
        self._command.copy_(command)
        self._step.launch()

    def _allocate_state(self) -> None:
        n = self.num_envs
        self.pos_w = torch.zeros(n, 3, device=self.device)
        self.quat_wb = torch.zeros(n, 4, device=self.device)
        self.quat_wb[:, 3] = 1.0
        self.vel_w = torch.zeros(n, 3, device=self.device)
        self.ang_vel_b = torch.zeros(n, 3, device=self.device)
        self.rotor = torch.zeros(n, 4, device=self.device)
        self.force_w = torch.zeros(n, 3, device=self.device)
        self.vehicle = (torch.arange(n, device=self.device) % len(self.params)).to(torch.int32)
        self.arrays = kernels.StateArrays()
        self.arrays.pos_w = wp.from_torch(self.pos_w, wp.vec3)
        self.arrays.quat_wb = wp.from_torch(self.quat_wb, wp.quat)
        self.arrays.vel_w = wp.from_torch(self.vel_w, wp.vec3)
        self.arrays.ang_vel_b = wp.from_torch(self.ang_vel_b, wp.vec3)
        self.arrays.rotor = wp.from_torch(self.rotor, wp.vec4)
        self.arrays.force_w = wp.from_torch(self.force_w, wp.vec3)
        self.arrays.vehicle = wp.from_torch(self.vehicle, wp.int32)


class Recorded:
    """A kernel launch whose arguments are packed once; launching it again costs a few microseconds."""

    def __init__(self, kernel: Any, dim: int, inputs: list, device: torch.device) -> None:
        """Compile the kernel and pack its arguments, without running it."""
        self._inputs = inputs  # keeps alive the arrays that the packed arguments point to
        self._cuda = device if device.type == "cuda" else None
        self._command: Any = wp.launch(
            kernel, dim=dim, inputs=inputs, device=wp.device_from_torch(device), record_cmd=True
        )

    def launch(self) -> None:
        """Run the kernel, on CUDA in order with torch's current stream."""
        stream = None if self._cuda is None else wp.stream_from_torch(torch.cuda.current_stream(self._cuda))
        self._command.launch(stream=stream)


def _vehicle_table(params: QuadParams, device: torch.device) -> Any:
    def array(values: np.ndarray, dtype: type) -> wp.array:
        return wp.array(values.astype(np.float32), dtype=dtype, device=wp.device_from_torch(device))

    table = kernels.VehicleTable()
    table.mass = array(params.mass, wp.float32)
    table.inertia = array(params.inertia, wp.mat33)
    table.inertia_inv = array(np.linalg.inv(params.inertia), wp.mat33)
    table.rotor_x = array(params.rotor_pos_b[..., 0], wp.vec4)
    table.rotor_y = array(params.rotor_pos_b[..., 1], wp.vec4)
    table.rotor_spin = array(params.rotor_spin, wp.vec4)
    table.thrust_curve = array(params.thrust_curve, wp.vec3)
    table.motor = array(np.stack([params.torque_constant, params.tau_up, params.tau_down], -1), wp.vec3)
    table.drag = array(params.drag, wp.vec3)
    table.force_std = array(params.force_std, wp.float32)
    return table
