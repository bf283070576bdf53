"""Full environment steps per second: against crazyflow's physics, against eager torch, one core and two.

A step of ours is everything: RK4 physics, reward, resets, noisy observations. crazyflow advances physics
alone, with RK4 at 100 Hz, the fastest of its integrators at comparable accuracy: first order with five steps takes
longer. First all sides are checked, then they take turns in one process.

Run: python benchmarks/simulator.py [--device cpu]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
# Torch's idle threads would otherwise spin on the core that the simulator's second thread needs.
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
os.environ["SCIPY_ARRAY_API"] = "1"
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
import torch
from eager_env import INTEGRATED, EagerEnv
from report import Target, in_turn, medians, record

import foundation
from foundation.sim import reference
from foundation.sim.randomization import Cf2xFamilyCfg, sample_cf2x
from foundation.sim.reference import QuadState
from foundation.sim.simulator import Simulator
from foundation.sim.usd import load_quad

REPEATS = 9
ACTION = 0.28  # holds the nominal vehicle's weight; without a controller an episode lasts about a second
QUIET = [f"env.noise.{name}=0" for name in ("position", "attitude", "velocity", "angular_velocity")]


def make(num_envs: int, device: str = "cpu", overrides: list[str] | None = None):
    return foundation.make_env("distillation", num_envs, device, overrides=overrides or [])


def our_error(count: int = 256, device: str = "cpu") -> float:
    """Return the largest position error [m] after 1 s of flight, against float64 at 64 steps per control step."""
    rng = np.random.default_rng(0)
    params = sample_cf2x(load_quad(), Cf2xFamilyCfg(), count, rng)
    sim = Simulator(params, count, device)
    sim.rotor[:] = 0.64
    state = QuadState(**{name: getattr(sim, name).double().cpu().numpy() for name in INTEGRATED})
    for command in rng.uniform(0.5, 0.8, (100, count, 4)):
        sim.step(torch.as_tensor(command))
        state = reference.step(state, command, params, np.zeros((count, 3)), substeps=64)
    return float(np.abs(sim.pos_w.cpu().numpy() - state.pos_w).max())


def check_eager(num_envs: int = 100, steps: int = 20) -> None:
    """Assert that both environments fly alike, noise off, until an episode ends."""
    env = make(num_envs, overrides=QUIET)
    eager = EagerEnv(env)
    generator = torch.Generator().manual_seed(0)
    flying = torch.ones(num_envs, dtype=torch.bool)
    for _ in range(steps):
        action = ACTION + 0.1 * torch.randn(num_envs, 4, generator=generator)
        obs, reward, done, extras = env.step(action)
        obs2, reward2, done2, extras2 = eager.step(action)
        assert torch.equal(done[flying], done2[flying])
        assert torch.equal(extras["time_outs"][flying], extras2["time_outs"][flying])
        torch.testing.assert_close(reward[flying], reward2[flying], atol=1e-4, rtol=1e-4)
        flying &= done == 0
        for name in ("student", "teacher"):
            torch.testing.assert_close(obs[name][flying], obs2[name][flying], atol=2e-4, rtol=1e-4)
    assert flying.float().mean() > 0.5


def crazyflow_side(num_envs: int, frequency: int = 100):
    """Return crazyflow's simulator of N vehicles, and a function that flies one control step of 10 ms."""
    import crazyflow.sim.functional as functional
    import jax.numpy as jnp
    from crazyflow.control import Control
    from crazyflow.sim import Sim
    from crazyflow.sim.integration import Integrator

    sim = Sim(
        n_worlds=num_envs,
        n_drones=1,
        drone="cf2x_T350",
        control=Control.rotor_vel,
        integrator=Integrator.rk4,
        freq=frequency,
        device="cpu",
    )
    hover = jnp.full((num_envs, 1, 4), 15_000.0)

    def step(command=None) -> None:
        sim.data = functional.rotor_vel_control(sim.data, hover if command is None else command)
        sim.step(frequency // 100)

    return sim, step


def crazyflow_error(count: int = 64) -> float:
    """Return its largest position error [m] after 1 s of flight, against itself at 16 steps per control step."""
    commands = np.random.default_rng(0).uniform(14_000.0, 18_000.0, (100, count, 1, 4)).astype(np.float32)
    positions = []
    for frequency in (100, 1600):
        sim, step = crazyflow_side(count, frequency)
        high = sim.data.states.pos.at[..., 2].add(10.0)  # out of the floor's reach
        sim.data = sim.data.replace(states=sim.data.states.replace(pos=high))
        for command in commands:
            step(command)
        positions.append(np.asarray(sim.data.states.pos, dtype=np.float64))
    assert np.abs(positions[0] - np.asarray(high)).max() > 0.1  # they flew
    return float(np.abs(positions[0] - positions[1]).max())


def repeated(step: Callable[[], object], calls: int, finish: Callable[[], object] | None = None):
    """Return a function that calls ``step`` so often and waits for the result."""

    def run() -> None:
        for _ in range(calls):
            step()
        if finish is not None:
            finish()

    run()  # compilation and caches
    return run


def rates(sides: dict[str, Callable[[], object]], num_envs: int, calls: int) -> dict[str, float]:
    """Return million environment steps per second of every side."""
    return {name: 1e-6 * num_envs * calls / s for name, s in medians(in_turn(sides, REPEATS)).items()}


def one_core(num_envs: int) -> dict[str, float]:
    import jax

    calls = max(20, 60_000 // num_envs)
    env = make(num_envs)
    eager = EagerEnv(env)
    action = torch.full((num_envs, 4), ACTION)
    sim, fly = crazyflow_side(num_envs)
    sides = {
        "ours": repeated(lambda: env.step(action), calls),
        "crazyflow": repeated(fly, calls, lambda: jax.block_until_ready(sim.data)),
        "eager": repeated(lambda: eager.step(action), calls),
    }
    return rates(sides, num_envs, calls)


def two_cores(num_envs: int) -> dict[str, float]:
    calls = max(20, 400_000 // num_envs)
    action = torch.full((num_envs, 4), ACTION)
    sides = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)  # the environment takes its number of threads from here
        env = make(num_envs)
        sides[f"{threads}"] = repeated(lambda env=env: env.step(action), calls)
    torch.set_num_threads(1)
    return rates(sides, num_envs, calls)


def on_cpu() -> None:
    error = our_error()
    assert error < 1e-4, error
    check_eager()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})  # before JAX begins its threads, which inherit it
    torch.set_num_threads(1)
    their_error = crazyflow_error()
    accuracy = f"position error after 1 s: ours {error:.1e} m, crazyflow {their_error:.1e} m"
    targets = []
    details: dict[str, object] = {"our_error_m": error, "crazyflow_error_m": their_error}
    for num_envs, least, least_eager in ((100, 4, 10), (4096, 2, 4)):
        rate = one_core(num_envs)
        details[f"million_steps_per_s_{num_envs}"] = rate
        ours = rate["ours"]
        if num_envs == 4096:
            targets.append(
                Target(
                    f"5 simulator, one core, N = {num_envs} [M steps/s]", ">= 3", ours, f"RK4, noise; {accuracy}"
                )
            )
        for name, limit, label in (("crazyflow", least, "crazyflow"), ("eager", least_eager, "eager torch")):
            measured = f"{ours:.2f} against {rate[name]:.3f} M steps/s"
            if name == "crazyflow":
                measured += f"; {accuracy}"
            targets.append(
                Target(f"5 simulator against {label}, N = {num_envs}", f">= {limit}", ours / rate[name], measured)
            )
    os.sched_setaffinity(0, cores)
    if len(cores) > 1:
        for num_envs in (4096, 16_384, 65_536):
            rate = two_cores(num_envs)
            details[f"two_cores_{num_envs}"] = rate
            targets.append(
                Target(
                    f"5 simulator, two cores against one, N = {num_envs}",
                    ">= 1.7",
                    rate["2"] / rate["1"],
                    f"{rate['2']:.2f} against {rate['1']:.2f} M steps/s; {accuracy}",
                )
            )
    record("simulator", targets, details)


def on_cuda(device: str) -> None:
    """Measure the whole step and physics alone, launched and as CUDA graphs, and against a copy of memory."""
    source = torch.empty(2**28, device=device)
    target = torch.empty_like(source)
    calls = 200

    def timed(step: Callable[[], object], calls: int = calls) -> float:
        run = repeated(step, calls, torch.cuda.synchronize)
        return medians(in_turn({"": run}, REPEATS))[""] / calls

    copied = 2 * source.nbytes / timed(lambda: target.copy_(source), 10)
    print(f"copy bandwidth {copied / 1e9:.0f} GB/s, position error after 1 s {our_error(device=device):.1e} m")
    targets = []
    for num_envs in (4096, 65_536, 1_048_576):
        seconds = {name: timed(step) for name, step in cuda_steps(num_envs, device).items()}
        rates = ", ".join(f"{name} {num_envs / value / 1e6:.0f} M/s" for name, value in seconds.items())
        # Read and written: 17 of state, 4 of the copied command; read: command, force, vehicle, 32 of its table.
        rate = num_envs * 4 * (2 * (17 + 4) + 4 + 3 + 1 + 32) / seconds["physics in a graph"]
        text = f"{rates}; {rate / 1e9:.0f} of {copied / 1e9:.0f} GB/s"
        targets.append(
            Target(f"8 simulator, share of memory bandwidth, N = {num_envs}", ">= 0.5", rate / copied, text)
        )
    record("simulator on a GPU", targets)


def cuda_steps(num_envs: int, device: str) -> dict[str, Callable[[], object]]:
    """Return a full step and a step of physics alone, and both captured in graphs."""
    env = make(num_envs, device)
    action = torch.full((num_envs, 4), ACTION, device=device)
    steps: dict[str, Callable[[], object]] = {
        "full step": lambda: env.step(action),
        "physics": lambda: env.sim.step(action),
    }
    for name, step in list(steps.items()):
        step()  # compiles
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            step()
        steps[f"{name} in a graph"] = graph.replay
    return steps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    device = parser.parse_args().device
    if device == "cpu":
        on_cpu()
    elif torch.cuda.is_available():
        on_cuda(device)
    else:
        print(f"no {device} device: nothing measured")
    return 0


if __name__ == "__main__":
    sys.exit(main())
