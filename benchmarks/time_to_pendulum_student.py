"""Target 1 on another task: seconds to a student that balances MuJoCo's double pendulum as its teacher does.

gymnasium's ``InvertedDoublePendulum-v5``, 32 environments x 50 steps, and a teacher trained with PPO first. Both
sides run under rsl_rl's own runner. rsl_rl's ``Distillation`` makes four passes over each rollout, with the best
learning rate of three: that with the least median over all seeds; ours has nothing but its class name. The GRU
sees no velocities.
After every iteration the clock stops while the student balances 16 pendulums, until they fall so early that the
target is out of reach; it has reached the teacher when its return is 95 % of the teacher's. Checked first: the
teacher balances.

Run: python benchmarks/time_to_pendulum_student.py [--seeds 3]
"""

from __future__ import annotations

import argparse
import functools
import tempfile
from pathlib import Path

import stopped_clock
import torch
from gymnasium_setups import PENDULUM, STUDENTS, make_envs, mean_return, model, train_teacher
from report import record
from rsl_rl.runners import DistillationRunner

from foundation.evaluation.episodes import from_the_start
from foundation.integrations.gymnasium import GymnasiumVecEnv

SHARE, BALANCES = 0.95, 9000.0
MOST_REWARD = 10.0
"""gymnasium's bonus for a step without a fall; everything else is subtracted."""
STOCK_RATES = (3e-4, 1e-3, 3e-3)
MOST_ITERATIONS = {"stock": 200, "ours": 40}
LIMITS = {"feed-forward": {"cpu": 10, "wall": 7}, "GRU": {"cpu": 7, "wall": 5}}
"""Least ratio of rsl_rl's seconds to ours."""


def make_runner(algorithm: dict, student: str, teacher: str, seed: int, log_dir: str) -> DistillationRunner:
    torch.manual_seed(seed)
    cfg = {
        "num_steps_per_env": 50,
        "save_interval": 1000,
        "obs_groups": {"student": ["student"], "teacher": ["teacher"]},
        "student": dict(STUDENTS[student]),
        "teacher": model(0.6),
        "algorithm": {**algorithm, "rnd_cfg": None},
    }
    runner = DistillationRunner(make_envs(PENDULUM, 32, seed, student), cfg, log_dir, "cpu")
    runner.load(teacher)
    return runner


def student_return(runner: DistillationRunner, envs: GymnasiumVecEnv, target: float) -> float:
    """Return the mean return, 0 if it cannot reach the target any more, leaving no trace in the run."""
    student, rng = runner.alg.student, torch.get_rng_state()
    envs.reset(seed=1)
    obs, alive, total = envs.get_observations(), torch.ones(envs.num_envs, dtype=torch.bool), 0.0
    with torch.inference_mode(), from_the_start(student, envs):
        for left in range(envs.max_episode_length, 0, -1):
            if total + int(alive.sum()) * left * MOST_REWARD < target * envs.num_envs:
                total = 0.0
                break
            obs, rewards, dones, _ = envs.step(student(obs))
            student.reset(dones)
            total += float(rewards[alive].sum())
            alive &= dones == 0
    torch.set_rng_state(rng)
    return total / envs.num_envs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        teacher = str(Path(folder) / "teacher.pt")
        train_teacher(PENDULUM, teacher)
        for student in STUDENTS:
            envs = make_envs(PENDULUM, 16, 1, student)
            ours = {"class_name": "foundation.distill:DaggerDistillation"}
            stock = {"class_name": "Distillation", "num_learning_epochs": 4, "gradient_length": 10}
            balanced = mean_return(make_runner(ours, student, teacher, 0, folder).alg.teacher, envs, seed=1)
            assert balanced > BALANCES, f"the teacher's return is {balanced:.0f}"

            def run(
                algorithm: dict,
                iterations: int,
                seed: int,
                student: str = student,
                envs: GymnasiumVecEnv = envs,
                target: float = SHARE * balanced,
            ) -> dict:
                return stopped_clock.time_to(
                    target,
                    lambda log_dir: make_runner(algorithm, student, teacher, seed, log_dir),
                    lambda runner: student_return(runner, envs, target),
                    iterations,
                )

            sides = {
                f"stock {rate:g}": functools.partial(
                    run, {**stock, "learning_rate": rate}, MOST_ITERATIONS["stock"]
                )
                for rate in STOCK_RATES
            }
            sides["class defaults"] = functools.partial(run, ours, MOST_ITERATIONS["ours"])
            title = f"1 time to a {student} student that balances a double pendulum"
            targets, details = stopped_clock.compare(title, sides, {"class defaults": LIMITS[student]}, args.seeds)
            record("time_to_pendulum_student", targets, details | {"teacher": balanced})


if __name__ == "__main__":
    main()
