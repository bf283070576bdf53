"""Moving references for a quadrotor to follow: NumPy, pure functions of time, parameters and a generator."""

from foundation.sim.paths.hover import Hover
from foundation.sim.paths.langevin import Langevin, sample_langevin
from foundation.sim.paths.limits import check_path, required_thrust
from foundation.sim.paths.periodic import Circle, FigureEight, Lissajous
from foundation.sim.paths.registry import PATHS, make_path, path_parameters, sample_many
from foundation.sim.paths.sampled import Sampled
from foundation.sim.paths.samples import Path, PathSamples
from foundation.sim.paths.waypoints import Waypoints

__all__ = [
    "PATHS",
    "Circle",
    "FigureEight",
    "Hover",
    "Langevin",
    "Lissajous",
    "Path",
    "PathSamples",
    "Sampled",
    "Waypoints",
    "check_path",
    "make_path",
    "path_parameters",
    "required_thrust",
    "sample_langevin",
    "sample_many",
]
