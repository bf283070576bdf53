"""Runner configurations: the PPO teacher and the distilled student."""

from __future__ import annotations

from typing import Any

from foundation.distill.runners.config import (
    ENCODER_RNN,
    RslRlDistillationAlgorithmCfg,
    RslRlDistillationRunnerCfg,
    RslRlModelCfg,
    RslRlOnPolicyRunnerCfg,
    RslRlPpoAlgorithmCfg,
)


def _gaussian(init_std: float) -> dict[str, Any]:
    return {"class_name": "GaussianDistribution", "init_std": init_std, "std_type": "log"}


def teacher_runner_cfg() -> RslRlOnPolicyRunnerCfg:
    """Return the configuration of task ``point_ctrl``."""
    return RslRlOnPolicyRunnerCfg(
        experiment_name="point_ctrl_direct",
        num_steps_per_env=64,
        max_iterations=800,
        obs_groups={"actor": ["teacher"], "critic": ["teacher"]},
        actor=RslRlModelCfg(hidden_dims=[64, 64], activation="tanh", distribution_cfg=_gaussian(0.7)),
        critic=RslRlModelCfg(hidden_dims=[128, 128], activation="tanh"),
        algorithm=RslRlPpoAlgorithmCfg(
            num_learning_epochs=4,
            num_mini_batches=4,
            learning_rate=1e-3,
            schedule="fixed",
            # At 100 Hz a position answers an action after half a second: credit has to reach that far back.
            lam=0.98,
            entropy_coef=0.001,
        ),
        anneal_from=0.3,
    )


def recurrent_student_cfg(activation: str = "relu") -> RslRlModelCfg:
    """Return a student that finds out which vehicle it flies: a GRU of 16, 2076 weights on 22 observations.

    The GRU reads the observations directly, and so does the layer behind it: near the target, what a teacher does
    is mostly linear in them.

    Args:
        activation: Of layers before and behind the GRU, which it has none of unless settings say so.
    """
    return RslRlModelCfg(
        class_name=ENCODER_RNN,
        encoder_dims=[],
        rnn_type="gru",
        rnn_hidden_dim=16,
        skip_connection=True,
        hidden_dims=[],
        activation=activation,
        # Rotors rise faster than they fall, so noise on their commands lifts the vehicle: the student would learn
        # to push against a force that is not there when it flies without noise.
        distribution_cfg=_gaussian(0.015),
    )


def student_runner_cfg() -> RslRlDistillationRunnerCfg:
    """Return the configuration of task ``distillation``, at reference scale."""
    return RslRlDistillationRunnerCfg(
        experiment_name="distillation",
        num_steps_per_env=100,
        max_iterations=1500,
        obs_groups={"student": ["student"], "teacher": ["teacher"]},
        student=recurrent_student_cfg(activation="tanh"),
        teacher=teacher_runner_cfg().actor,
        algorithm=RslRlDistillationAlgorithmCfg(
            num_learning_epochs=4,
            learning_rate=1e-3,
            max_grad_norm=1.0,
            gradient_length=15,
            use_two_stage_training=True,
            phase1_iterations=500,
            use_dagger=True,
            max_buffer_size=1_000_000,
            max_updates_per_iteration=100,
        ),
    )
