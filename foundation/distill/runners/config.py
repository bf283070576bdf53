"""Runner configurations as dataclasses; names and defaults follow Isaac Lab's rsl_rl configurations."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from foundation.distill.algorithm.learning_rate import LEARNING_RATES
from foundation.distill.algorithm.options import DaggerOptions
from foundation.distill.checkpoint.run_network import ENCODER_RNN, OF_SOME_CLASSES, model_kwargs


@dataclass
class RslRlModelCfg:
    """A model of rsl_rl: feed-forward, recurrent or convolutional."""

    class_name: str = "MLPModel"
    """rsl_rl model class: ``MLPModel``, ``RNNModel``, ``CNNModel``, or another as ``module:Class``, such as
    ``foundation.distill:EncoderRnnModel``."""
    hidden_dims: list[int] = field(default_factory=lambda: [128, 128])
    """Widths of the hidden layers."""
    activation: str = "elu"
    """Activation function of the hidden layers."""
    obs_normalization: bool = True
    """Whether to normalise observations by their running mean and standard deviation."""
    distribution_cfg: dict[str, Any] | None = None
    """Action distribution; None makes a deterministic model, as a critic is."""
    rnn_type: str | None = None
    """``gru`` or ``lstm``, of an ``RNNModel``; None is rsl_rl's default."""
    rnn_hidden_dim: int | None = None
    """Width of the hidden state of an ``RNNModel``; None is rsl_rl's default."""
    rnn_num_layers: int | None = None
    """Recurrent layers of an ``RNNModel``; None is rsl_rl's default."""
    cnn_cfg: dict[str, Any] | None = None
    """Convolutions of a ``CNNModel``."""
    encoder_dims: list[int] | None = None
    """Widths of the layers before the recurrent ones of an ``EncoderRnnModel``; None is its default."""
    skip_connection: bool | None = None
    """Whether the layers behind the memory of an ``EncoderRnnModel`` also read the observations; None is no."""

    def __post_init__(self) -> None:
        """Check that every setting belongs to the class."""
        for name, owners in OF_SOME_CLASSES.items():
            if getattr(self, name) is not None and self.class_name in _CLASSES and self.class_name not in owners:
                raise ValueError(
                    f"{name}={getattr(self, name)} has no effect on class_name={self.class_name}; "
                    f"set class_name={owners[0]}"
                )
        optional = self.class_name == ENCODER_RNN
        if not (self.hidden_dims or optional) or min(self.hidden_dims, default=1) < 1:
            raise ValueError(f"hidden_dims must be widths of at least 1, and at least one, got {self.hidden_dims}")
        if self.rnn_type not in (None, "gru", "lstm"):
            raise ValueError(f"rnn_type must be gru or lstm, got {self.rnn_type!r}")
        for name in ("rnn_hidden_dim", "rnn_num_layers"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")


_CLASSES = ("MLPModel", "RNNModel", "CNNModel", ENCODER_RNN)


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
class RslRlDistillationAlgorithmCfg(DaggerOptions):
    """:class:`foundation.distill.DaggerDistillation`."""

    class_name: str = "foundation.distill:DaggerDistillation"
    """Algorithm class."""
    learning_rate: float = 1e-3
    """Step size of the optimiser."""
    num_learning_epochs: int | None = 4
    """Passes per iteration, over the whole history with DAgger, over the newest rollout without; with DAgger, as
    far as ``max_updates_per_iteration`` allows."""
    max_updates_per_iteration: int | None = 100
    """Largest number of gradient steps per iteration; a pass that it cuts short goes on in the next one. None
    makes ``num_learning_epochs`` whole passes."""
    phase1_iterations: float = 500
    """Iterations in which the teacher acts (``two_stage``), or until its probability is zero (``linear``). Below 1
    it is a share of the run."""
    optimizer: str = "adam"
    """``adam``, ``adamw``, ``sgd`` or ``rmsprop``."""
    rnd_cfg: dict[str, float] | None = None
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
    keep_last: int = 3
    """Newest checkpoints from which the run can continue exactly."""
    keep_every: int = 1
    """Older checkpoints keep their weights if this divides the iteration; 1 keeps all, as rsl_rl does."""
    logger: str = "tensorboard"
    """``tensorboard`` or ``wandb``."""
    wandb_project: str = "Foundation"
    """Project of the W&B logger."""
    check_for_nan: bool = True
    """Whether to check the environment's and the teacher's outputs for NaN and infinity."""

    def __post_init__(self) -> None:
        """Check that a run does something."""
        for name in ("max_iterations", "num_steps_per_env", "save_interval", "keep_last", "keep_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the nested dictionary that an rsl_rl runner takes."""
        cfg = asdict(self)
        for name in ("actor", "critic", "student", "teacher"):
            if name in cfg:
                cfg[name] = model_kwargs(cfg[name])
        return cfg


@dataclass
class RslRlOnPolicyRunnerCfg(_RunnerCfg):
    """A PPO run."""

    obs_groups: dict[str, list[str]] = field(default_factory=dict)
    """Observation groups of the actor and the critic."""
    actor: RslRlModelCfg = field(default_factory=RslRlModelCfg)
    """The policy."""
    critic: RslRlModelCfg = field(default_factory=RslRlModelCfg)
    """The value function."""
    algorithm: RslRlPpoAlgorithmCfg = field(default_factory=RslRlPpoAlgorithmCfg)
    """PPO."""
    anneal_from: float = 1.0
    """Share of the run after which the learning rate falls linearly to zero; with 1 it is constant."""
    init_from: str | None = None
    """Checkpoint of a distilled student whose weights and normaliser the actor starts from."""
    init_noise_std: float | None = None
    """Standard deviation of the action noise that the actor of ``init_from`` starts with; None keeps the
    student's."""
    critic_warmup_iterations: int = 0
    """First iterations that train the critic only; ``foundation train --init_from`` has another default."""

    def __post_init__(self) -> None:
        """Check that annealing and the noise can take effect."""
        super().__post_init__()
        if self.critic_warmup_iterations < 0:
            raise ValueError(f"critic_warmup_iterations must be at least 0, got {self.critic_warmup_iterations}")
        if self.init_noise_std is not None and not self.init_noise_std > 0.0:
            raise ValueError(f"init_noise_std must be positive, got {self.init_noise_std}")
        if self.init_noise_std is not None and self.init_from is None:
            raise ValueError(
                f"init_noise_std={self.init_noise_std} has no effect without init_from; set "
                "actor.distribution_cfg.init_std"
            )
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
    student: RslRlModelCfg = field(default_factory=RslRlModelCfg)
    """The policy to train."""
    teacher: RslRlModelCfg = field(default_factory=RslRlModelCfg)
    """The policy to imitate; must match the teacher's checkpoint."""
    algorithm: RslRlDistillationAlgorithmCfg = field(default_factory=RslRlDistillationAlgorithmCfg)
    """Distillation."""
    cuda_graph: bool = False
    """Whether to record a rollout's steps as a CUDA graph, which is launched as one; needs ``use_fast_paths``."""

    def __post_init__(self) -> None:
        """Let a learning-rate schedule end with the run, unless ``learning_rate_iterations`` is set."""
        super().__post_init__()
        algorithm = self.algorithm
        takes_iterations = (
            "learning_rate_iterations" in LEARNING_RATES.find(algorithm.learning_rate_schedule).takes
        )
        if takes_iterations and algorithm.learning_rate_iterations is None:
            algorithm.learning_rate_iterations = self.max_iterations
