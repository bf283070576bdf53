"""The options of the algorithm: defaults, meaning, and the checks that refuse what cannot work or take effect."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass, fields
from typing import Any

from rsl_rl.algorithms import Distillation

from foundation.distill.algorithm.learning_rate import LEARNING_RATES
from foundation.distill.algorithm.losses import LOSSES
from foundation.distill.algorithm.mixing import MIXINGS, SCHEDULES, TeacherSchedule
from foundation.distill.history.eviction import EVICTIONS
from foundation.distill.history.samplers import SAMPLERS

ON_NAN = ("raise", "skip")
_COUNTS = (
    "num_learning_epochs",
    "gradient_length",
    "max_buffer_size",
    "num_mini_batches",
    "mini_batch_size",
    "max_updates_per_iteration",
    "learning_rate_iterations",
)
_SWITCHES = ("use_dagger", "use_two_stage_training", "store_teacher_obs", "use_fast_paths")
_OF_THE_HISTORY = (
    "burn_in",
    "eviction",
    "phase_floor",
    "episode_filter",
    "store_teacher_obs",
    "buffer_device",
    "buffer_dir",
    "sampling",
    "recency_half_life",
    "priority_exponent",
    "latent_matching",
    "on_nan",
)
"""Options that have no effect without a history."""


@dataclass
class DaggerOptions:
    """What :class:`~foundation.distill.DaggerDistillation` has beyond rsl_rl's ``Distillation``."""

    num_learning_epochs: int = 4
    """Passes per iteration, over the history with DAgger, over the newest rollout without."""
    max_grad_norm: float | None = 1.0
    """Largest norm of a gradient; None does not clip."""
    gradient_length: int = 15
    """Steps that a gradient reaches back: the length of a recurrent student's windows, and without DAgger the
    steps between gradient steps of rsl_rl's own update."""
    burn_in: int = 0
    """Steps before each window that warm up a recurrent student's hidden state, without loss."""

    use_two_stage_training: bool = True
    """Whether the teacher acts as ``teacher_schedule`` says; if not, the student always does."""
    phase1_iterations: int = 500
    """Iterations in which the teacher acts (``two_stage``), or until its probability is zero (``linear``)."""
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
    episode_filter: Any = None
    """Predicate of the episodes to learn from: a key of ``extras`` that holds a truth value per environment, such
    as ``time_outs``, or ``module:name`` of a callable that takes rewards, dones and extras."""
    store_teacher_obs: bool = False
    """Whether to store the teacher's observations, for :meth:`DaggerDistillation.relabel`."""
    buffer_device: str | None = None
    """Device of the history; None is the training's, ``cpu`` is host memory."""
    buffer_dir: str | None = None
    """Folder for a history in memory-mapped files, larger than memory."""

    num_mini_batches: int | None = None
    """Mini-batches per pass over the history; excludes ``mini_batch_size``."""
    mini_batch_size: int | None = None
    """Transitions per mini-batch; with neither of the two, 2048."""
    max_updates_per_iteration: int | None = None
    """Largest number of gradient steps per iteration; a pass that it cuts short goes on in the next one."""
    sampling: str = "passes"
    """How mini-batches are drawn: ``passes`` (without replacement), ``uniform``, ``recency``, ``loss``, or
    ``module:Class``."""
    recency_half_life: float | None = None
    """Rollouts after which ``recency`` draws a transition half as often."""
    priority_exponent: float | None = None
    """Exponent of a transition's last loss in ``loss``; 0.6 by default, 0 draws uniformly."""

    loss_type: str = "mse"
    """``mse``, ``huber``, ``kl`` between the Gaussians of teacher and student, or ``module:Class``."""
    action_weights: list[float] | None = None
    """Factor on each action's loss."""
    latent_matching: dict[str, Any] | None = None
    """``student`` and ``teacher``, the names of modules whose outputs are matched, and ``weight`` of that loss."""
    learning_rate_schedule: str = "constant"
    """``constant``, ``linear`` or ``cosine`` decay to zero, or ``module:Class``."""
    learning_rate_iterations: int | None = None
    """Iterations until the learning rate is zero; our runner configuration sets it to the length of the run."""

    on_nan: str = "raise"
    """Reaction to NaN or infinity from the environment, the teacher or the loss: ``raise`` ends the run before it
    is trained on, ``skip`` leaves out the affected rows or mini-batches."""

    teacher_checkpoint: Any = None
    """Checkpoint of the teacher, or a list of them for several teachers; None if the runner loads it."""
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
        self._check_types()
        self._check_values()
        self._check_mixing()
        self._check_history()
        self._check_learning()

    def schedule(self) -> TeacherSchedule:
        """Return the probability that the teacher acts, iteration by iteration."""
        return TeacherSchedule(
            self.teacher_schedule,
            self.phase1_iterations if self.use_two_stage_training else 0,
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
        steps = self.num_learning_epochs * steps_per_env
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
                    f"{name}={getattr(self, name)} works in a single process only; drop it, or train on one GPU"
                )

    def _check_types(self) -> None:
        for name in _SWITCHES:
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("phase1_iterations", "burn_in", *_COUNTS):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise TypeError(f"{name} must be a whole number, got {value!r}")

    def _check_values(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("burn_in", "phase1_iterations"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("max_grad_norm", "disagreement_threshold"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise ValueError(f"{name} must be positive, got {value}")
        if self.on_nan not in ON_NAN:
            raise ValueError(f"on_nan must be one of {', '.join(ON_NAN)}, got {self.on_nan!r}")

    def _check_mixing(self) -> None:
        SCHEDULES.check(self)
        schedule = self.schedule()
        if not self.use_two_stage_training and self.teacher_schedule != "two_stage":
            raise ValueError(
                f"teacher_schedule={self.teacher_schedule} has no effect with use_two_stage_training=False, which "
                "leaves the driving to the student; set it to True"
            )
        if self.teacher_mixing is None:
            return
        MIXINGS.check(self)
        if schedule.is_two_stage:
            raise ValueError(
                f"teacher_mixing={self.teacher_mixing} has no effect with teacher_schedule="
                f"{self.teacher_schedule}, where one of the two drives at a time; choose another schedule"
            )

    def _check_history(self) -> None:
        if not self.use_dagger:
            for name in _OF_THE_HISTORY:
                if getattr(self, name) != getattr(DaggerOptions, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)} has no effect with use_dagger=False, which keeps no "
                        "history; drop it, or set use_dagger=True"
                    )
            return
        SAMPLERS.check(self)
        EVICTIONS.check(self)
        if self.num_mini_batches is not None and self.mini_batch_size is not None:
            raise ValueError(
                f"num_mini_batches={self.num_mini_batches} and mini_batch_size={self.mini_batch_size} exclude "
                "each other; set one of them"
            )
        if self.buffer_dir is not None and self.buffer_device is not None:
            raise ValueError(
                f"buffer_dir={self.buffer_dir} keeps the history in files and buffer_device={self.buffer_device} "
                "in memory; set one of them"
            )

    def _check_learning(self) -> None:
        LOSSES.check(self)
        LEARNING_RATES.check(self)
        if self.latent_matching is not None and set(self.latent_matching) != {"student", "teacher", "weight"}:
            raise ValueError(
                f"latent_matching must have the keys student, teacher and weight, got "
                f"{sorted(map(str, self.latent_matching))}"
            )
        several = isinstance(self.teacher_checkpoint, (list, tuple))
        if self.teacher_id != DaggerOptions.teacher_id and not several:
            raise ValueError(
                f"teacher_id={self.teacher_id} has no effect with a single teacher; list several in "
                "teacher_checkpoint"
            )
        if several and len(self.teacher_checkpoint) < 2:
            raise ValueError(
                f"a list of teacher_checkpoint must name at least two, got {list(self.teacher_checkpoint)}; "
                "give a single one as text"
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
