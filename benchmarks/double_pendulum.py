"""gymnasium's ``InvertedDoublePendulum-v5`` (MuJoCo) as an environment of rsl_rl, and a teacher for it."""

from __future__ import annotations

import contextlib
import io

import gymnasium
import numpy as np
import torch
from rsl_rl.env import VecEnv
from rsl_rl.runners import OnPolicyRunner
from tensordict import TensorDict

from foundation.evaluation.episodes import run_first_episodes

SEEN = {"feed-forward": slice(0, 8), "GRU": slice(0, 5)}
"""What a student sees: the cart's position, both angles' sines and cosines; feed-forward also the velocities."""


class DoublePendulum(VecEnv):
    """Carts that balance two poles, stepped one after the other; the teacher sees the constraint forces, too."""

    num_actions = 1
    max_episode_length = 1000

    def __init__(self, num_envs: int, seed: int, student: str = "feed-forward") -> None:
        """Start an episode in every environment."""
        self.num_envs, self.device, self.cfg = num_envs, torch.device("cpu"), {}
        self.envs = gymnasium.make_vec(
            "InvertedDoublePendulum-v5",
            num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP},
        )
        self.single_action_space = self.envs.single_action_space
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self._student = SEEN[student]
        self.restart(seed)

    def restart(self, seed: int) -> None:
        """Start a new episode in every environment."""
        self._obs, _ = self.envs.reset(seed=seed)
        self.episode_length_buf.zero_()

    def get_observations(self) -> TensorDict:
        """Return both observations; the pendulum's own are float64."""
        obs = torch.as_tensor(self._obs, dtype=torch.float32)
        return TensorDict({"student": obs[:, self._student], "teacher": obs}, batch_size=[self.num_envs])

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict]:
        """Push the carts, by clipped actions."""
        actions = actions.clamp(-1.0, 1.0).numpy().astype(np.float32)
        self._obs, reward, terminated, truncated, _ = self.envs.step(actions)
        self.episode_length_buf += 1
        dones = torch.as_tensor(terminated | truncated)
        self.episode_length_buf[dones] = 0
        extras = {"time_outs": torch.as_tensor(truncated)}
        return self.get_observations(), torch.as_tensor(reward, dtype=torch.float32), dones.long(), extras


def model(std: float | None, **recurrent: object) -> dict:
    gaussian = {"class_name": "GaussianDistribution", "init_std": std, "std_type": "log"}
    layers = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "tanh", "obs_normalization": True}
    return {**layers, "distribution_cfg": gaussian if std else None, **recurrent}


STUDENTS = {
    "feed-forward": model(0.05),
    "GRU": model(0.05, class_name="RNNModel", rnn_type="gru", rnn_hidden_dim=32, rnn_num_layers=1),
}


def mean_return(policy: torch.nn.Module, envs: DoublePendulum, seed: int) -> float:
    """Return the mean return of the first episode of every environment, with the mean action."""
    envs.restart(seed)
    return run_first_episodes(envs, policy).mean_return


def train_teacher(path: str, iterations: int = 150) -> None:
    """Train a teacher with PPO and save it."""
    torch.manual_seed(0)
    cfg = {
        "num_steps_per_env": 64,
        "save_interval": 1000,
        "obs_groups": {"actor": ["teacher"], "critic": ["teacher"]},
        "actor": model(0.6),
        "critic": model(None),
        "algorithm": {"class_name": "PPO", "learning_rate": 1e-3, "schedule": "adaptive", "rnd_cfg": None},
    }
    with contextlib.redirect_stdout(io.StringIO()):
        runner = OnPolicyRunner(DoublePendulum(64, 0), cfg, None, "cpu")
        runner.learn(iterations, init_at_random_ep_len=False)
        torch.save(runner.alg.save() | {"iter": iterations, "infos": None}, path)
