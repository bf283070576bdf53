"""Policies along paths: error over speed of the expert, a PID controller, RAPTOR and our students.

All fly the same vehicles along the same references, with the packaged sensor noise, from a start on the path.
A cell is a vehicle, a reference and a speed; its flights begin at different phases. Speeds rise until the vehicle
lacks the thrust. With ``--breaks`` the same policies fly figure eights with late sensors, in gusts, with a battery
that sags, and with one weak motor.

Run: python benchmarks/tracking.py [--student NAME=CHECKPOINT] [--breaks] [--page]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from raptor import Raptor
from report import write_blocks
from tracking_disturbances import DISTURBANCES, Disturbed

import foundation
from foundation.evaluation import load_policy
from foundation.evaluation.tracking.baselines import PidPolicy
from foundation.evaluation.tracking.flight import part, track
from foundation.evaluation.tracking.setup import tracking_cfg
from foundation.evaluation.tracking.statistics import statistics
from foundation.sim.paths import check_path, make_path
from foundation.tasks import EXPERT, create_env, packaged_policy, packaged_student
from foundation.tasks.point_ctrl.references import ReferenceTable

HERE = Path(__file__).parent
RESULT, PAGE = HERE / "results" / "tracking.json", HERE.parent / "docs" / "TRACKING.md"
VEHICLES = ("crazyflie", "cf2x_T350", "x500", "flightmare")
REFERENCES = ("circle", "figure_eight", "lissajous", "langevin")
SPEEDS = (0.5, 1.0, 1.5, 2.0, 2.4, 2.88, 3.46, 4.15)
"""Largest speeds [m/s], of Langevin paths the root mean square; from 2 m/s on each is 1.2 times the one before."""
PHASES = 8
FLIGHTS = 16
"""Flights per cell, on average."""
SECONDS, FIRST = 8.0, 100
SURVIVES = 0.95
"""Share of flights that a speed must leave for a policy to survive it."""
LARGER = str(packaged_student().parent.with_name("student_32") / packaged_student().name)
BREAKS = ("x500", "figure_eight", (1.0, 1.5, 2.0))
Make = Callable[[Any], Any]


def policies(given: dict[str, str]) -> dict[str, Make]:
    """Return functions of the environment that make the policies, by name."""
    checkpoints = {"expert": EXPERT, "hover GRU 16": str(packaged_student()), "hover GRU 32": LARGER}
    checkpoints |= {"tracking": str(packaged_policy("tracking")), **given}
    made: dict[str, Make] = {
        name: lambda env, path=path: load_policy(path, env.get_observations(), 4, "cpu")
        for name, path in checkpoints.items()
    }
    return {"PID": PidPolicy, "RAPTOR": lambda env: Raptor(), **made}


def cell_paths(reference: str, speed: float) -> list[Any]:
    """Return the paths of a cell: one per phase, or as many random ones."""
    if reference == "langevin":
        return [make_path(reference, speed=speed)] * PHASES
    return [make_path(reference, speed=speed, phase=k / PHASES) for k in range(PHASES)]


def environment(vehicle: str, flights: int, seed: int, overrides: list[str] = []) -> Any:  # noqa: B006
    """Return an environment of one vehicle."""
    settings = ["env.randomization.family=none", f"env.robot.vehicle={vehicle}", f"env.episode_s={SECONDS}"]
    base = foundation.make_env("foundation", 1, overrides=[*settings, "env.noise.delay=0", *overrides]).cfg
    base.num_envs = flights
    return create_env("foundation", tracking_cfg(base), "cpu", seed)


def cells(vehicle: str) -> list[tuple[str, float]]:
    """Return the references and speeds that a vehicle has the thrust for."""
    table = environment(vehicle, 1, 0).sim.params
    times = np.arange(0.0, SECONDS, 0.01)
    found = []
    for reference in REFERENCES:
        for speed in SPEEDS:
            try:
                samples = cell_paths(reference, speed)[0].sample(times, np.random.default_rng(0))
                check_path(samples, table, reference)
            except ValueError:
                continue
            found.append((reference, speed))
    return found


def measure(
    make: Make, vehicle: str, flown: list[tuple[str, float]], seed: int, disturbance: Disturbed | None = None
) -> dict[str, dict[str, Any]]:
    """Return the figures of a policy by reference and speed."""
    env = environment(vehicle, FLIGHTS * len(flown), seed, [] if disturbance is None else disturbance.overrides)
    paths = [path for reference, speed in flown for path in cell_paths(reference, speed)]
    table = ReferenceTable.of(paths, env.max_episode_length, env.cfg.sim.dt, np.random.default_rng(seed), "cpu")
    policy = make(env)
    if disturbance is not None:
        policy, env = disturbance.applied(policy, env)
    flight = track(env, policy, table)
    result: dict[str, dict[str, Any]] = {}
    for cell, (reference, speed) in enumerate(flown):
        figures = statistics(part(flight, flight.path // PHASES == cell), FIRST)["overall"]
        result.setdefault(reference, {})[f"{speed:g}"] = figures
    return result


def fastest(speeds: dict[str, Any]) -> float:
    """Return the speed up to which a policy survives all; 0 if none."""
    last = 0.0
    for speed, figures in speeds.items():
        if figures["survival"] < SURVIVES:
            break
        last = float(speed)
    return last


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Return Markdown: RMSE by vehicle, reference and speed, and the fastest speeds."""
    names = list(results)
    lines = ["| vehicle | reference | speed | " + " | ".join(names) + " |", "| --- " * (3 + len(names)) + "|"]
    summary = ["| vehicle | reference | " + " | ".join(names) + " |", "| --- " * (2 + len(names)) + "|"]
    for vehicle, references in results[names[0]].items():
        for reference, speeds in references.items():
            cells_of = {name: results[name][vehicle][reference] for name in names}
            summary.append(
                f"| {vehicle} | {reference} | "
                + " | ".join(f"{fastest(cells_of[name]):g}" for name in names)
                + " |"
            )
            for speed in speeds:
                shown = " | ".join(cell(cells_of[name][speed]) for name in names)
                lines.append(f"| {vehicle} | {reference} | {speed} m/s | {shown} |")
    return {"rmse": "\n".join(lines), "fastest": "\n".join(summary)}


def cell(figures: dict[str, Any]) -> str:
    """Return RMSE and heading RMSE of a cell, with the survival where vehicles are lost."""
    lost = "" if figures["survival"] == 1.0 else f", {100 * figures['survival']:.0f} %"
    if figures["rmse_m"] is None:
        return f"lost{lost}"
    return f"{100 * figures['rmse_m']:.1f} cm, {figures['heading_rmse_deg']:.1f}°{lost}"


def targets(results: dict[str, Any], name: str) -> list[str]:
    """Return lines that say where a policy's targets beside RAPTOR hold."""
    ratios, headings, speeds = [], [], []
    for vehicle, references in results["RAPTOR"].items():
        for reference, cells_of in references.items():
            own = results[name][vehicle][reference]
            limit = fastest(cells_of)
            faster = [float(speed) for speed in own if float(speed) >= 1.2 * limit - 1e-9]
            if faster:
                speeds.append((own[f"{faster[0]:g}"]["survival"] >= SURVIVES, vehicle, reference, faster[0]))
            for speed, figures in cells_of.items():
                if float(speed) <= limit:
                    ratios.append(
                        ((own[speed]["rmse_m"] or np.inf) / figures["rmse_m"], vehicle, reference, speed)
                    )
                    headings.append((own[speed]["heading_rmse_deg"] or 180.0, vehicle, reference, speed))
    worst, turned = max(ratios), max(headings)
    held = sum(ratio <= 0.6 for ratio, *_ in ratios)
    return [
        f"{name}: RMSE at most 0.6 of RAPTOR's in {held} of {len(ratios)} cells that it survives; worst {worst}, "
        f"median {np.median([ratio for ratio, *_ in ratios]):.2f}",
        f"  heading RMSE at most 3° in {sum(value <= 3.0 for value, *_ in headings)} of {len(headings)}; "
        f"worst {turned}",
        f"  survives 1.2 times RAPTOR's fastest in {sum(holds for holds, *_ in speeds)} of {len(speeds)}: "
        + ", ".join(f"{where[1]} {where[2]} {where[3]:g}" for where in speeds if not where[0]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", action="append", default=[], help="NAME=CHECKPOINT, beside the packaged ones")
    parser.add_argument("--only", action="append", help="fly this policy alone, and keep the others' results")
    parser.add_argument("--seed", type=int, default=1000)
    parser.add_argument("--breaks", action="store_true", help="fly with disturbances instead")
    parser.add_argument("--page", action="store_true", help="only write the page from the kept results")
    args = parser.parse_args()
    kept = json.loads(RESULT.read_text()) if RESULT.is_file() else {"speeds": {}, "breaks": {}}
    if not args.page:
        torch.set_num_threads(1)
        made = policies(dict(text.split("=", 1) for text in args.student))
        fly = fly_breaks if args.breaks else fly_speeds
        part_of = kept["breaks" if args.breaks else "speeds"]
        for name, make in made.items():
            if args.only is None or name in args.only:
                part_of[name] = fly(name, make, args.seed)
        if args.student and not args.breaks:
            print("\n".join(line for text in args.student for line in targets(kept["speeds"], text.split("=")[0])))
            return
        RESULT.write_text(json.dumps(kept, indent=1) + "\n")
    for name in kept["speeds"]:
        if name not in ("RAPTOR", "PID", "expert"):
            print("\n".join(targets(kept["speeds"], name)))
    write_page(kept)


def fly_speeds(name: str, make: Make, seed: int) -> dict[str, Any]:
    """Return the figures of a policy by vehicle, reference and speed."""
    result = {}
    for vehicle in VEHICLES:
        result[vehicle] = measure(make, vehicle, cells(vehicle), seed)
        speeds = {reference: fastest(found) for reference, found in result[vehicle].items()}
        print(f"{name:14} {vehicle:11} fastest survived {speeds}", flush=True)
    return result


def fly_breaks(name: str, make: Make, seed: int) -> dict[str, Any]:
    """Return the figures of a policy by disturbance and speed."""
    vehicle, reference, speeds = BREAKS
    result = {}
    for label, disturbance in DISTURBANCES.items():
        found = measure(make, vehicle, [(reference, speed) for speed in speeds], seed, disturbance)
        result[label] = found[reference]
        print(
            f"{name:14} {label:26} " + "  ".join(cell(figures) for figures in found[reference].values()),
            flush=True,
        )
    return result


def write_page(kept: dict[str, Any]) -> None:
    """Replace the tables of the page by those of the kept results, and draw the error over speed."""
    from tracking_figure import draw

    blocks = tables(kept["speeds"])
    if kept["breaks"]:
        blocks["breaks"] = table_of_breaks(kept["breaks"])
    write_blocks(PAGE, blocks)
    draw(kept["speeds"], HERE.parent / "docs" / "images" / "tracking_speed.png")


def table_of_breaks(results: dict[str, Any]) -> str:
    """Return Markdown: a row per disturbance and speed, a column per policy."""
    names = list(results)
    lines = ["| | speed | " + " | ".join(names) + " |", "| --- " * (2 + len(names)) + "|"]
    for label, speeds in results[names[0]].items():
        for speed in speeds:
            shown = " | ".join(cell(results[name][label][speed]) for name in names)
            lines.append(f"| {label} | {speed} m/s | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
