"""The two kernels of the task: a whole environment step, and observations alone."""

import functools
from typing import Any

import warp as wp

from foundation.sim.kernels.blocks import load3, load_command, load_state, load_vehicle, store_state
from foundation.sim.kernels.dynamics import Integrator, advance
from foundation.sim.kernels.lanes import lane_module
from foundation.sim.kernels.vectors import clamped4
from foundation.sim.layout import Row
from foundation.tasks.point_ctrl.kernels.arrays import TaskCfg, VehicleTraits, task_types
from foundation.tasks.point_ctrl.kernels.episode import compute_reward_and_done, finish_episode
from foundation.tasks.point_ctrl.kernels.observations import next_noise, observe
from foundation.tasks.point_ctrl.kernels.reference import load_reference, paths_at, relative_state
from foundation.tasks.point_ctrl.kernels.reset import reset_env
from foundation.tasks.point_ctrl.layout import Reset


@functools.cache
def task_kernels(lanes: int) -> tuple[wp.Kernel, wp.Kernel]:
    """Return ``observe_all`` and ``env_step`` for blocks of ``lanes`` environments.

    ``student`` and ``teacher`` are the addresses of the tensors that receive the observations, (number of lanes,
    22) and (number of lanes, 37). ``samples`` is the address of the table of paths, ``num_paths`` times
    ``path_steps`` rows; without paths the target is the origin.
    """
    types = task_types(lanes)

    @wp.kernel(module=lane_module(__name__, lanes))
    def observe_all(
        arrays: types.StateArrays,
        traits: VehicleTraits,
        task: types.TaskArrays,
        cfg: TaskCfg,
        reset: int,
        samples: wp.uint64,
        num_paths: int,
        path_steps: int,
        student: wp.uint64,
        teacher: wp.uint64,
        first_block: int,
    ):
        """Write the observations of a block of environments; before, reset those that :class:`Reset` says."""
        block = first_block + wp.tid()
        paths = paths_at(samples, num_paths, path_steps)
        if reset == Reset.ALL:
            next_noise(block, task)
        for i in range(block * wp.static(lanes), (block + 1) * wp.static(lanes)):
            finished = reset == Reset.FINISHED and task.done[i] != wp.int64(0)
            if finished or reset == Reset.ALL:
                reset_env(i, arrays, traits, task, cfg.init, cfg.wind, paths)
        target = load_reference(paths, task, block, 0, types.Reference())
        observe(block, arrays, traits, task, cfg.noise, num_paths > 0, target, student, teacher, types.State())

    @wp.kernel(module=lane_module(__name__, lanes))
    def env_step(
        arrays: types.StateArrays,
        traits: VehicleTraits,
        task: types.TaskArrays,
        actions: wp.array2d(dtype=wp.float32),
        cfg: TaskCfg,
        integrator: Integrator,
        reset: int,
        samples: wp.uint64,
        num_paths: int,
        path_steps: int,
        student: wp.uint64,
        teacher: wp.uint64,
        first_block: int,
    ):
        """Advance a block of environments by one control step; with ``reset``, reset the finished ones."""
        block = first_block + wp.tid()
        paths = paths_at(samples, num_paths, path_steps)
        next_noise(block, task)
        before = load_state(arrays, block, types.State())
        vehicle = load_vehicle(arrays, block, types.vehicle(), types.lane())
        force_w = load3(arrays.blocks, Row.FORCE_W, block, types.Vec3())
        action = clamped4(load_command(actions, block, before.rotor), -1.0, 1.0)
        s = advance(before, rotor_command(action), vehicle, force_w, integrator)
        store_state(arrays, block, s)
        flown, target = s, types.Reference()
        if num_paths > 0:
            target = load_reference(paths, task, block, 1, target)
            flown = relative_state(s, target)
        compute_reward_and_done(block, flown, action, arrays.vehicle, traits, task, cfg)
        has_begun = bool(False)  # noqa: UP018 - a variable, not a constant
        for i in range(block * wp.static(lanes), (block + 1) * wp.static(lanes)):
            if task.done[i] != wp.int64(0):
                finish_episode(i, task, cfg)
                if reset != Reset.NONE:
                    reset_env(i, arrays, traits, task, cfg.init, cfg.wind, paths)
                    has_begun = True
        if has_begun:
            target = load_reference(paths, task, block, 0, target)
        observe(block, arrays, traits, task, cfg.noise, num_paths > 0, target, student, teacher, s)

    return observe_all, env_step


@wp.func
def rotor_command(action: Any):
    """Return rotor speeds in [0, 1] for actions in [-1, 1]."""
    half = type(action.x)(0.5)
    return type(action)(action.x * 0.5 + half, action.y * 0.5 + half, action.z * 0.5 + half, action.w * 0.5 + half)
