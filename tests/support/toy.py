"""A small linear environment, and runner configurations for it."""

from __future__ import annotations

import copy

import torch
from rsl_rl.env import VecEnv
from tensordict import TensorDict


class TimedEnv(VecEnv):
    """What the environments below share: episodes of a fixed length, and randomness of their own."""

    num_actions: int
    max_episode_length: int

    def __init__(self, num_envs: int, seed: int) -> None:
        self.num_envs = num_envs
        self.device = torch.device("cpu")
        self.cfg = {"name": type(self).__name__}
        self.generator = torch.Generator().manual_seed(seed)
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)

    def advance_time(self) -> torch.Tensor:
        """Count a step, and return where it was the last of an episode, bool (N,)."""
        self.episode_length_buf += 1
        time_out = self.episode_length_buf >= self.max_episode_length
        self.episode_length_buf[time_out] = 0
        return time_out


class ToyEnv(TimedEnv):
    """A point that moves by its action; the teacher sees its place, the student sees it with a distractor."""

    num_actions = 2
    max_episode_length = 12

    def __init__(self, num_envs: int = 6, seed: int = 0) -> None:
        super().__init__(num_envs, seed)
        self.place = torch.randn(num_envs, 2, generator=self.generator)
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
        time_out = self.advance_time()
        fresh = torch.randn(self.num_envs, 2, generator=self.generator)
        reward = -self.place.norm(dim=-1)
        self.place = torch.where(time_out[:, None], fresh, self.place)
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


class CueEnv(TimedEnv):
    """A cue of +1 or -1 in the first of six steps has to be repeated as the action in every step.

    The teacher sees the cue all the time, the student in the first step only. The reward is the product of
    cue and action, the action clipped to [-1, 1]: 6 an episode for a student that remembers. One that does
    not knows the cue in the first step only and earns 1 there; later its observation is the same for both
    cues, which are equally frequent, so whatever it does earns 0 on average.
    """

    num_actions = 1
    max_episode_length = 6
    OPTIMUM = 6.0
    OPTIMUM_WITHOUT_MEMORY = 1.0

    def __init__(self, num_envs: int = 64, seed: int = 0) -> None:
        super().__init__(num_envs, seed)
        self.cue = self._draw()

    def _draw(self) -> torch.Tensor:
        return 2.0 * torch.randint(2, (self.num_envs, 1), generator=self.generator) - 1.0

    def get_observations(self) -> TensorDict:
        first = (self.episode_length_buf == 0)[:, None]
        return TensorDict(
            {"student": torch.where(first, self.cue, 0.0), "teacher": self.cue.clone()}, batch_size=[self.num_envs]
        )

    def step(self, actions):
        reward = (self.cue * actions.clamp(-1, 1))[:, 0]
        done = self.advance_time()
        self.cue = torch.where(done[:, None], self._draw(), self.cue)
        return self.get_observations(), reward, done.long(), {"time_outs": done}


class ImageEnv(TimedEnv):
    """A bright column in an image of bytes, whose place from -1 (left) to 1 (right) is the right action."""

    num_actions = 1
    max_episode_length = 5
    SIZE = 8

    def __init__(self, num_envs: int = 32, seed: int = 0) -> None:
        super().__init__(num_envs, seed)
        self.column = self._draw()

    def _draw(self) -> torch.Tensor:
        return torch.randint(self.SIZE, (self.num_envs,), generator=self.generator)

    @property
    def place(self) -> torch.Tensor:
        return 2.0 * self.column[:, None] / (self.SIZE - 1) - 1.0

    def get_observations(self) -> TensorDict:
        image = torch.zeros(self.num_envs, 1, self.SIZE, self.SIZE, dtype=torch.uint8)
        image[torch.arange(self.num_envs), 0, :, self.column] = 255
        return TensorDict({"camera": image, "teacher": self.place}, batch_size=[self.num_envs])

    def step(self, actions):
        reward = -(actions - self.place).abs()[:, 0]
        done = self.advance_time()
        self.column = self._draw()
        return self.get_observations(), reward, done.long(), {"time_outs": done}


GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 0.1, "std_type": "scalar"}
RNN = {"class_name": "RNNModel", "rnn_hidden_dim": 5, "rnn_num_layers": 1}
CNN = {"output_channels": [4], "kernel_size": 3, "stride": 2, "activation": "elu"}
MODEL = {"class_name": "MLPModel", "hidden_dims": [8], "activation": "elu", "obs_normalization": True}


def runner_cfg(
    class_name="foundation.distill:DaggerDistillation", steps=10, student=None, teacher=None, **algorithm
) -> dict:
    """Return a runner's configuration; ``student`` and ``teacher`` update the models'.

    Whole passes, a teacher that acts throughout and a constant learning rate, unless the options say otherwise.
    """
    if "Dagger" in class_name:
        algorithm = {"num_learning_epochs": 4, "phase1_iterations": 500, "learning_rate": 1e-3} | algorithm
    return copy.deepcopy(
        {
            "num_steps_per_env": steps,
            "save_interval": 100,
            "obs_groups": {"student": ["student"], "teacher": ["teacher"]},
            "student": {**MODEL, "distribution_cfg": dict(GAUSSIAN), **(student or {})},
            "teacher": {**MODEL, "distribution_cfg": dict(GAUSSIAN), **(teacher or {})},
            "algorithm": {"class_name": class_name, "rnd_cfg": None, **algorithm},
        }
    )


def ppo_cfg(steps: int, **algorithm) -> dict:
    """Return a configuration of a teacher's run."""
    return copy.deepcopy(
        {
            "num_steps_per_env": steps,
            "save_interval": 100,
            "obs_groups": {"actor": ["teacher"], "critic": ["teacher"]},
            "actor": {**MODEL, "distribution_cfg": dict(GAUSSIAN)},
            "critic": dict(MODEL),
            "algorithm": {"class_name": "PPO", "rnd_cfg": None, **algorithm},
        }
    )


def teacher_checkpoint(seed: int = 7) -> dict:
    """Return what PPO saves of an actor for the toy's teacher group."""
    from rsl_rl.models import MLPModel

    torch.manual_seed(seed)
    obs = ToyEnv().get_observations()
    model = MLPModel(obs, {"actor": ["teacher"]}, "actor", 2, [8], "elu", True, dict(GAUSSIAN))
    return {"actor_state_dict": model.state_dict(), "iter": 0, "infos": None}
