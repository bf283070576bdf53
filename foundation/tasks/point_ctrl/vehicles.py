"""The vehicles that the task flies, and what its kernels know of each."""

from __future__ import annotations

import math

import numpy as np

from foundation.sim.params import QuadParams
from foundation.sim.randomization import sample_cf2x, sample_foundation, sample_none, sample_raptor
from foundation.sim.usd import load_quad
from foundation.sim.vehicles import VEHICLES
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg, RobotCfg


def nominal_vehicle(robot: RobotCfg) -> QuadParams:
    """Return the vehicle that the configuration names or describes.

    Raises:
        UsdVehicleError: If the USD file does not describe a quadrotor.
    """
    if robot.vehicle is not None:
        return VEHICLES[robot.vehicle]()
    return load_quad(robot.spawn.usd_path, robot.motor)


def position_bounds(cfg: PointCtrlEnvCfg, vehicles: QuadParams) -> np.ndarray:
    """Return the distance per axis from the target that ends an episode of each vehicle [m], shape (V,)."""
    if cfg.termination.arm_lengths is None:
        return np.full(len(vehicles), cfg.termination.position)
    return cfg.termination.arm_lengths * np.linalg.norm(vehicles.rotor_pos_b, axis=-1).max(-1)


def sample_vehicles(cfg: PointCtrlEnvCfg, nominal: QuadParams, rng: np.random.Generator) -> QuadParams:
    """Return the table of vehicles that the configured family gives."""
    randomization = cfg.randomization
    if randomization.family == "none":
        return sample_none(nominal)
    if randomization.family == "cf2x":
        return sample_cf2x(nominal, randomization.cf2x, randomization.num_vehicles, rng)
    if randomization.family == "raptor":
        return sample_raptor(randomization.raptor, randomization.num_vehicles, rng)
    return sample_foundation(nominal, randomization.foundation, randomization.num_vehicles, rng)


def descriptors(vehicles: QuadParams, nominal: QuadParams) -> np.ndarray:
    """Return the descriptors of each vehicle in the teacher's observation, shape (V, 8).

    Hover action, then logarithms of ratios to the nominal vehicle: mass, thrust over mass, roll, pitch
    and yaw torque over inertia at full thrust, and the two motor time constants. Logarithms keep a family
    that spans orders of magnitude in the range of a few units.
    """

    def traits(params: QuadParams) -> np.ndarray:
        thrust = params.max_thrust / 4.0
        inertia = np.diagonal(params.inertia, axis1=-2, axis2=-1)
        x, y = np.abs(params.rotor_pos_b[..., 0]).sum(-1), np.abs(params.rotor_pos_b[..., 1]).sum(-1)
        torque = thrust[:, None] * np.stack([y, x, params.torque_constant], axis=-1)
        return np.column_stack(
            [params.mass, thrust / params.mass, torque / inertia, params.tau_up, params.tau_down]
        )

    ratios = np.log(traits(vehicles) / traits(nominal))
    return np.column_stack([2.0 * vehicles.hover_speed - 1.0, ratios])


def require_resolved(cfg: PointCtrlEnvCfg, vehicles: QuadParams) -> None:
    """Raise if the time step is longer than a rotor's time constant.

    Raises:
        ValueError: Names the number of substeps that suffices.
    """
    step, fastest = cfg.sim.dt / cfg.sim.substeps, min(vehicles.tau_up.min(), vehicles.tau_down.min())
    if step > fastest:
        raise ValueError(
            f"sim.dt / sim.substeps ({step:g} s) must not exceed the time constant of the fastest rotor "
            f"({fastest:.3g} s); set sim.substeps to at least {math.ceil(cfg.sim.dt / fastest)}"
        )
