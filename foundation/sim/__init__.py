"""Quadrotor physics: NumPy reference, Warp kernels, vehicles from USD. Independent of learning."""

from foundation.sim.params import MotorParams, QuadParams
from foundation.sim.plausibility import describe_vehicle, implausible_values
from foundation.sim.usd import UsdVehicle, UsdVehicleError, load_quad, read_vehicle

__all__ = [
    "MotorParams",
    "QuadParams",
    "UsdVehicle",
    "UsdVehicleError",
    "describe_vehicle",
    "implausible_values",
    "load_quad",
    "read_vehicle",
]
