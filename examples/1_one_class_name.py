"""Distil under rsl_rl's own runner: all that changes is one class name.

Run: python examples/1_one_class_name.py
"""

from __future__ import annotations

import torch
from rsl_rl.runners import DistillationRunner

import foundation
from foundation.tasks import packaged_teacher

GAUSSIAN = {"class_name": "GaussianDistribution", "init_std": 0.05, "std_type": "log"}
MODEL = {"class_name": "MLPModel", "hidden_dims": [64, 64], "activation": "tanh", "obs_normalization": True}

CFG = {
    "num_steps_per_env": 100,
    "save_interval": 1000,
    "obs_groups": {"student": ["student"], "teacher": ["teacher"]},
    "student": {**MODEL, "distribution_cfg": dict(GAUSSIAN)},
    "teacher": {**MODEL, "distribution_cfg": dict(GAUSSIAN)},
    "algorithm": {
        "class_name": "foundation.distill:DaggerDistillation",  # instead of "Distillation"
        "teacher_checkpoint": str(packaged_teacher()),
        "rnd_cfg": None,
    },
}


def main(iterations: int = 20) -> None:
    """Distil the packaged teacher, and print the loss."""
    torch.manual_seed(0)
    env = foundation.make_env("distillation", num_envs=32)
    runner = DistillationRunner(env, CFG, log_dir=None, device="cpu")
    runner.learn(iterations)
    history = runner.alg.history
    rows = history[:]
    with torch.no_grad():
        error = runner.alg.student({"student": rows["obs/student"]}) - rows["teacher_actions"]
    rms = error.square().mean().sqrt()
    print(f"{history.num_transitions()} transitions; root mean square error of the actions {rms:.3f}")


if __name__ == "__main__":
    main()
