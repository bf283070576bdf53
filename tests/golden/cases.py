"""The runs of the golden checks: every mode, network, sampler, eviction, schedule and loss."""

from __future__ import annotations

from typing import Any

from tests.support.toy import CNN, RNN

ITERATIONS = 5
STUDENTS: dict[str, dict[str, Any]] = {
    "mlp": {},
    "gru": {**RNN, "rnn_type": "gru"},
    "lstm": {**RNN, "rnn_type": "lstm"},
    "cnn": {"class_name": "CNNModel", "cnn_cfg": CNN, "obs_normalization": False},
}
MODES: dict[str, dict[str, Any]] = {
    "dagger two-stage": {},
    "dagger": {"use_two_stage_training": False},
    "two-stage": {"use_dagger": False},
    "stock": {"use_dagger": False, "use_two_stage_training": False},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "uniform": {"sampling": "uniform"},
    "recency": {"sampling": "recency", "recency_half_life": 2.0},
    "loss": {"sampling": "loss"},
    "loss, exponent 0.3": {"sampling": "loss", "priority_exponent": 0.3},
    "reservoir": {"eviction": "reservoir"},
    "balanced": {"eviction": "balanced", "phase_floor": 0.2},
    "balanced, recency": {"eviction": "balanced", "sampling": "recency", "recency_half_life": 1.0},
    "reservoir, loss": {"eviction": "reservoir", "sampling": "loss"},
    "linear schedule": {"teacher_schedule": "linear", "phase1_iterations": 4},
    "exponential schedule, per step": {
        "teacher_schedule": "exponential",
        "teacher_decay": 0.7,
        "teacher_mixing": "step",
    },
    "constant schedule, per episode": {"teacher_schedule": "constant", "teacher_fraction": 0.5},
    "reciprocal schedule": {"teacher_schedule": "reciprocal"},
    "gate": {"disagreement_threshold": 0.5},
    "huber": {"loss_type": "huber", "action_weights": [1.0, 2.0]},
    "kl": {"loss_type": "kl"},
    "latent": {"latent_matching": {"student": "mlp.0", "teacher": "mlp.0", "weight": 0.1}},
    "linear rate": {"learning_rate_schedule": "linear", "learning_rate_iterations": ITERATIONS},
    "cosine rate": {"learning_rate_schedule": "cosine", "learning_rate_iterations": ITERATIONS},
    "whole passes": {"mini_batch_size": None, "num_mini_batches": 3, "max_updates_per_iteration": None},
    "filter": {"episode_filter": "time_outs", "max_buffer_size": 1000},
    "teacher's observations": {"store_teacher_obs": True},
    "files": {"buffer_dir": "history"},
    "skip": {"on_nan": "skip"},
    "no clipping": {"max_grad_norm": None, "optimizer": "sgd"},
    "several teachers": {"teacher_checkpoint": ["teacher_0.pt", "teacher_1.pt"]},
    "several teachers, filter": {
        "teacher_checkpoint": ["teacher_0.pt", "teacher_1.pt"],
        "episode_filter": "time_outs",
        "max_buffer_size": 1000,
    },
    "burn-in": {"burn_in": 3},
    "growing": {"max_buffer_size": 250_000},
}


def cases() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the student's name and the algorithm's options of every case, by the case's name."""
    found = {f"{student}: {mode}": (student, options) for student in STUDENTS for mode, options in MODES.items()}
    for name, options in OPTIONS.items():
        for student in ("gru",) if name == "burn-in" else ("mlp", "gru", "lstm"):
            if student == "lstm" and name not in ("balanced", "loss", "kl", "latent", "whole passes"):
                continue
            found[f"{student}: {name}"] = student, options
    for name in ("uniform", "huber", "reservoir"):
        found[f"cnn: {name}"] = "cnn", {k: v for k, v in OPTIONS[name].items() if k != "action_weights"}
    return found
