"""Environment steps per second on one core, fused Warp kernel against the NumPy reference's physics.

Checks first that both sides fly the same trajectory, then times them interleaved in one process.

Run: python benchmarks/env_throughput.py [--device cpu] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

import foundation
from foundation.sim import reference
from foundation.sim.reference import QuadState

SIZES = (1, 100, 4096, 65536)
REPEATS = 5


def state_of(env) -> QuadState:
    names = ("pos_w", "quat_wb", "vel_w", "ang_vel_b", "rotor")
    return QuadState(**{name: getattr(env.sim, name).double().cpu().numpy() for name in names})


def check(env) -> None:
    """Assert that ten steps of both sides agree, so that the timing compares equals."""
    state, force_w = state_of(env), env.sim.force_w.double().cpu().numpy()
    params = env.sim.params[env.sim.vehicle.cpu().numpy()]
    actions = torch.full((env.num_envs, 4), 0.3, device=env.device)
    done = torch.zeros(env.num_envs, dtype=torch.bool, device=env.device)
    for _ in range(10):
        state = reference.step(state, np.full((env.num_envs, 4), 0.65), params, force_w)
        done |= env.step(actions)[2] > 0
    flying = (~done).cpu().numpy()
    np.testing.assert_allclose(state_of(env).pos_w[flying], state.pos_w[flying], atol=1e-5)


def seconds_per_call(call, calls: int, device: torch.device) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - start) / calls


def measure(num_envs: int, device: str) -> dict[str, float]:
    env = foundation.make_env("distillation", num_envs, device)
    check(env)
    actions = torch.full((num_envs, 4), 0.3, device=env.device)
    state, force_w = state_of(env), env.sim.force_w.double().cpu().numpy()
    params = env.sim.params[env.sim.vehicle.cpu().numpy()]
    command = np.full((num_envs, 4), 0.65)
    calls = max(10, min(2000, 400_000 // num_envs))
    ours, theirs = [], []
    for _ in range(REPEATS):
        ours.append(seconds_per_call(lambda: env.step(actions), calls, env.device))
        theirs.append(
            seconds_per_call(
                lambda: reference.step(state, command, params, force_w), max(1, calls // 200), env.device
            )
        )
    fused, numpy = num_envs / np.median(ours), num_envs / np.median(theirs)
    return {"num_envs": num_envs, "env_steps_per_s": fused, "numpy_physics_per_s": numpy, "ratio": fused / numpy}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if args.device != "cpu" else f"one core, {platform.machine()}"
    print(f"{name}, median of {REPEATS}")
    print(f"{'N':>7}  {'env steps/s':>12}  {'NumPy physics/s':>15}  {'ratio':>6}")
    rows = []
    for num_envs in SIZES:
        row = measure(num_envs, args.device)
        rows.append(row)
        print(
            f"{num_envs:>7}  {row['env_steps_per_s']:>12,.0f}  {row['numpy_physics_per_s']:>15,.0f}  "
            f"{row['ratio']:>6.1f}"
        )
    if args.json is not None:
        args.json.write_text(json.dumps({"machine": name, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
