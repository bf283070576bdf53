"""Pictures of flights."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from foundation.evaluation.flights import PolicyFn
    from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv


@dataclass(frozen=True)
class Trajectories:
    """Flights of N environments over T steps; NaN after an episode's end."""

    time: np.ndarray
    """Time since the start [s], shape (T,)."""
    pos_w: np.ndarray
    """Position relative to the target, world frame [m], shape (T, N, 3)."""
    tilt: np.ndarray
    """Angle between body and world vertical [rad], shape (T, N)."""
    rotor: np.ndarray
    """Rotor speeds as a share of full speed, shape (T, N, 4)."""


def record(env: PointCtrlEnv, policy: PolicyFn, steps: int) -> Trajectories:
    """Fly the current episodes for ``steps`` steps and record them until they end."""
    rows = []
    alive = torch.ones(env.num_envs, dtype=torch.bool, device=env.device)
    with torch.inference_mode():
        obs = env.get_observations()
        for _ in range(steps):
            rows.append(_snapshot(env, alive))
            obs, _, dones, _ = env.step(policy(obs))
            alive &= dones == 0
    pos_w, tilt, rotor = (np.stack(column) for column in zip(*rows, strict=True))
    return Trajectories(np.arange(steps) * env.sim.dt, pos_w, tilt, rotor)


def plot_flight(flight: Trajectories, path: Path, title: str, settle_radius: float) -> None:
    """Write a figure with paths, distance to the target, tilt and rotor speeds to ``path`` (PNG)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.5), layout="constrained")
    figure.suptitle(title)
    grid = figure.add_gridspec(3, 2, width_ratios=[1.15, 1.0], wspace=0.12)
    _draw_paths(figure.add_subplot(grid[:, 0], projection="3d"), flight)
    distance = figure.add_subplot(grid[0, 1])
    distance.plot(flight.time, np.linalg.norm(flight.pos_w, axis=-1), linewidth=1.0)
    distance.axhline(settle_radius, color="grey", linestyle="--", linewidth=1.0)
    distance.annotate(
        f"settle radius {settle_radius:g} m",
        (1.0, settle_radius),
        xycoords=("axes fraction", "data"),
        xytext=(-4, 3),
        textcoords="offset points",
        ha="right",
        color="grey",
        fontsize=8,
    )
    _label(distance, "distance to target [m]", flight.time)
    tilt = figure.add_subplot(grid[1, 1])
    tilt.plot(flight.time, np.degrees(flight.tilt), linewidth=1.0)
    _label(tilt, "tilt [deg]", flight.time)
    rotor = figure.add_subplot(grid[2, 1])
    for index, name in enumerate(("front-right", "back-right", "back-left", "front-left")):
        rotor.plot(flight.time, flight.rotor[:, 0, index], linewidth=1.0, label=name)
    rotor.legend(fontsize=8, ncols=2, title="rotors of the first vehicle", title_fontsize=8)
    _label(rotor, "rotor speed [-]", flight.time)
    rotor.set_xlabel("time [s]")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def _snapshot(env: PointCtrlEnv, alive: torch.Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    def visible(values: torch.Tensor) -> np.ndarray:
        mask = alive.reshape(-1, *[1] * (values.dim() - 1))
        return torch.where(mask, values, torch.nan).cpu().numpy()

    x, y = env.sim.quat_wb[:, 0], env.sim.quat_wb[:, 1]
    tilt = torch.arccos((1.0 - 2.0 * (x * x + y * y)).clamp(-1.0, 1.0))
    return visible(env.sim.pos_w), visible(tilt), visible(env.sim.rotor)


def _draw_paths(axes: Axes, flight: Trajectories) -> None:
    for vehicle in range(flight.pos_w.shape[1]):
        path = flight.pos_w[:, vehicle]
        (line,) = axes.plot(*path.T, linewidth=1.0)
        axes.plot(*path[:1].T, marker="o", markersize=4, color=line.get_color())
    axes.plot([0.0], [0.0], [0.0], marker="*", markersize=12, color="black", label="target")
    reach = max(0.1, float(np.nanmax(np.abs(flight.pos_w))))
    axes.set(xlim=(-reach, reach), ylim=(-reach, reach), xlabel="x [m]", ylabel="y [m]")
    axes.set_zlim(-reach, reach)  # pyright: ignore
    axes.set_zlabel("z [m]")  # pyright: ignore
    axes.legend(loc="upper left")


def _label(axes: Axes, name: str, time: np.ndarray) -> None:
    axes.set_ylabel(name)
    axes.set_xlim(time[0], time[-1])
    axes.grid(alpha=0.3)
