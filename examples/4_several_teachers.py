"""Several teachers, each for some of the environments: one for light point masses, one for heavy ones.

Run: python examples/4_several_teachers.py
"""

from __future__ import annotations

import importlib

import torch
from tensordict import TensorDict

from foundation.distill import DaggerRunner

own = importlib.import_module("2_your_own_environment")

MASSES = (0.5, 2.0)
"""Mass that each teacher was trained with [kg]."""


class LightAndHeavy(own.PointMass):
    """Point masses of both kinds; the student sees the mass, and each environment names its teacher."""

    def __init__(self, num_envs: int, seed: int = 0) -> None:
        """Give every second environment the heavy mass."""
        self.teacher_id = (torch.arange(num_envs) % 2)[:, None]
        super().__init__(num_envs, seed, torch.tensor(MASSES)[self.teacher_id])

    def get_observations(self) -> TensorDict:
        """Add velocity and mass for the student, and the number of each environment's teacher."""
        obs = super().get_observations()
        obs["student"] = torch.cat([obs["teacher"], self.mass], -1)
        obs["teacher_id"] = self.teacher_id
        return obs


def main(folder: str = "logs/example_4", iterations: int = 60) -> None:
    """Train both teachers, and distil one student from them."""
    torch.manual_seed(0)
    teachers = [own.train_teacher(f"{folder}/teacher_{mass:g}kg", iterations, mass) for mass in MASSES]
    runner = DaggerRunner(LightAndHeavy(32), own.student_cfg(teachers), f"{folder}/student")
    runner.learn(iterations // 2)
    runner.alg.teacher.assign(LightAndHeavy(256).teacher_id)
    print(f"teachers {own.mean_return(runner.alg.teacher, LightAndHeavy):.1f}")
    print(f"student  {own.mean_return(runner.alg.student, LightAndHeavy):.1f}")


if __name__ == "__main__":
    main()
