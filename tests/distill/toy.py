"""A small linear environment, and runner configurations for it."""

from __future__ import annotations

import copy

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict


class ToyEnv(VecEnv):
    """A point that moves by its action; the teacher sees its place, the student sees it with a distractor."""

    num_actions = 2
    max_episode_length = 12

    def __init__(self, num_envs: int = 6, seed: int = 0) -> None:
        self.num_envs = num_envs
        self.device = torch.device("cpu")
        self.cfg = {"name": "toy"}
        self.generator = torch.Generator().manual_seed(seed)
        self.place = torch.randn(num_envs, 2, generator=self.generator)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.actions: list[torch.Tensor] = []

    def get_observations(self) -> TensorDict:
        distractor = torch.full((self.num_envs, 1), 3.0)
        return TensorDict(
            {"student": torch.cat([self.place, distractor], -1), "teacher": self.place.clone()},
            batch_size=[self.num_envs],
        )

    def step(self, actions):
        self.actions.append(actions.clone())
        self.place = self.place + 0.1 * actions
        self.episode_length_buf += 1
        time_out = self.episode_length_buf >= self.max_episode_length
        fresh = torch.randn(self.num_envs, 2, generator=self.generator)
        reward = -self.place.norm(dim=-1)
        self.place = torch.where(time_out[:, None], fresh, self.place)
        self.episode_length_buf[time_out] = 0
        return self.get_observations(), reward, time_out.long(), {"time_outs": time_out}

    def state_dict(self):
        # Lists of tensors are not plain state; the log of actions is for tests only.
        return {
            "place": self.place.clone(),
            "length": self.episode_length_buf.clone(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state):
        self.place = state["place"].clone()
        self.episode_length_buf = state["length"].clone()
        self.generator.set_state(state["generator"])


GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 0.1, "std_type": "scalar"}
MODEL = {"class_name": "MLPModel", "hidden_dims": [8], "activation": "elu", "obs_normalization": True}


def runner_cfg(class_name="foundation.distill:DaggerDistillation", steps=10, **algorithm) -> dict:
    return copy.deepcopy(
        {
            "num_steps_per_env": steps,
            "save_interval": 100,
            "obs_groups": {"student": ["student"], "teacher": ["teacher"]},
            "student": {**MODEL, "distribution_cfg": dict(GAUSSIAN)},
            "teacher": {**MODEL, "distribution_cfg": dict(GAUSSIAN)},
            "algorithm": {"class_name": class_name, "rnd_cfg": None, **algorithm},
        }
    )


def teacher_checkpoint(seed: int = 7) -> dict:
    """Return what PPO saves of an actor for the toy's teacher group."""
    from rsl_rl.models import MLPModel

    torch.manual_seed(seed)
    obs = ToyEnv().get_observations()
    model = MLPModel(obs, {"actor": ["teacher"]}, "actor", 2, [8], "elu", True, dict(GAUSSIAN))
    return {"actor_state_dict": model.state_dict(), "iter": 0, "infos": None}
