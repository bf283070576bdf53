"""Task ``distillation`` on both sides of a comparison: rsl_rl's own runner and algorithm, and this project's."""

from __future__ import annotations

import contextlib
import io
from dataclasses import fields

import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill.algorithm.options import DaggerOptions
from foundation.distill.runners.dagger import DaggerRunner
from foundation.tasks import create_env, load_task, packaged_teacher
from foundation.tasks.config import compose
from foundation.tasks.point_ctrl.point_ctrl_env import PointCtrlEnv

FEED_FORWARD = [
    "agent.student.class_name=MLPModel",
    "agent.student.hidden_dims=[128,128]",
    "agent.student.activation=tanh",
    "agent.student.distribution_cfg.init_std=0.05",
]
GRU = [
    "agent.student.class_name=RNNModel",
    "agent.student.rnn_type=gru",
    "agent.student.rnn_hidden_dim=32",
    "agent.student.hidden_dims=[32]",
]
STUDENTS = {"feed-forward": [], "GRU": GRU}
EXACT = [f"env.noise.{name}=0" for name in ("position", "attitude", "velocity", "angular_velocity")]
"""Sensors without noise."""
# What the student does from the first step on is all that the two sides have in common.
STUDENT_DRIVES = ["agent.algorithm.use_two_stage_training=false"]
_OF_BOTH = ("num_learning_epochs", "gradient_length", "max_grad_norm", "loss_type")


def make_env(num_envs: int, seed: int = 0, device: str = "cpu") -> PointCtrlEnv:
    env_cfg, _ = compose(load_task("distillation"), flags={"env.num_envs": num_envs})
    return create_env("distillation", env_cfg, device, seed)


def make_runner(
    side: str,
    overrides: list[str],
    num_envs: int = 100,
    seed: int = 0,
    log_dir: str | None = None,
    device: str = "cpu",
) -> DistillationRunner:
    """Return a runner with the packaged teacher, and with weights and environment of the seed.

    The student is feed-forward unless an override names another class.

    Side ``stock`` is rsl_rl's runner and algorithm, ``ours`` this project's with the task's settings, and
    ``class`` rsl_rl's runner with our class name and nothing else. Our history has room for a rollout at least.
    """
    _, agent_cfg = compose(load_task("distillation"), [*FEED_FORWARD, *STUDENT_DRIVES, *overrides])
    least = num_envs * agent_cfg.num_steps_per_env
    agent_cfg.algorithm.max_buffer_size = max(agent_cfg.algorithm.max_buffer_size, least)
    cfg = agent_cfg.to_dict()
    if side == "stock":
        own = {field.name for field in fields(DaggerOptions)} - set(_OF_BOTH)
        algorithm = {name: value for name, value in cfg["algorithm"].items() if name not in own}
        cfg["algorithm"] = {**algorithm, "class_name": "Distillation"}
    elif side == "class":
        cfg["algorithm"] = {"class_name": "foundation.distill:DaggerDistillation", "rnd_cfg": None}
        # The run's length is that of learn().
        del cfg["max_iterations"]
    else:
        cfg["algorithm"]["teacher_checkpoint"] = str(packaged_teacher())
    torch.manual_seed(seed)
    with contextlib.redirect_stdout(io.StringIO()):
        kind = DaggerRunner if side == "ours" else DistillationRunner
        runner = kind(make_env(num_envs, seed, device), cfg, log_dir, device)
        if side != "ours":
            runner.load(str(packaged_teacher()))
    return runner
