"""Runners on the toy environments, and rollouts collected with them."""

from __future__ import annotations

import torch
from rsl_rl.runners import DistillationRunner
from tensordict import TensorDict

from tests.support.toy import RNN, ToyEnv, runner_cfg, teacher_checkpoint


def stock_runner(log_dir=None, seed=0, env=None, **algorithm) -> DistillationRunner:
    """Return rsl_rl's runner with a loaded teacher."""
    torch.manual_seed(seed)
    runner = DistillationRunner(env or ToyEnv(), runner_cfg(**algorithm), log_dir and str(log_dir), "cpu")
    runner.alg.load(teacher_checkpoint(), None, True)
    return runner


def weights(runner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in runner.alg.student.state_dict().items()}


def assert_equal(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert torch.equal(first[name], second[name]), name


def learn(runner, tmp_path, iterations):
    """Train with the logger on, which rsl_rl needs for episode statistics."""
    torch.manual_seed(123)
    runner.learn(iterations)
    return runner


def fill_rollout(runner):
    """Collect one rollout as rsl_rl's loop does."""
    env, alg = runner.env, runner.alg
    alg.train_mode()
    with torch.inference_mode():
        obs = env.get_observations()
        for _ in range(runner.cfg["num_steps_per_env"]):
            obs, rewards, dones, extras = env.step(alg.act(obs))
            alg.process_env_step(obs, rewards, dones, extras)


def student(kind: str, layers: int = 1) -> dict:
    return {**RNN, "rnn_type": kind, "rnn_num_layers": layers}


def make(env=None, seed=0, log_dir=None, runner=DistillationRunner, teacher=None, steps=10, **options):
    """Return a runner with a teacher of random weights."""
    torch.manual_seed(seed)
    cfg = runner_cfg(teacher=teacher, steps=steps, **({"max_buffer_size": 10_000} | options))
    made = runner(env or ToyEnv(), cfg, log_dir and str(log_dir), "cpu")
    made.alg.teacher_loaded = True
    return made


def collect(runner) -> list[dict]:
    """Collect one rollout as rsl_rl's loop does, and return what was seen in each step."""
    env, alg = runner.env, runner.alg
    alg.train_mode()
    seen = []
    with torch.inference_mode():
        obs = env.get_observations()
        for _ in range(runner.cfg["num_steps_per_env"]):
            hidden = alg.student.get_hidden_state()
            parts = hidden if isinstance(hidden, tuple) else (hidden,)
            before = [None if part is None else part.clone() for part in parts]
            actions = alg.act(obs)
            label = alg.transition.privileged_actions.clone()
            seen.append({"obs": obs["student"].clone(), "label": label, "hidden": before})
            obs, rewards, dones, extras = env.step(actions)
            seen[-1]["dones"] = dones.bool()
            alg.process_env_step(obs, rewards, dones, extras)
    return seen


def aggregate(runner) -> None:
    """Append the rollout just collected, without training on it."""
    runner.alg.dataset.append(runner.alg.phases)
    runner.alg.storage.clear()


class RightTeacher(torch.nn.Module):
    """Repeats the cue."""

    is_recurrent = False

    def forward(self, obs: TensorDict) -> torch.Tensor:
        return obs["teacher"]

    def reset(self, dones=None, hidden_state=None) -> None:
        pass

    def get_hidden_state(self) -> None:
        return None
