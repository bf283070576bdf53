"""A batch of quadrotors whose state lives in torch tensors and is advanced by Warp kernels."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import warp as wp

from foundation.sim import kernels
from foundation.sim.lanes import CPU_LANES
from foundation.sim.params import QuadParams

_SYMMETRIC = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_MIN_BLOCKS_PER_THREAD = 128
"""Fewer take less time than waking a thread."""


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
        self.integrator = kernels.Integrator()
        self.integrator.dt = dt
        self.integrator.substeps = substeps
        self._command = torch.zeros(self.padded_envs, 4, device=self.device)
        self._step: Recorded | None = None

    def step(self, command: torch.Tensor) -> None:
        """Advance all vehicles by one control step.

        Args:
            command: Commanded rotor speeds in [0, 1] (clipped), shape (N, 4).
        """
        if self._step is None:  # compiled on first use: a task brings a kernel of its own
            inputs = {
                "arrays": self.arrays,
                "command": wp.from_torch(self._command),
                "integrator": self.integrator,
            }
            self._step = Recorded(kernels.types(self.lanes).physics_step, self.blocks, inputs, self.device)
        self._command[: self.num_envs].copy_(command)
        self._step.launch()

    @property
    def blocks(self) -> int:
        """Number of blocks of lanes; see :mod:`foundation.sim.lanes`."""
        return self.padded_envs // self.lanes

    def _allocate_state(self) -> None:
        n = self.num_envs
        # The last block may have lanes left over: they fly along, and nobody sees them.
        state = torch.zeros(kernels.STATE_ROWS, self.padded_envs, device=self.device)
        vehicle = (torch.arange(self.padded_envs, device=self.device) % len(self.params)).to(torch.int32)
        self.pos_w, self.quat_wb, self.vel_w, self.ang_vel_b, self.rotor, self.force_w = (
            rows.T for rows in state[:, :n].split((3, 4, 3, 3, 4, 3))
        )
        state[kernels.QUAT_WB + 3] = 1.0
        self.vehicle = vehicle[:n]
        self.arrays = kernels.types(self.lanes).StateArrays()
        self.arrays.blocks = lane_array(state, self.lanes)
        self.arrays.scalars = wp.from_torch(state)
        self.arrays.vehicle = wp.from_torch(vehicle)
        self.arrays.table = wp.from_torch(
            torch.as_tensor(_table(self.params), dtype=torch.float32).to(self.device)
        )


def lane_array(rows: torch.Tensor, lanes: int) -> wp.array:
    """Return the memory of float32 or int32 rows (K, number of lanes) as Warp vectors (K, number of blocks)."""
    scalar = wp.float32 if rows.dtype == torch.float32 else wp.uint32
    dtype = wp.types.vector(length=lanes, dtype=scalar)
    return wp.from_torch(rows.view(len(rows), -1, lanes), dtype)


class Recorded:
    """A kernel launch whose arguments are packed once; launching it again costs a few microseconds.

    On the CPU the blocks of many environments are shared among torch's threads, as of this object's making. No
    block knows another, so that the results are the same bit for bit for any number of threads.
    """

    def __init__(self, kernel: Any, blocks: int, inputs: dict[str, Any], device: torch.device) -> None:
        """Compile the kernel and pack its arguments, without running it.

        Args:
            kernel: A kernel whose last argument is the number of the first block of its launch.
            blocks: Number of blocks.
            inputs: The other arguments, in the kernel's order.
            device: Where the arguments are.
        """
        self._index = {name: index for index, name in enumerate(inputs)}
        self._inputs = inputs  # keeps alive the arrays that the packed arguments point to
        self._cuda = device if device.type == "cuda" else None
        threads = 1 if self._cuda else max(1, min(torch.get_num_threads(), blocks // _MIN_BLOCKS_PER_THREAD))
        bounds = [blocks * k // threads for k in range(threads + 1)]
        self._parts: list[Any] = [
            wp.launch(
                kernel,
                dim=end - first,
                inputs=[*inputs.values(), first],
                device=wp.device_from_torch(device),
                record_cmd=True,
            )
            for first, end in itertools.pairwise(bounds)
        ]
        self._pool = ThreadPoolExecutor(threads - 1) if threads > 1 else None

    def set(self, name: str, value: int | bool) -> None:
        """Change a scalar argument of the launches to come."""
        for part in self._parts:
            part.set_param_at_index_from_ctype(self._index[name], value)

    def launch(self) -> None:
        """Run the kernel, on CUDA in order with torch's current stream."""
        if self._cuda is not None:
            stream = wp.stream_from_torch(torch.cuda.current_stream(self._cuda))
            self._parts[0].launch(stream=stream)
            return
        # Warp releases the interpreter's lock while a kernel runs.
        others = [self._pool.submit(part.launch) for part in self._parts[1:]] if self._pool else []
        try:
            self._parts[0].launch()
        finally:
            for other in others:
                other.result()


def _table(params: QuadParams) -> np.ndarray:
    """Return the vehicle table with the columns of :mod:`foundation.sim.kernels`, shape (V, 35)."""
    inertia_inv = np.linalg.inv(params.inertia)
    x, y = params.rotor_pos_b[..., 0], params.rotor_pos_b[..., 1]
    return np.column_stack(
        [
            params.mass,
            params.force_std,
            1.0 / params.mass,
            *(matrix[:, row, col] for matrix in (params.inertia, inertia_inv) for row, col in _SYMMETRIC),
            y,
            -x,
            -params.torque_constant[:, None] * params.rotor_spin,
            params.thrust_curve,
            1.0 / params.tau_up,
            1.0 / params.tau_down,
            params.drag,
        ]
    )
