"""An environment of your own in 60 lines, a teacher trained with PPO, and a student that sees less.

Run: python examples/2_your_own_environment.py
"""

from __future__ import annotations

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict

from foundation.distill import DaggerRunner, PpoRunner


class PointMass(VecEnv):
    """Point masses in a plane that are pushed to the origin; the student does not see their velocity."""

    num_actions = 2
    max_episode_length = 100
    dt = 0.05

    def __init__(self, num_envs: int, seed: int = 0, mass: float = 1.0) -> None:
        """Start an episode in every environment; ``mass`` in kg."""
        self.num_envs, self.device, self.cfg, self.mass = num_envs, torch.device("cpu"), {}, mass
        self._generator = torch.Generator().manual_seed(seed)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.pos, self.vel = torch.zeros(num_envs, 2), torch.zeros(num_envs, 2)
        self._reset(torch.ones(num_envs, dtype=torch.bool))

    def get_observations(self) -> TensorDict:
        """Return the position for the student, and position and velocity for the teacher."""
        groups = {"student": self.pos.clone(), "teacher": torch.cat([self.pos, self.vel], -1)}
        return TensorDict(groups, batch_size=[self.num_envs])

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        """Push for one step, force = clipped action [N]; environments whose time is up start a new episode."""
        self.vel += self.dt * actions.clamp(-1, 1) / self.mass
        self.pos += self.dt * self.vel
        self.episode_length_buf += 1
        time_out = self.episode_length_buf >= self.max_episode_length
        reward = torch.exp(-2.0 * self.pos.norm(dim=-1)) - 0.05 * self.vel.square().sum(-1)
        self._reset(time_out)
        return self.get_observations(), reward, time_out.long(), {"time_outs": time_out}

    def state_dict(self) -> dict:
        """Return everything that the next step reads, so that a resumed run is the run itself."""
        state = {"pos": self.pos, "vel": self.vel, "length": self.episode_length_buf}
        return {name: value.clone() for name, value in state.items()} | {"rng": self._generator.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Continue from such a state."""
        self.pos, self.vel, self.episode_length_buf = (state[n].clone() for n in ("pos", "vel", "length"))
        self._generator.set_state(state["rng"])

    def _reset(self, mask: torch.Tensor) -> None:
        self.pos[mask] = 2.0 * torch.rand(int(mask.sum()), 2, generator=self._generator) - 1.0
        self.vel[mask] = 0.0
        self.episode_length_buf[mask] = 0


def model(std: float | None) -> dict:
    """Return the configuration of a small network; with a Gaussian if it is a policy."""
    gaussian = {"class_name": "GaussianDistribution", "init_std": std, "std_type": "log"}
    layers = {"class_name": "MLPModel", "hidden_dims": [32, 32], "activation": "tanh", "obs_normalization": True}
    return {**layers, "distribution_cfg": gaussian if std else None}


def train_teacher(folder: str, iterations: int = 60, mass: float = 1.0) -> str:
    """Train a teacher with PPO, and return the path of its best checkpoint."""
    cfg = {
        "num_steps_per_env": 50,
        "save_interval": 1000,
        "obs_groups": {"actor": ["teacher"], "critic": ["teacher"]},
        "actor": model(0.6),
        "critic": model(None),
        "algorithm": {"class_name": "PPO", "learning_rate": 1e-3, "schedule": "adaptive", "rnd_cfg": None},
    }
    PpoRunner(PointMass(64, mass=mass), cfg, folder).learn(iterations, init_at_random_ep_len=True)
    return f"{folder}/best_model.pt"


def student_cfg(teacher: str | list[str], student: dict | None = None, **options: object) -> dict:
    """Return the configuration of a distillation run."""
    return {
        "num_steps_per_env": 50,
        "save_interval": 1000,
        "obs_groups": {"student": ["student"], "teacher": ["teacher"]},
        "student": {**model(0.05), **(student or {})},
        "teacher": model(0.6),
        "algorithm": {
            "class_name": "foundation.distill:DaggerDistillation",
            "teacher_checkpoint": teacher,
            "rnd_cfg": None,
            **options,
        },
    }


def mean_return(policy: torch.nn.Module, env: type[PointMass] = PointMass) -> float | None:
    """Return the mean return of 256 episodes with the mean action."""
    from foundation.evaluation import evaluate  # of the extra quadrotor; training needs the plug-in alone

    return evaluate({"policy": policy}, lambda seed: env(256, seed), seeds=[1]).metrics["policy"][0]["mean_return"]


def main(folder: str = "logs/example_2", iterations: int = 60) -> None:
    """Train a teacher, distil a student, and compare them."""
    from foundation.evaluation import evaluate, write_report

    torch.manual_seed(0)
    teacher = train_teacher(f"{folder}/teacher", iterations)
    runner = DaggerRunner(PointMass(32), student_cfg(teacher), f"{folder}/student")
    runner.learn(iterations // 2)
    policies = {"teacher": runner.alg.teacher, "student": runner.alg.student}
    result = evaluate(policies, lambda seed: PointMass(256, seed), seeds=range(1, 6))
    print(result)
    write_report(result, f"{folder}/report.html")


if __name__ == "__main__":
    main()
