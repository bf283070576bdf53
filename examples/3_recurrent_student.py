"""A recurrent student finds out what it does not see: the velocity of a point mass.

Run: python examples/3_recurrent_student.py
"""

from __future__ import annotations

import importlib

import torch

from foundation.distill import DaggerRunner

# Its name begins with a digit, so that the examples are listed in order.
own = importlib.import_module("2_your_own_environment")

STUDENTS = {
    "feed-forward": {},
    "recurrent": {"class_name": "RNNModel", "rnn_type": "gru", "rnn_hidden_dim": 16, "rnn_num_layers": 1},
}


def main(folder: str = "logs/example_3", iterations: int = 60) -> None:
    """Train a teacher that sees velocities, and distil two students that do not."""
    torch.manual_seed(0)
    teacher = own.train_teacher(f"{folder}/teacher", iterations)
    returns = {}
    for name, student in STUDENTS.items():
        runner = DaggerRunner(own.PointMass(32), own.student_cfg(teacher, student), f"{folder}/{name}")
        runner.learn(iterations)
        returns["teacher"] = own.mean_return(runner.alg.teacher)
        returns[name] = own.mean_return(runner.alg.student)
    for name, value in returns.items():
        print(f"{name:13} {value:.1f}")


if __name__ == "__main__":
    main()
