"""What a step costs along paths, over one to the origin, at 4096 environments.

First the results are checked: along paths that never leave the origin, steps are those without paths, bit for bit.
Then both sides take turns; no episode ends while they do, because other vehicles would be reset on either side.

Run: python benchmarks/tracking_cost.py
"""

from __future__ import annotations

import statistics

import numpy as np
import torch
from report import Target, in_turn, record

import foundation
from foundation.sim.paths import make_path
from foundation.tasks.point_ctrl.paths_cfg import PathsCfg, draw_paths
from foundation.tasks.point_ctrl.references import ReferenceTable

NUM_ENVS, CALLS, REPEATS = 4096, 10, 40
ENDLESS = [f"env.termination.{name}=1e6" for name in ("position", "velocity", "angular_velocity")]


def make(paths: list | None):
    env = foundation.make_env("distillation", NUM_ENVS, overrides=ENDLESS)
    if paths is not None:
        rng = np.random.default_rng(0)
        env.follow(ReferenceTable.of(paths, env.max_episode_length, env.cfg.sim.dt, rng, "cpu"))
    return env


def check(action: torch.Tensor) -> None:
    """Assert that standing paths change nothing."""
    plain, standing = make(None), make([make_path("hover")])
    standing.load_state_dict(standing.state_dict() | plain.state_dict())
    for _ in range(20):
        first, second = plain.step(action), standing.step(action)
        assert torch.equal(first[1], second[1])
        assert all(torch.equal(first[0][group], second[0][group]) for group in ("student", "teacher"))


def main() -> None:
    torch.set_num_threads(1)
    action = torch.full((NUM_ENVS, 4), 0.54)
    check(action)
    sides = {"origin": make(None), "paths": make(draw_paths(PathsCfg(), np.random.default_rng(0)))}

    def fly(env):
        for _ in range(CALLS):
            env.step(action)

    seconds = in_turn({name: lambda env=env: fly(env) for name, env in sides.items()}, REPEATS)
    ratio = statistics.median(b / a for a, b in zip(seconds["origin"], seconds["paths"], strict=True))
    ms = {name: 1e3 * statistics.median(values) / CALLS for name, values in seconds.items()}
    record(
        "tracking_cost",
        [
            Target(
                f"5 a step along paths over one to the origin, N = {NUM_ENVS}",
                "<= 1.15",
                ratio,
                f"{ms['paths']:.2f} against {ms['origin']:.2f} ms, one core",
            )
        ],
        ms,
    )


if __name__ == "__main__":
    main()
