"""The task's two kernels with the arguments of one environment packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
import warp as wp

from foundation.sim.launch import RecordedLaunch, lane_array
from foundation.sim.params import QuadParams
from foundation.sim.simulator import Simulator
from foundation.tasks.kernel_cfg import kernel_values
from foundation.tasks.point_ctrl.kernels.arrays import TaskCfg, VehicleTraits, task_types
from foundation.tasks.point_ctrl.kernels.step import task_kernels
from foundation.tasks.point_ctrl.layout import Reset
from foundation.tasks.point_ctrl.noise_cfg import noise_at
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg
from foundation.tasks.point_ctrl.vehicles import descriptors, position_bounds


def record_kernels(
    cfg: PointCtrlEnvCfg,
    sim: Simulator,
    nominal: QuadParams,
    rows: Mapping[str, torch.Tensor],
    lanes: Mapping[str, torch.Tensor],
    actions: torch.Tensor,
) -> tuple[RecordedLaunch, RecordedLaunch]:
    """Return ``observe_all`` and ``env_step``; where they write observations, and paths, are set at each launch.

    Args:
        cfg: The task's configuration.
        sim: The vehicles.
        nominal: The vehicle to which descriptors refer.
        rows: Arrays with an entry per lane, by their names in ``TaskArrays``.
        lanes: Arrays with a column per lane.
        actions: Where actions will be, shape (number of lanes, 4).
    """
    task = task_types(sim.lanes).TaskArrays()
    for name, tensor in rows.items():
        setattr(task, name, wp.from_torch(tensor))
    for name, tensor in lanes.items():
        setattr(task, name, lane_array(tensor, sim.lanes))
    task.rng_scalars = wp.from_torch(lanes["rng"], wp.uint32)
    task.episode_scalars = wp.from_torch(lanes["episode"])
    kernel_cfg = kernel_values(TaskCfg, replace(cfg, noise=noise_at(cfg.noise, cfg.sim.dt)))
    shared = {"arrays": sim.arrays, "traits": _traits(cfg, sim, nominal), "task": task}
    addresses = {"samples": 0, "num_paths": 0, "path_steps": 1, "student": 0, "teacher": 0}
    observing = shared | {"cfg": kernel_cfg, "reset": Reset.NONE} | addresses
    stepping = shared | {"actions": wp.from_torch(actions), "cfg": kernel_cfg, "integrator": sim.integrator}
    stepping |= {"reset": Reset.FINISHED} | addresses
    observe_all, env_step = task_kernels(sim.lanes)
    return (
        RecordedLaunch(observe_all, sim.blocks, observing, sim.device),
        RecordedLaunch(env_step, sim.blocks, stepping, sim.device),
    )


def _traits(cfg: PointCtrlEnvCfg, sim: Simulator, nominal: QuadParams) -> Any:
    vehicles, traits, device = sim.params, VehicleTraits(), wp.device_from_torch(sim.device)
    traits.hover_speed = wp.array(vehicles.hover_speed, dtype=wp.float32, device=device)
    traits.position_bound = wp.array(position_bounds(cfg, vehicles), dtype=wp.float32, device=device)
    traits.descriptors = wp.array(descriptors(vehicles, nominal), dtype=wp.float32, device=device)
    return traits
