"""Search the weights of the LQR expert by CMA-ES, for RAPTOR's return on RAPTOR's family.

CMA-ES (Hansen, "The CMA evolution strategy: a tutorial", arXiv 1604.00772) suits 14 positive numbers of unknown
scale and an objective without gradients: it searches their logarithms. Every candidate flies the same vehicles
from the same first states; each generation prints its best. At the end the best weights fly other vehicles, beside
the shipped ones.

Run: python benchmarks/search_lqr_weights.py [--generations 60] [--episodes 1024] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from cmaes import CMA

import foundation
from foundation.control.expert import LqrExpert
from foundation.control.lqr import LqrCfg
from foundation.evaluation.flights import FlightMetrics, fly

SPREAD = 0.4
"""Standard deviation of the first generation, in natural logarithms."""
TEST_SEED, TEST_EPISODES = 1000, 4096


class Judge:
    """Flies experts of different weights from the same first states."""

    def __init__(self, episodes: int, seed: int) -> None:
        overrides = [f"env.randomization.num_vehicles={episodes}"]
        self._env = foundation.make_env("foundation", num_envs=episodes, seed=seed, overrides=overrides)
        self._start = self._env.state_dict()

    def __call__(self, cfg: LqrCfg) -> FlightMetrics:
        self._env.load_state_dict(self._start)
        self._env.expert = LqrExpert(self._env.sim.params, cfg, self._env.cfg.sim.dt)
        return fly(self._env, lambda obs: obs["expert"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=60)
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    args = parser.parse_args()
    shipped = LqrCfg()
    names = [item.name for item in fields(LqrCfg)]

    def weights(logs: np.ndarray) -> LqrCfg:
        return LqrCfg(**dict(zip(names, np.exp(logs).tolist(), strict=True)))

    judge = Judge(args.episodes, args.seed)
    start = np.array([math.log(getattr(shipped, name)) for name in names])
    search = CMA(mean=start, sigma=SPREAD, seed=args.seed)
    for generation in range(args.generations):
        asked = [search.ask() for _ in range(search.population_size)]
        flown = [judge(weights(logs)) for logs in asked]
        search.tell([(logs, -metrics.mean_return) for logs, metrics in zip(asked, flown, strict=True)])
        best = max(flown, key=lambda metrics: metrics.mean_return)
        mean = {name: float(f"{value:.3g}") for name, value in asdict(weights(search.mean)).items()}
        print(
            f"{generation:3}  return {best.mean_return:.1f}  survival {best.survival:.4f}  "
            f"mean of the search {json.dumps(mean)}",
            flush=True,
        )
    found, test = weights(search.mean), Judge(TEST_EPISODES, TEST_SEED)
    result = {"weights": asdict(found), "found": test(found).to_dict(), "shipped": test(shipped).to_dict()}
    print(json.dumps(result, indent=2))
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
