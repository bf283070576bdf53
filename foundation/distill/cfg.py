"""Runner configurations as dataclasses; names and defaults follow Isaac Lab's rsl_rl configurations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class RslRlMLPModelCfg:
    """A feed-forward model of rsl_rl."""

    class_name: str = "MLPModel"
    """rsl_rl model class."""
    hidden_dims: list[int] = field(default_factory=lambda: [128, 128])
    """Widths of the hidden layers."""
    activation: str = "elu"
    """Activation function of the hidden layers."""
    obs_normalization: bool = True
    """Whether to normalise observations by their running mean and standard deviation."""
    distribution_cfg: dict[str, Any] | None = None
    """Action distribution; None makes a deterministic model, as a critic is."""


@dataclass
class RslRlPpoAlgorithmCfg:
    """rsl_rl's PPO."""

    class_name: str = "PPO"
    """Algorithm class."""
    num_learning_epochs: int = 5
    """Passes over each rollout."""
    num_mini_batches: int = 4
    """Mini-batches per pass."""
    learning_rate: float = 1e-3
    """Step size of the optimiser."""
    schedule: str = "adaptive"
    """``adaptive`` follows ``desired_kl``, ``fixed`` does not."""
    desired_kl: float = 0.01
    """Target divergence of the adaptive schedule."""
    gamma: float = 0.99
    """Discount factor per step."""
    lam: float = 0.95
    """Decay of the generalised advantage estimate."""
    clip_param: float = 0.2
    """Clipping range of the probability ratio."""
    entropy_coef: float = 0.0
    """Weight of the entropy bonus."""
    value_loss_coef: float = 1.0
    """Weight of the value loss."""
    use_clipped_value_loss: bool = True
    """Whether to clip the value loss."""
    max_grad_norm: float = 1.0
    """Largest norm of a gradient."""
    rnd_cfg: dict[str, Any] | None = None
    """Random network distillation; rsl_rl 5.4 needs the key."""


@dataclass
class RslRlDistillationAlgorithmCfg:
    """:class:`foundation.distill.DaggerDistillation`."""

    num_learning_epochs: int = 4
    """Passes per iteration, over the history with DAgger, over the newest rollout without."""
    learning_rate: float = 1e-3
    """Step size of the optimiser."""
    max_grad_norm: float | None = 1.0
    """Largest norm of a gradient; None does not clip."""
    gradient_length: int = 15
    """Steps between gradient steps of rsl_rl's own update, which runs where DAgger is off."""
    class_name: str = "foundation.distill:DaggerDistillation"
    """Algorithm class."""
    use_two_stage_training: bool = True
    """Whether the teacher drives the first ``phase1_iterations`` iterations."""
    phase1_iterations: int = 500
    """Iterations that the teacher drives."""
    use_dagger: bool = True
    """Whether to train on the aggregated history rather than on the newest rollout."""
    max_buffer_size: int = 1_000_000
    """Largest size of the history [transitions]."""
    num_mini_batches: int | None = None
    """Mini-batches per pass over the history; excludes ``mini_batch_size``."""
    mini_batch_size: int | None = None
    """Transitions per mini-batch; with neither of the two, 2048."""
    max_updates_per_iteration: int | None = None
    """Largest number of gradient steps per iteration; a pass that it cuts short goes on in the next one."""
    loss_type: str = "mse"
    """``mse`` or ``huber``."""
    optimizer: str = "adam"
    """``adam``, ``adamw``, ``sgd`` or ``rmsprop``."""
    teacher_checkpoint: str | None = None
    """Checkpoint of the teacher; None if the runner loads it."""
    rnd_cfg: dict[str, Any] | None = None
    """Must stay None; rsl_rl 5.4 needs the key."""


@dataclass
class _RunnerCfg:
    experiment_name: str = "experiment"
    """Folder of the experiment's runs under ``logs/rsl_rl``."""
    run_name: str = ""
    """Suffix of the run's folder."""
    seed: int = 0
    """Seed of the environment and of the learning."""
    num_steps_per_env: int = 100
    """Steps per environment and iteration."""
    max_iterations: int = 1500
    """Iterations of a run; a continued run adds as many again."""
    save_interval: int = 50
    """Iterations between checkpoints."""
    logger: str = "tensorboard"
    """``tensorboard`` or ``wandb``."""
    wandb_project: str = "Foundation"
    """Project of the W&B logger."""
    check_for_nan: bool = True
    """Whether to stop on NaN from the environment."""

    def __post_init__(self) -> None:
        """Check that a run does something."""
        for name in ("max_iterations", "num_steps_per_env", "save_interval"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the nested dictionary that an rsl_rl runner takes."""
        return asdict(self)


@dataclass
class RslRlOnPolicyRunnerCfg(_RunnerCfg):
    """A PPO run."""

    obs_groups: dict[str, list[str]] = field(default_factory=dict)
    """Observation groups of the actor and the critic."""
    actor: RslRlMLPModelCfg = field(default_factory=RslRlMLPModelCfg)
    """The policy."""
    critic: RslRlMLPModelCfg = field(default_factory=RslRlMLPModelCfg)
    """The value function."""
    algorithm: RslRlPpoAlgorithmCfg = field(default_factory=RslRlPpoAlgorithmCfg)
    """PPO."""
    anneal_from: float = 1.0
    """Share of the run after which the learning rate falls linearly to zero; 1 never lets it fall."""

    def __post_init__(self) -> None:
        """Check that annealing can take effect."""
        super().__post_init__()
        if not 0.0 <= self.anneal_from <= 1.0:
            raise ValueError(f"anneal_from must lie in [0, 1], got {self.anneal_from}")
        if self.anneal_from < 1.0 and self.algorithm.schedule != "fixed":
            raise ValueError(
                f"anneal_from={self.anneal_from} needs algorithm.schedule=fixed: the adaptive schedule would "
                "overwrite the learning rate"
            )


@dataclass
class RslRlDistillationRunnerCfg(_RunnerCfg):
    """A distillation run."""

    obs_groups: dict[str, list[str]] = field(default_factory=dict)
    """Observation groups of the student and the teacher."""
    student: RslRlMLPModelCfg = field(default_factory=RslRlMLPModelCfg)
    """The policy to train."""
    teacher: RslRlMLPModelCfg = field(default_factory=RslRlMLPModelCfg)
    """The policy to imitate; must match the teacher's checkpoint."""
    algorithm: RslRlDistillationAlgorithmCfg = field(default_factory=RslRlDistillationAlgorithmCfg)
    """Distillation."""
