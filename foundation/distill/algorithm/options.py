"""The options of the algorithm: defaults, meaning, and the checks that refuse what cannot work or take effect."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass, fields
from typing import Any

from rsl_rl.algorithms import Distillation

from foundation.distill.algorithm.losses import LatentMatching
from foundation.distill.algorithm.mixing import TeacherSchedule
from foundation.distill.algorithm.option_checks import check_options

DEFAULT_EPOCHS = 4
"""Passes over the newest rollout without DAgger and ``num_learning_epochs``."""
UNKNOWN_RUN_LENGTH = 200
"""Iterations of which ``phase1_iterations`` is a share if nothing tells the run's length."""


@dataclass
class DaggerOptions:
    """What :class:`~foundation.distill.DaggerDistillation` has beyond rsl_rl's ``Distillation``."""

    num_learning_epochs: int | None = None
    """Passes per iteration, over the whole history with DAgger, over the newest rollout without. None with DAgger
    takes 100 gradient steps instead, and at most 4 passes; without DAgger it takes 4 passes."""
    max_grad_norm: float | None = 1.0
    """Largest norm of a gradient; None does not clip."""
    gradient_length: int = 15
    """Steps that a gradient reaches back: the length of a recurrent student's windows, and without DAgger the
    steps between gradient steps of rsl_rl's own update."""
    burn_in: int = 0
    """Steps before each window that warm up a recurrent student's hidden state, without loss."""

    use_two_stage_training: bool = True
    """Whether the teacher acts as ``teacher_schedule`` says; if not, the student always does."""
    phase1_iterations: float = 0.05
    """Iterations in which the teacher acts (``two_stage``), or until its probability is zero (``linear``). Below 1
    it is a share of the run."""
    teacher_schedule: str = "two_stage"
    """Probability that the teacher acts: ``two_stage``, ``linear``, ``exponential``, ``constant``, ``1/(i+1)``
    (also called ``reciprocal``), or ``module:Class``."""
    teacher_decay: float | None = None
    """Factor per iteration on the probability of ``exponential``."""
    teacher_fraction: float | None = None
    """Probability of ``constant``."""
    teacher_mixing: str | None = None
    """Whether the acting policy is drawn per ``episode`` (the default), per ``step``, or by ``module:Class``."""
    disagreement_threshold: float | None = None
    """Distance of the two actions beyond which the teacher acts [units of the actions]."""

    use_dagger: bool = True
    """Whether to train on the aggregated history rather than on the newest rollout."""
    max_buffer_size: int = 1_000_000
    """Largest size of the history [transitions]."""
    eviction: str = "fifo"
    """Rows that a full history replaces: ``fifo`` the oldest; ``reservoir`` keeps all ever seen with equal
    probability; ``balanced`` keeps a floor of each phase; or ``module:Class``."""
    phase_floor: float | None = None
    """Share of the history that ``balanced`` keeps for each phase; 0.25 by default."""
    episode_filter: str | None = None
    """Predicate of the episodes to learn from: a key of ``extras`` that holds a truth value per environment, such
    as ``time_outs``, or ``module:name`` of a callable that takes rewards, dones and extras; from Python, also the
    callable itself."""
    store_teacher_obs: bool = False
    """Whether to store the teacher's observations, for :meth:`DaggerDistillation.relabel`."""
    buffer_device: str | None = None
    """Device of the history; None is the training's, ``cpu`` is host memory."""
    buffer_dir: str | None = None
    """Folder for a history in memory-mapped files, larger than memory."""

    init_dataset: str | None = None
    """Folder of a dataset (Minari or LeRobot) that a new run's history begins with: one that
    ``foundation dataset export`` wrote, or demonstrations whose actions are the labels."""

    num_mini_batches: int | None = None
    """Mini-batches per pass over the history; excludes ``mini_batch_size``."""
    mini_batch_size: int | None = None
    """Transitions per mini-batch; with neither of the two, a fortieth of a rollout, at least 64 transitions or 32
    windows and at most 4096 transitions, or 2048 for whole passes."""
    max_updates_per_iteration: int | None = None
    """Largest number of gradient steps per iteration; a pass that it cuts short goes on in the next one. None is
    100 without ``num_learning_epochs``, and no limit with it."""
    sampling: str = "passes"
    """How mini-batches are drawn: ``passes`` (without replacement), ``uniform``, ``recency``, ``loss``, or
    ``module:Class``."""
    recency_half_life: float | None = None
    """Rollouts after which ``recency`` draws a transition half as often."""
    priority_exponent: float | None = None
    """Exponent of a transition's last loss in ``loss``; 0.6 by default, 0 draws uniformly."""

    loss_type: str = "mse"
    """``mse``, ``huber``, ``kl`` between the Gaussians of teacher and student, or ``module:Class``."""
    action_weights: tuple[float, ...] | None = None
    """Factor on each action's loss."""
    latent_matching: LatentMatching | None = None
    """``student`` and ``teacher``, the names of modules whose outputs are matched, and ``weight`` of that loss."""
    label_clip: float | tuple[float, float] | None = None
    """Largest absolute value of a teacher's action, or lowest and highest: actions beyond are clipped before they
    are stored and applied. None clips nothing."""
    learning_rate_schedule: str = "constant"
    """``constant``, ``linear`` or ``cosine`` decay to zero, ``inverse_sqrt`` (a half after 30 iterations), or
    ``module:Class``. Options that name neither this nor ``learning_rate`` get ``inverse_sqrt`` from 0.003."""
    learning_rate_iterations: int | None = None
    """Iterations until the learning rate is zero; our runner configuration sets it to the length of the run."""

    on_nan: str = "raise"
    """Reaction to NaN or infinity from the environment, the teacher or the loss: ``raise`` ends the run before it
    is trained on, ``skip`` leaves out the affected rows or mini-batches."""

    teacher_checkpoint: str | tuple[str, ...] | None = None
    """Checkpoint of the teacher or an exported policy (TorchScript, ONNX), or a list of checkpoints for several
    teachers; None if the runner loads it."""
    teacher_id: str = "teacher_id"
    """Observation group or key of ``extras`` with each environment's teacher, if there are several."""

    use_fast_paths: bool = True
    """Whether to use the faster implementations in ``distill/fast``; the results are equal up to rounding."""

    def __post_init__(self) -> None:
        """Check every value, then their combinations.

        Raises:
            TypeError: If a switch is not True or False or a count not a whole number.
            ValueError: If a value cannot work or cannot take effect.
        """
        if isinstance(self.phase1_iterations, float) and self.phase1_iterations.is_integer():
            self.phase1_iterations = int(self.phase1_iterations)
        check_options(self, DaggerOptions)

    @property
    def num_epochs(self) -> int:
        """Passes over the newest rollout without DAgger."""
        return DEFAULT_EPOCHS if self.num_learning_epochs is None else self.num_learning_epochs

    def phase1_length(self, run_length: int | None) -> int:
        """Return the number of iterations in which the teacher acts.

        Args:
            run_length: Iterations of the run; None if they are unknown.
        """
        if not self.use_two_stage_training:
            return 0
        if not 0.0 < self.phase1_iterations < 1.0:
            return int(self.phase1_iterations)
        return max(1, round(self.phase1_iterations * (run_length or UNKNOWN_RUN_LENGTH)))

    def schedule(self, run_length: int | None = None) -> TeacherSchedule:
        """Return the probability that the teacher acts, iteration by iteration.

        Args:
            run_length: Iterations of the run; None if they are unknown.
        """
        return TeacherSchedule(
            self.teacher_schedule,
            self.phase1_length(run_length),
            1.0 if self.teacher_decay is None else self.teacher_decay,
            self.teacher_fraction or 0.0,
        )

    def check_run(self, steps_per_env: int, is_distributed: bool) -> None:
        """Refuse options that cannot work in a run of this kind.

        Args:
            steps_per_env: Steps of a rollout.
            is_distributed: Whether several processes train together; with some options they would drift apart, or
                share files.

        Raises:
            ValueError: If there is such an option.
        """
        steps = self.num_epochs * steps_per_env
        if not self.use_dagger and self.gradient_length > steps:
            raise ValueError(
                f"gradient_length must be at most num_learning_epochs * num_steps_per_env ({steps}), or no "
                f"gradient step is ever made; got {self.gradient_length}"
            )
        if not is_distributed:
            return
        for name, alone in (("episode_filter", None), ("buffer_dir", None), ("on_nan", "raise")):
            if getattr(self, name) != alone:
                raise ValueError(
                    f"{name}={getattr(self, name)} works in a single process only; drop it, or train in one "
                    "process"
                )


OPTION_NAMES = tuple(field.name for field in fields(DaggerOptions))


def reject_unknown(options: dict[str, Any]) -> None:
    """Raise on options that rsl_rl's ``Distillation`` would ignore.

    Raises:
        TypeError: If an option is neither ours nor rsl_rl's.
    """
    stock = set(inspect.signature(Distillation.__init__).parameters) - {"self", "kwargs"}
    # rsl_rl's construct_algorithm always passes these, as None.
    passed_as_none = {"rnd_cfg", "symmetry_cfg"}
    for name, value in options.items():
        if name in stock or name in OPTION_NAMES or (name in passed_as_none and value is None):
            continue
        near = difflib.get_close_matches(name, stock | set(OPTION_NAMES), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"DaggerDistillation got an unknown option {name!r}{hint}")
