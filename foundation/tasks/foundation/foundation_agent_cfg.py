"""Runner configuration of task ``foundation``."""

from __future__ import annotations

from foundation.distill.runners.config import (
    RslRlDistillationAlgorithmCfg,
    RslRlDistillationRunnerCfg,
    RslRlModelCfg,
)
from foundation.tasks.point_ctrl.agents.rsl_rl_ppo_cfg import recurrent_student_cfg

ITERATIONS = 780


def foundation_runner_cfg() -> RslRlDistillationRunnerCfg:
    """Return the recipe: the expert acts for 8 iterations, then the student, for 40 million steps in all."""
    return RslRlDistillationRunnerCfg(
        experiment_name="foundation",
        num_steps_per_env=100,
        max_iterations=ITERATIONS,
        obs_groups={"student": ["student"], "teacher": ["expert"]},
        student=recurrent_student_cfg(),
        teacher=RslRlModelCfg(class_name="foundation.distill:ObservedActions", obs_normalization=False),
        algorithm=RslRlDistillationAlgorithmCfg(
            num_learning_epochs=None,
            learning_rate=2e-3,
            learning_rate_schedule="cosine",
            learning_rate_iterations=ITERATIONS,
            max_grad_norm=1.0,
            gradient_length=50,
            use_two_stage_training=True,
            phase1_iterations=8,
            use_dagger=True,
            max_buffer_size=2_000_000,
            mini_batch_size=6400,
            max_updates_per_iteration=80,
            # Most errors are made in the first second of a flight, and most flights that are lost are lost there.
            sampling="loss",
            priority_exponent=0.3,
        ),
    )
