"""Runner configuration of task ``foundation``."""

from __future__ import annotations

from foundation.distill.runners.config import (
    ENCODER_RNN,
    RslRlDistillationAlgorithmCfg,
    RslRlDistillationRunnerCfg,
    RslRlModelCfg,
)

ITERATIONS = 780


def foundation_runner_cfg() -> RslRlDistillationRunnerCfg:
    """Return the recipe: the expert acts for 8 iterations, then the student, for 40 million steps in all.

    The GRU reads the observations directly, and so does the layer behind it: what the expert does is mostly linear
    in them (docs/FOUNDATION_POLICY.md).
    """
    return RslRlDistillationRunnerCfg(
        experiment_name="foundation",
        num_steps_per_env=100,
        max_iterations=ITERATIONS,
        obs_groups={"student": ["student"], "teacher": ["expert"]},
        student=RslRlModelCfg(
            class_name=ENCODER_RNN,
            encoder_dims=[],
            rnn_type="gru",
            rnn_hidden_dim=16,
            skip_connection=True,
            hidden_dims=[],
            activation="relu",
            distribution_cfg={"class_name": "GaussianDistribution", "init_std": 0.015, "std_type": "log"},
        ),
        teacher=RslRlModelCfg(class_name="foundation.distill:ObservedActions", obs_normalization=False),
        algorithm=RslRlDistillationAlgorithmCfg(
            num_learning_epochs=None,
            learning_rate=2e-3,
            learning_rate_schedule="cosine",
            learning_rate_iterations=ITERATIONS,
            max_grad_norm=1.0,
            gradient_length=100,
            use_two_stage_training=True,
            phase1_iterations=8,
            use_dagger=True,
            max_buffer_size=2_000_000,
            mini_batch_size=6400,
            max_updates_per_iteration=120,
            # Most errors are made in the first second of a flight, and most flights that are lost are lost there.
            sampling="loss",
            priority_exponent=0.3,
        ),
    )
