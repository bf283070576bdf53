"""Search the weights of the LQR expert by CMA-ES, for what a student makes of them on RAPTOR's family.

An expert that knows its vehicle forgives weights that a student cannot fly with. So every candidate is flown as a
student flies: not knowing its vehicle at first, it mixes its command with those of experts for other vehicles,
less and less; it guesses the rotors' speeds, and keeps a small error of the command for good. How fast its errors
fall and which remain was measured on a distilled GRU 16 (``--measure CHECKPOINT``); the rest is assumed. Some
flights give every command one step late. The score is RAPTOR's return, less a price for the steady error and for
restless commands.

CMA-ES (Hansen, "The CMA evolution strategy: a tutorial", arXiv 1604.00772) suits 16 positive numbers of unknown
scale and an objective without gradients: it searches their logarithms. Every candidate flies the same vehicles
from the same first states; each generation prints its best. At the end the best weights fly other vehicles, beside
the shipped ones.

Run: python benchmarks/search_lqr_weights.py [--generations 40] [--episodes 1024] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import functools
import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cmaes import CMA

import foundation
from foundation.control.expert import LqrExpert
from foundation.control.lqr import LqrCfg
from foundation.evaluation.flights import FlightMetrics, fly
from foundation.evaluation.policies import load_policy

SPREAD = 0.3
"""Standard deviation of the first generation, in natural logarithms."""
TEST_SEED, TEST_EPISODES = 1000, 4096
CONFUSION = ((0.62, 7.0), (0.38, 70.0))
"""Share of the confusion at take-off and the steps in which it falls to 1/e."""
LASTING = (0.0025, 0.0013, 0.0015, 0.0006)
"""Standard deviation of the command error that stays, by mode, as shares of full speed."""
MODES = torch.tensor([[1.0, 1, 1, 1], [1, -1, -1, 1], [1, 1, -1, -1], [1, -1, 1, -1]])
"""Collective, pitch, roll and yaw: how each moves the rotors front-right, back-right, back-left, front-left."""
GUESSED_STEPS = 10.0
"""Steps in which the error of the guessed rotor speeds falls to 1/e."""
PER_CM = 8.0
"""Return that a centimetre of steady error costs."""
EXACT = "env.noise={position:0,attitude:0,velocity:0,angular_velocity:0,delay:0}"


@dataclass(frozen=True)
class Student:
    """How the student that is pretended flies, and what its commands cost."""

    others: int
    """Vehicles that it confuses its own with."""
    rotor: float
    """Standard deviation of its guess of the rotors' speeds at take-off, as a share of full speed."""
    late: float
    """Share of flights with commands that are one step late."""
    rate_price: float
    """Return that a unit of command rate costs above the free one."""
    free_rate: float
    """Command rate that costs nothing."""

    def score(self, metrics: FlightMetrics) -> float:
        if metrics.survival == 0.0:
            return metrics.mean_return - PER_CM * 100.0
        restless = max(0.0, metrics.command_rate - self.free_rate)
        return metrics.mean_return - PER_CM * 100.0 * metrics.position_rmse_m - self.rate_price * restless


class ConfusedExpert(LqrExpert):
    """Flies as a student does that finds out in flight which vehicle it has."""

    def __init__(self, *args: Any, student: Student, seed: int) -> None:
        """Compute the gains; every call is a step of all flights, from their start on."""
        super().__init__(*args)
        self._student, self._step = student, 0
        self._generator = torch.Generator().manual_seed(seed)

    def _begin(self, count: int, last_command: torch.Tensor) -> None:
        generator, student, rows = self._generator, self._student, len(self._table)
        self._others = [torch.randint(rows, (count,), generator=generator) for _ in range(student.others)]
        self._lasting = torch.randn(count, 4, generator=generator) * torch.tensor(LASTING) @ MODES
        self._guess = student.rotor * torch.randn(count, 4, generator=generator)
        self._late = (torch.arange(count) < round(student.late * count))[:, None]
        self._before = last_command.clone()

    def __call__(self, vehicle: torch.Tensor, *state: torch.Tensor) -> torch.Tensor:
        """Return rotor commands, shape (N, 4)."""
        *motion, rotor, last_command, force = state
        if self._step == 0:
            self._begin(len(vehicle), last_command)
        guessed = (rotor + self._guess * math.exp(-self._step / GUESSED_STEPS)).clamp(0.0, 1.0)
        seen = (*motion, guessed, last_command, force)
        confusion = sum(share * math.exp(-self._step / steps) for share, steps in CONFUSION)
        self._step += 1
        command = super().__call__(vehicle, *seen) + self._lasting
        if confusion > 0.01:
            guesses = torch.stack([super(ConfusedExpert, self).__call__(other, *seen) for other in self._others])
            command = torch.lerp(command, guesses.mean(0), confusion)
        command = command.clamp(0.0, 1.0)
        given, self._before = torch.where(self._late, self._before, command), command
        return given


class Judge:
    """Flies experts of different weights from the same first states."""

    def __init__(self, student: Student, episodes: int, seed: int) -> None:
        overrides = [f"env.randomization.num_vehicles={episodes}", EXACT]
        self._env = foundation.make_env("foundation", num_envs=episodes, seed=seed, overrides=overrides)
        self._start, self._student, self._seed = self._env.state_dict(), student, seed

    def __call__(self, cfg: LqrCfg, confused: bool = True) -> FlightMetrics:
        self._env.load_state_dict(self._start)
        table = self._env.sim.params, cfg, self._env.cfg.sim.dt
        confused_expert = functools.partial(ConfusedExpert, student=self._student, seed=self._seed)
        self._env.use_expert(confused_expert(*table) if confused else LqrExpert(*table))
        return fly(self._env, lambda obs: obs["expert"])


def measure(checkpoint: str) -> None:
    """Print a student's errors of the command over time: their root mean square, and that of every mode."""
    env = foundation.make_env("foundation", num_envs=2048, seed=TEST_SEED, overrides=[EXACT])
    obs, _ = env.reset()
    student, flying = load_policy(checkpoint, obs, 4, "cpu"), torch.ones(2048, dtype=torch.bool)
    with torch.inference_mode():
        for step in range(env.max_episode_length - 1):
            actions = student(obs)
            errors = 0.5 * (actions - obs["expert"])[flying]
            if step in (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 70, 100, 150, 200, 300, 498):
                modes = (errors @ MODES.T / 4.0).square().mean(0).sqrt().numpy().round(4).tolist()
                print(f"step {step:3}  {errors.square().mean().sqrt():.4f}, by mode {modes}")
            obs, _, dones, _ = env.step(actions)
            student.reset(dones)
            flying &= dones == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--generations", type=int, default=40)
    parser.add_argument("--episodes", type=int, default=1024)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--others", type=int, default=2, help="vehicles that the student confuses its own with")
    parser.add_argument("--rotor", type=float, default=0.06, help="error of its guess of the rotors' speeds")
    parser.add_argument("--late", type=float, default=0.2, help="share of flights with late commands")
    parser.add_argument("--rate_price", type=float, default=4000.0, help="return per unit of command rate")
    parser.add_argument("--free_rate", type=float, default=0.005, help="command rate that costs nothing")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--measure", metavar="CHECKPOINT", help="print a student's errors over time, and stop")
    args = parser.parse_args()
    if args.measure is not None:
        measure(args.measure)
        return
    shipped, student = LqrCfg(), Student(args.others, args.rotor, args.late, args.rate_price, args.free_rate)
    names = [item.name for item in fields(LqrCfg) if item.name != "preview"]

    def weights(logs: np.ndarray) -> LqrCfg:
        return LqrCfg(**dict(zip(names, np.exp(logs).tolist(), strict=True)))

    judge = Judge(student, args.episodes, args.seed)
    start = np.array([math.log(getattr(shipped, name)) for name in names])
    search = CMA(mean=start, sigma=SPREAD, seed=args.seed)
    for generation in range(args.generations):
        asked = [search.ask() for _ in range(search.population_size)]
        flown = [judge(weights(logs)) for logs in asked]
        search.tell([(logs, -student.score(metrics)) for logs, metrics in zip(asked, flown, strict=True)])
        best = max(flown, key=student.score)
        mean = {name: float(f"{value:.3g}") for name, value in asdict(weights(search.mean)).items()}
        print(
            f"{generation:3}  score {student.score(best):.1f}  return {best.mean_return:.1f}  "
            f"survival {best.survival:.4f}  error {100.0 * best.position_rmse_m:.2f} cm  "
            f"mean of the search {json.dumps(mean)}",
            flush=True,
        )
    found, test = weights(search.mean), Judge(student, TEST_EPISODES, TEST_SEED)
    result = {
        "weights": asdict(found),
        "found": test(found, confused=False).to_dict(),
        "shipped": test(shipped, confused=False).to_dict(),
        "found, flown as a student flies": test(found).to_dict(),
        "shipped, flown as a student flies": test(shipped).to_dict(),
    }
    print(json.dumps(result, indent=2))
    if args.output is not None:
        args.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
