"""Survival of a Crazyflie whose exported controller is told to turn, with and without its limit on the heading.

The controller flies the simulator through the firmware's interface at 1000 Hz; a position setpoint with another
yaw comes at the beginning.

Run: python benchmarks/turn_in_flight.py FOLDER, which `foundation export --format crazyflie` wrote.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from foundation.export.crazyflie import Vehicle, compile_crazyflie, flown_cfg
from foundation.export.crazyflie_stepper import CrazyflieStepper
from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv
from foundation.tasks.point_ctrl.point_ctrl_env_cfg import PointCtrlEnvCfg

VEHICLES = 64
TURNS_DEG = (0.0, 90.0, 180.0)
NO_LIMIT = "-DFOUNDATION_HEADING_REACH=7.0f"


def fly(stepper: CrazyflieStepper, env: PointCtrlEnv, turn_deg: float) -> tuple[float, float]:
    """Return the share that survives an episode and their median error of the heading at its end [deg]."""
    alive = np.ones(env.num_envs, dtype=bool)
    obs = env.get_observations()["student"].numpy()
    stepper.turn_deg = turn_deg
    for _ in range(env.cfg.max_episode_length - 1):
        following, _, dones, _ = env.step(torch.as_tensor(stepper(obs)))
        obs = following["student"].numpy()
        alive &= dones.numpy() == 0
    heading = np.degrees(np.arctan2(obs[:, 6], obs[:, 3]))
    error = np.abs((heading - turn_deg + 180.0) % 360.0 - 180.0)
    return float(alive.mean()), float(np.median(error[alive])) if alive.any() else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    cfg = flown_cfg(PointCtrlEnvCfg(num_envs=VEHICLES))
    vehicle = Vehicle.of(cfg, PointCtrlEnv(cfg).nominal)
    survivals = {}
    for name, flags in (("limited", ()), ("at once", (NO_LIMIT,))):
        for turn_deg in TURNS_DEG:
            with tempfile.TemporaryDirectory() as work:
                library = compile_crazyflie(folder, Path(work) / "controller.so", *flags).path
                survival, error = fly(
                    CrazyflieStepper(library, vehicle, VEHICLES), PointCtrlEnv(cfg, seed=1), turn_deg
                )
            survivals[name, turn_deg] = survival
            print(f"{name:8} turn {turn_deg:4.0f} deg: survival {survival:6.1%}, heading off by {error:.2f} deg")
    # Without a turn the limit changes nothing.
    assert survivals["limited", 0.0] == survivals["at once", 0.0]
    last = TURNS_DEG[-1]
    ratio = survivals["limited", last] / max(survivals["at once", last], 1 / VEHICLES)
    print(f"ratio at {last:.0f} deg: {ratio:.1f}")


if __name__ == "__main__":
    main()
