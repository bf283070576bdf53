"""What the foundation policy knows of its vehicle: how it adapts in flight, and what can be read from its memory.

Adaptation: after 2.5 s of hovering a wind of a tenth of the weight sets in, or the vehicle's mass grows by a
fifth. The expert is told at once; the students and RAPTOR have to find out.

Hover: how much a policy still moves its commands in the fifth second, with a force and exact sensors, and the
share of vehicles on which it has not come to rest: a limit cycle.

Probe: a linear map from the hidden state to thrust-to-weight ratio, force per mass and motor time constants,
fitted by ridge regression on half of the vehicles and judged by R² on the other half, at several times since
take-off. The control is the same map fitted to values of other vehicles, shuffled, whose R² exceeds zero by chance
only.

Run: python benchmarks/adaptation.py [--episodes 2048] [--draw]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import warp as wp
from foundation_policy import CALM, EXACT, LARGER, PROMPT
from raptor import Raptor

import foundation
from foundation.control.expert import LqrExpert
from foundation.evaluation import load_policy
from foundation.evaluation.chart_style import CYCLE, new_figure, styled
from foundation.evaluation.recording import reset_policy
from foundation.tasks import EXPERT, packaged_student

HERE = Path(__file__).parent
RESULT, PICTURES = HERE / "results" / "adaptation.json", HERE.parent / "docs" / "images"
SEED = 1000
CHANGE_STEP = 250
WIND, HEAVIER = 0.1, 1.2
"""Force as a share of the weight, and factor on the mass."""
PROBED_STEPS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300, 400)
RIDGE = 1e-3
AT_REST = 0.002
"""Command rate below which a hovering vehicle is at rest; RAPTOR's mean over whole flights is 0.011."""


def make_env(episodes: int, overrides: list[str]) -> Any:
    table = [f"env.randomization.num_vehicles={episodes}", *EXACT, *PROMPT, *overrides]
    return foundation.make_env("foundation", episodes, seed=SEED, overrides=table)


def blow(env: Any) -> None:
    """Let a constant wind along x set in."""
    mass = torch.as_tensor(env.sim.params.mass, dtype=torch.float32)[env.sim.vehicle.long()]
    env.sim.force_w[:, 0] += WIND * 9.81 * mass


def load(env: Any) -> None:
    """Make every vehicle heavier; its expert is computed anew."""
    heavier = replace(env.sim.params, mass=HEAVIER * env.sim.params.mass)
    wp.to_torch(env.sim.arrays.table).copy_(torch.as_tensor(heavier.table(), dtype=torch.float32))
    env.sim.params = heavier
    env.use_expert(LqrExpert(heavier, env.cfg.expert, env.cfg.sim.dt))


@torch.inference_mode()
def first_episodes(env: Any, policy: Any) -> Iterator[tuple[int, torch.Tensor, torch.Tensor]]:
    """Fly the first episodes; after each step yield its number, the actions (N, 4) and who still flies (N,)."""
    alive = torch.ones(env.num_envs, dtype=torch.bool)
    reset_policy(policy, alive)
    for step in range(env.max_episode_length - 1):
        actions = policy(env.get_observations()).clone()
        _, _, dones, _ = env.step(actions)
        reset_policy(policy, dones)
        alive = alive & (dones == 0)
        yield step, actions.clamp(-1.0, 1.0), alive


def distances(make_policy: Callable[[Any], Any], change: Callable[[Any], None], episodes: int) -> np.ndarray:
    """Return the distance to the target in every step [m], (T, N); NaN from the end of the first episode on."""
    env, found = make_env(episodes, CALM), []
    for step, _, alive in first_episodes(env, make_policy(env)):
        found.append(torch.where(alive, env.sim.pos_w.norm(dim=1), torch.nan).numpy())
        if step == CHANGE_STEP - 1:
            change(env)
    return np.stack(found)


def adaptation(name: str, of: np.ndarray, dt: float = 0.01) -> dict[str, Any]:
    """Return the figures of a change: the share of flights that it ends, and how far it moves the others."""
    before, after = of[CHANGE_STEP - 1], of[CHANGE_STEP:]
    flying = ~np.isnan(before)
    kept = flying & ~np.isnan(after[-1])
    median = np.median(after[:, kept], axis=1)
    figures = {
        "lost": 1.0 - kept.sum() / flying.sum(),
        "peak_m": float(median.max()),
        "peak_after_s": float((median.argmax() + 1) * dt),
        "error_at_end_m": float(median[-50:].mean()),
        "curve_m": [round(float(value), 5) for value in np.median(of[CHANGE_STEP - 50 :, kept], axis=1)],
    }
    shown = {key: round(value, 4) for key, value in figures.items() if key != "curve_m"}
    print(f"{name:32} {shown}", flush=True)
    return figures


def hover(name: str, make_policy: Callable[[Any], Any], episodes: int) -> dict[str, float]:
    """Return how much the commands still change in the fifth second, over the flights that survive."""
    env, commands, alive = make_env(episodes, []), [], torch.ones(episodes, dtype=torch.bool)
    for _, actions, alive in first_episodes(env, make_policy(env)):  # noqa: B007
        commands.append(actions)
    rate = torch.stack(commands[-100:]).diff(dim=0).abs().mean((0, 2))[alive].double()
    figures = {
        "mean": float(rate.mean()),
        "median": float(rate.median()),
        "restless": float((rate > AT_REST).double().mean()),
    }
    print(f"hover, {name:25} { {key: round(value, 5) for key, value in figures.items()} }", flush=True)
    return figures


def memories(checkpoint: str, episodes: int) -> tuple[dict[int, np.ndarray], np.ndarray, dict[str, np.ndarray]]:
    """Return hidden states (N, H) by step, which flights survive, and what is to be read from them."""
    env = make_env(episodes, [])
    student = load_policy(checkpoint, env.get_observations(), 4, "cpu")
    table, vehicle = env.sim.params, env.sim.vehicle.long().numpy().copy()
    force = env.sim.force_w.double().numpy() / table.mass[vehicle, None]
    known = {
        "thrust-to-weight": table.thrust_to_weight[vehicle],
        **{f"force per mass, {axis}": force[:, i] for i, axis in enumerate("xyz")},
        "rising time constant": table.tau_up[vehicle],
        "falling time constant": table.tau_down[vehicle],
    }
    alive, found = torch.ones(episodes, dtype=torch.bool), {}
    for step, _, alive in first_episodes(env, student):  # noqa: B007
        if step in PROBED_STEPS:
            found[step] = student.model.get_hidden_state()[-1].double().numpy().copy()  # pyright: ignore
    return found, alive.numpy(), known


def probe(hidden: np.ndarray, values: np.ndarray) -> float:
    """Return R² on the second half of the vehicles of a ridge regression on the first half."""
    inputs = np.column_stack([(hidden - hidden.mean(0)) / (hidden.std(0) + 1e-9), np.ones(len(hidden))])
    half = len(inputs) // 2
    first, rest = inputs[:half], inputs[half:]
    normal = first.T @ first + RIDGE * half * np.eye(inputs.shape[1])
    weights = np.linalg.solve(normal, first.T @ values[:half])
    residual = values[half:] - rest @ weights
    return float(1.0 - residual.var() / values[half:].var())


def probes(name: str, checkpoint: str, episodes: int) -> dict[str, Any]:
    """Return R² over time for every quantity, and that of the shuffled control."""
    hidden, alive, known = memories(checkpoint, episodes)
    order = np.random.default_rng(0).permutation(int(alive.sum()))
    result: dict[str, Any] = {"steps": list(PROBED_STEPS)}
    for quantity, values in known.items():
        own = values[alive]
        result[quantity] = {
            "r2": [round(probe(hidden[step][alive], own), 3) for step in PROBED_STEPS],
            "shuffled": [round(probe(hidden[step][alive], own[order]), 3) for step in PROBED_STEPS],
        }
        r2, control = result[quantity]["r2"], result[quantity]["shuffled"]
        print(
            f"{name:10} {quantity:24} R² at the end {r2[-1]:.2f}, shuffled at most {max(control):.2f}", flush=True
        )
    last = hidden[PROBED_STEPS[-1]][alive]
    centred = last - last.mean(0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    shown = slice(0, 800)
    result["plane"] = plane[shown].round(3).tolist()
    result["thrust_to_weight"] = known["thrust-to-weight"][alive][shown].round(3).tolist()
    return result


@styled
def draw_adaptation(changes: dict[str, dict[str, Any]]) -> None:
    figure = new_figure(9.0, 3.2)
    titles = {"wind": "wind of 10 % of the weight", "mass": "20 % more mass"}
    for axes, (change, policies) in zip(figure.subplots(1, 2, sharey=True), changes.items(), strict=True):
        for colour, (policy, figures) in zip(CYCLE, policies.items(), strict=False):
            curve = 100.0 * np.array(figures["curve_m"])
            axes.plot((np.arange(len(curve)) - 49) * 0.01, curve, color=colour, label=policy)
        axes.axvline(0.0, color="black", lw=0.8, ls=":")
        axes.set(title=titles[change], xlabel="time since the change [s]")
    figure.axes[0].set(ylabel="distance to the target [cm]", ylim=(0, None))
    figure.axes[0].legend()
    figure.savefig(PICTURES / "adaptation.png", dpi=150)


@styled
def draw_memory(found: dict[str, Any]) -> None:
    figure = new_figure(9.0, 3.4)
    left, right = figure.subplots(1, 2)
    seconds = 0.01 * (np.array(found["steps"]) + 1)
    quantities = [name for name, value in found.items() if isinstance(value, dict)]
    for colour, quantity in zip(CYCLE, quantities, strict=False):
        left.plot(seconds, np.clip(found[quantity]["r2"], 0.0, 1.0), marker=".", color=colour, label=quantity)
        left.plot(seconds, np.clip(found[quantity]["shuffled"], 0.0, 1.0), color=colour, lw=0.6, ls=":")
    left.set(xscale="log", xlabel="time since take-off [s]", ylabel="R² (dotted: shuffled)", ylim=(0, 1))
    left.legend(fontsize=7.5)
    plane = np.array(found["plane"])
    dots = right.scatter(*plane.T, c=found["thrust_to_weight"], s=6, cmap="viridis")
    figure.colorbar(dots, label="thrust-to-weight")
    right.set(xlabel="hidden state, first component", ylabel="second component")
    figure.savefig(PICTURES / "hidden_state.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=2048)
    parser.add_argument("--draw", action="store_true", help="only draw the pictures from the kept results")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if not args.draw:
        checkpoints = {"expert": EXPERT, "GRU 16": str(packaged_student()), "GRU 32": LARGER}
        policies: dict[str, Callable[[Any], Any]] = {
            name: lambda env, path=path: load_policy(path, env.get_observations(), 4, "cpu")
            for name, path in checkpoints.items()
        }
        policies["RAPTOR"] = lambda env: Raptor()
        changes = {
            change: {
                name: adaptation(f"{change}, {name}", distances(policy, apply, args.episodes))
                for name, policy in policies.items()
            }
            for change, apply in (("wind", blow), ("mass", load))
        }
        rest = {name: hover(name, policy, args.episodes) for name, policy in policies.items()}
        read = {name: probes(name, checkpoints[name], args.episodes) for name in ("GRU 16", "GRU 32")}
        kept = {"episodes": args.episodes, "seed": SEED, "changes": changes, "hover": rest, "probes": read}
        RESULT.write_text(json.dumps(kept) + "\n")
    kept = json.loads(RESULT.read_text())
    draw_adaptation(kept["changes"])
    draw_memory(kept["probes"]["GRU 16"])


if __name__ == "__main__":
    main()
