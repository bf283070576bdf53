"""The foundation policy beside RAPTOR's released one: the same vehicles, forces, first states and sensors.

RAPTOR is the package ``foundation-policy`` (NumPy only). Every policy flies 4096 episodes of each seed on family
``raptor``, with and without its disturbance, with the packaged sensor noise and with sensors that are 10 ms late,
and vehicles of a name. Checked first: RAPTOR's figures without noise are those that its own simulator, l2f, gives.

Run: python benchmarks/foundation_policy.py [--student NAME=RUN] [--episodes N] [--seeds N] [--only NAME] [--page]
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from raptor import Raptor
from report import write_blocks
from setups import EXACT

import foundation
from foundation.evaluation import load_policy
from foundation.evaluation.recording import reset_policy
from foundation.sim.vehicles import VEHICLES
from foundation.tasks import EXPERT, packaged_student

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "foundation_policy.json", HERE.parent / "docs" / "FOUNDATION_POLICY.md"
FIRST_SEED = 1000
PROMPT = ["env.noise.delay=0"]
LATE = ["env.noise.delay=0.01", "env.noise.delayed_share=1"]
CALM = ["env.randomization.raptor.force=0"]
CONDITIONS = {
    "force on": [*EXACT, *PROMPT],
    "force off": [*EXACT, *PROMPT, *CALM],
    "force on, sensor noise": PROMPT,
    "force on, sensors 10 ms late": [*EXACT, *LATE],
    "force on, noise and 10 ms": LATE,
} | {name: [*EXACT, *PROMPT, "env.randomization.family=none", f"env.robot.vehicle={name}"] for name in VEHICLES}
L2F = {"force on": (0.960, 0.0586), "force off": (0.962, 0.0229)}
"""RAPTOR's survival and mean steady error [m] in its own simulator, 4096 episodes."""
LARGER = str(packaged_student().parent.with_name("student_32") / packaged_student().name)
Policy = Callable[[Any], torch.Tensor]


@dataclass
class Flights:
    """First episodes, one entry each."""

    episode: dict[str, np.ndarray]
    mass: np.ndarray
    thrust_to_weight: np.ndarray

    def figures(self, which: np.ndarray | None = None) -> dict[str, float]:
        """Return the figures of all flights, or of those in a mask."""
        own = self.episode if which is None else {name: values[which] for name, values in self.episode.items()}
        alive = own["survived"]
        error = own["position_rmse"][alive]
        near = alive & (own["position_rmse"] < 0.1)
        settled = own["settled"]
        return {
            "survival": alive.mean(),
            "mean_error_m": error.mean(),
            "median_error_m": np.median(error),
            "settled": near.mean(),
            "return": own["return"].mean(),
            "command_rate": own["command_rate"][alive].mean(),
            "settle_time_s": own["settle_time"][settled].mean() if settled.any() else None,
        }


@torch.inference_mode()
def fly(policy: Policy, overrides: list[str], episodes: int, seed: int) -> Flights:
    env = foundation.make_env("foundation", episodes, seed=seed, overrides=[*TABLE, *overrides])
    vehicle = env.sim.vehicle.long().numpy().copy()
    obs, first = env.get_observations(), {}
    ended = torch.zeros(episodes, dtype=torch.bool)
    reset_policy(policy, torch.ones(episodes, dtype=torch.bool))
    for _ in range(env.max_episode_length):
        obs, _, done, _ = env.step(policy(obs).clone())
        reset_policy(policy, done)
        newly = (done > 0) & ~ended
        for name, values in env.last_episode().items():
            first[name] = torch.where(newly, values, first.get(name, values))
        ended |= newly
    table = env.sim.params
    episode = {name: values.double().numpy() for name, values in first.items()}
    episode |= {name: episode[name] > 0 for name in ("survived", "settled")}
    return Flights(episode, table.mass[vehicle], table.thrust_to_weight[vehicle])


TABLE = ["env.randomization.num_vehicles=4096"]


def parts(flights: Flights) -> Iterator[tuple[str, np.ndarray]]:
    """Yield masks of the vehicles by decade of mass and by quartile of thrust-to-weight."""
    for low, high in ((0.02, 0.05), (0.05, 0.5), (0.5, 5.0)):
        yield f"{low:g} to {high:g} kg", (flights.mass >= low) & (flights.mass < high)
    bounds = np.quantile(flights.thrust_to_weight, [0.0, 0.25, 0.5, 0.75, 1.0])
    for low, high in itertools.pairwise(bounds):
        inside = (flights.thrust_to_weight >= low) & (flights.thrust_to_weight <= high)
        yield f"thrust-to-weight {low:.2f} to {high:.2f}", inside


def mean_of(rows: list[dict[str, float]]) -> dict[str, Any]:
    """Return the means over the seeds; None where a seed has no value."""
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {name: None if None in values else statistics.fmean(values) for name, values in columns.items()}


def measure(name: str, make_policy: Callable[[Any], Policy], episodes: int, seeds: range) -> dict[str, Any]:
    """Return the figures of a policy by condition, and on family raptor by kind of vehicle."""
    result: dict[str, Any] = {}
    for condition, overrides in CONDITIONS.items():
        flown = []
        for seed in seeds:
            probe = foundation.make_env("foundation", 2, overrides=["env.randomization.num_vehicles=2"])
            flown.append(fly(make_policy(probe), overrides, episodes, seed))
        result[condition] = mean_of([flights.figures() for flights in flown])
        if condition == "force on":
            by_part = [{part: flights.figures(mask) for part, mask in parts(flights)} for flights in flown]
            # The quartiles differ a little from seed to seed: the first seed names them.
            names = list(by_part[0])
            columns = [[list(seed.values())[i] for seed in by_part] for i in range(len(names))]
            result["by vehicle"] = {part: mean_of(rows) for part, rows in zip(names, columns, strict=True)}
        print(f"{name:24} {condition:30} {line(result[condition])}", flush=True)
    return result


def line(figures: dict[str, float]) -> str:
    seconds = figures["settle_time_s"]
    settles = "never" if seconds is None else f"{seconds:.2f} s"
    return (
        f"{100 * figures['survival']:6.2f} %  {100 * figures['mean_error_m']:5.2f} cm  "
        f"{100 * figures['median_error_m']:5.2f} cm  {100 * figures['settled']:5.1f} %  {figures['return']:6.1f}  "
        f"{figures['command_rate']:.4f}  {settles}"
    )


def check_raptor(result: dict[str, Any]) -> None:
    """Assert that RAPTOR flies here as in its own simulator."""
    for condition, (survival, error) in L2F.items():
        found = result[condition]
        assert abs(found["survival"] - survival) < 0.01, f"{condition}: RAPTOR survives {found['survival']:.3f}"
        assert abs(found["mean_error_m"] / error - 1.0) < 0.1, (
            f"{condition}: RAPTOR's error {found['mean_error_m']}"
        )


def table(rows: dict[str, dict[str, dict[str, float]]], conditions: list[str]) -> str:
    """Return Markdown: a block of rows for every condition."""
    lines = [
        "| | policy | survival | steady error, mean | median | settled | return | command rate | settles in |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for condition in conditions:
        for policy, result in rows.items():
            figures = result[condition]
            cells = [cell.strip() for cell in line(figures).split("  ") if cell.strip()]
            lines.append(f"| {condition} | {policy} | {' | '.join(cells)} |")
    return "\n".join(lines)


def write_page(results: dict[str, Any]) -> None:
    """Replace the tables of the page by those of the kept results."""
    rows = results["policies"]
    by_vehicle = {policy: result["by vehicle"] for policy, result in rows.items()}
    blocks = {
        "family": table(rows, [name for name in CONDITIONS if name not in VEHICLES]),
        "named": table(rows, list(VEHICLES)),
        "parts": table(by_vehicle, list(next(iter(by_vehicle.values())))),
    }
    write_blocks(PAGE, blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", action="append", default=[], help="NAME=CHECKPOINT, beside the packaged one")
    parser.add_argument("--episodes", type=int, default=4096)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", action="append", help="fly this policy alone, and keep the others' results")
    parser.add_argument("--page", action="store_true", help="only write the page from the kept results")
    args = parser.parse_args()
    if args.page:
        write_page(json.loads(RESULT.read_text()))
        return
    torch.set_num_threads(1)
    given = dict(text.split("=", 1) for text in args.student)
    checkpoints = {"expert": EXPERT, "GRU 16": str(packaged_student()), "GRU 32": LARGER, **given}
    policies: dict[str, Callable[[Any], Policy]] = {"RAPTOR": lambda env: Raptor()}
    for name, path in checkpoints.items():
        policies[name] = lambda env, path=path: load_policy(path, env.get_observations(), 4, "cpu")
    seeds = range(FIRST_SEED, FIRST_SEED + args.seeds)
    unknown = set(args.only or ()) - set(policies)
    if unknown:
        parser.error(f"--only {', '.join(sorted(unknown))}: no such policy; there are {', '.join(policies)}")
    results: dict[str, Any] = json.loads(RESULT.read_text())["policies"] if args.only else {}
    for name, make_policy in policies.items():
        if args.only and name not in args.only:
            continue
        results[name] = measure(name, make_policy, args.episodes, seeds)
        if name == "RAPTOR":
            check_raptor(results[name])
    RESULT.write_text(
        json.dumps({"episodes": args.episodes, "seeds": list(seeds), "policies": results}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()
