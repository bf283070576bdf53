"""The options of the algorithm: defaults, meaning, and which of them exclude each other."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass, fields
from typing import Any

from rsl_rl.algorithms import Distillation

from foundation.distill.eviction import EVICTIONS
from foundation.distill.finite import ON_NAN
from foundation.distill.losses import LOSSES
from foundation.distill.sampling import SAMPLERS
from foundation.distill.schedule import MIXINGS, TeacherSchedule

LEARNING_RATE_SCHEDULES = ("constant", "linear", "cosine")
_POSITIVE = (
    "num_learning_epochs",
    "gradient_length",
    "max_buffer_size",
    "num_mini_batches",
    "mini_batch_size",
    "max_updates_per_iteration",
    "learning_rate_iterations",
)


@dataclass
class DaggerOptions:
    """What :class:`~foundation.distill.DaggerDistillation` has beyond rsl_rl's ``Distillation``."""

    num_learning_epochs: int = 4
    """Passes per iteration, over the history with DAgger, over the newest rollout without."""
    max_grad_norm: float | None = 1.0
    """Largest norm of a gradient; None does not clip."""
    gradient_length: int = 15
    """Steps that a gradient reaches back: the length of a recurrent student's windows, and the steps between
    gradient steps of rsl_rl's own update, which runs where DAgger is off."""
    burn_in: int = 0
    """Steps before each window that warm a recurrent student's hidden state up without loss."""

    use_two_stage_training: bool = True
    """Whether ``teacher_schedule`` lets the teacher drive."""
    phase1_iterations: int = 500
    """Iterations that the teacher drives (``two_stage``) or until its share is zero (``linear``)."""
    teacher_schedule: str = "two_stage"
    """Probability that the teacher drives: ``two_stage``, ``linear``, ``exponential``, ``constant``, or
    ``1/(i+1)``, which ``reciprocal`` means too."""
    teacher_decay: float | None = None
    """Factor per iteration on the probability of ``exponential``."""
    teacher_fraction: float | None = None
    """Probability of ``constant``."""
    teacher_mixing: str | None = None
    """Whether the driver is drawn per ``episode`` (the default) or per ``step``."""
    disagreement_threshold: float | None = None
    """The teacher takes over where the two actions are further apart than this [units of the actions]."""

    use_dagger: bool = True
    """Whether to train on the aggregated history rather than on the newest rollout."""
    max_buffer_size: int = 1_000_000
    """Largest size of the history [transitions]."""
    eviction: str = "fifo"
    """What a full history gives up: ``fifo`` the oldest; ``reservoir`` keeps all ever seen with equal probability;
    ``balanced`` keeps a floor of each phase."""
    phase_floor: float | None = None
    """Share of the history that ``balanced`` keeps for each phase; 0.25 by default."""
    episode_filter: Any = None
    """Keeps only the labels of episodes that satisfy it: a key of ``extras`` that holds a truth value per
    environment, such as ``time_outs``, or ``module:function``, called with rewards, dones and extras."""
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
    """How mini-batches are drawn: ``passes``, ``uniform``, ``recency`` or ``loss``."""
    recency_half_life: float | None = None
    """Rollouts after which ``recency`` draws a transition half as often."""
    priority_exponent: float | None = None
    """Exponent of a transition's last loss in ``loss``; 0.6 by default, 0 draws uniformly."""

    loss_type: str = "mse"
    """``mse``, ``huber``, or ``kl`` between the Gaussians of teacher and student."""
    action_weights: list[float] | None = None
    """Factor on each action's loss."""
    latent_matching: dict[str, Any] | None = None
    """``student`` and ``teacher``, names of modules whose outputs are to agree, and ``weight`` of that loss."""
    learning_rate_schedule: str = "constant"
    """``constant``, or ``linear`` or ``cosine`` decay to zero."""
    learning_rate_iterations: int | None = None
    """Iterations until the learning rate is zero; our runner configuration sets it to the length of the run."""

    on_nan: str = "raise"
    """What follows NaN or infinity from the environment, the teacher or the loss: ``raise`` ends the run before
    anything is trained on it, ``skip`` leaves out the rows or mini-batches that hold it."""

    teacher_checkpoint: Any = None
    """Checkpoint of the teacher, or a list of them for several teachers; None if the runner loads it."""
    teacher_id: str = "teacher_id"
    """Observation group or key of ``extras`` with each environment's teacher, where there are several."""

    def __post_init__(self) -> None:
        """Check each value, then which of them contradict each other.

        Raises:
            TypeError: If a switch is not True or False or a count not a whole number.
            ValueError: If a value cannot work or cannot take effect.
        """
        self._check_types()
        self._check_values()
        self._check_driving()
        self._check_history()
        self._check_learning()

    def schedule(self) -> TeacherSchedule:
        """Return who drives, iteration by iteration."""
        return TeacherSchedule(
            self.teacher_schedule,
            self.phase1_iterations if self.use_two_stage_training else 0,
            1.0 if self.teacher_decay is None else self.teacher_decay,
            self.teacher_fraction or 0.0,
        )

    def check_several_processes(self) -> None:
        """Refuse what would let the processes of a distributed run drift apart or share files.

        Raises:
            ValueError: If an option works in a single process only.
        """
        for name, alone in (("episode_filter", None), ("buffer_dir", None), ("on_nan", "raise")):
            if getattr(self, name) != alone:
                raise ValueError(
                    f"{name}={getattr(self, name)} works in a single process only; drop it, or train on one GPU"
                )

    def _check_types(self) -> None:
        for name in ("use_dagger", "use_two_stage_training", "store_teacher_obs"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, got {getattr(self, name)!r}")
        for name in ("phase1_iterations", "burn_in", *_POSITIVE):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
                raise TypeError(f"{name} must be a whole number, got {value!r}")

    def _check_values(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, least in (("burn_in", 0), ("phase1_iterations", 0), ("priority_exponent", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        for name in ("max_grad_norm", "recency_half_life", "disagreement_threshold"):
            value = getattr(self, name)
            if value is not None and not value > 0.0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name, choices in (
            ("teacher_mixing", MIXINGS),
            ("eviction", tuple(EVICTIONS)),
            ("sampling", tuple(SAMPLERS)),
            ("loss_type", LOSSES),
            ("learning_rate_schedule", LEARNING_RATE_SCHEDULES),
            ("on_nan", ON_NAN),
        ):
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")

    def _check_driving(self) -> None:
        self.schedule()
        if not self.use_two_stage_training and self.teacher_schedule != "two_stage":
            raise ValueError(
                f"teacher_schedule={self.teacher_schedule} has no effect with use_two_stage_training=False, which "
                "leaves the driving to the student; set it to True"
            )
        self._need("teacher_decay", "teacher_schedule", "exponential")
        self._need("teacher_fraction", "teacher_schedule", "constant")
        if self.teacher_mixing is not None and self.teacher_schedule == "two_stage":
            raise ValueError(
                f"teacher_mixing={self.teacher_mixing} has no effect with teacher_schedule=two_stage, where one "
                "of the two drives at a time; choose another schedule"
            )
        if self.teacher_schedule == "linear" and self.phase1_iterations == 0:
            raise ValueError("teacher_schedule=linear needs phase1_iterations of at least 1, got 0")

    def _check_history(self) -> None:
        if not self.use_dagger:
            for name in _HISTORY_OPTIONS:
                if getattr(self, name) != getattr(DaggerOptions, name):
                    raise ValueError(
                        f"{name}={getattr(self, name)} has no effect with use_dagger=False, which keeps no "
                        "history; drop it, or set use_dagger=True"
                    )
            return
        if self.num_mini_batches is not None and self.mini_batch_size is not None:
            raise ValueError(
                f"num_mini_batches={self.num_mini_batches} and mini_batch_size={self.mini_batch_size} exclude "
                "each other; set one of them"
            )
        self._need("phase_floor", "eviction", "balanced", required=False)
        if self.phase_floor is not None and not 0.0 < self.phase_floor < 0.5:
            raise ValueError(f"phase_floor must lie above 0 and below 0.5, got {self.phase_floor}")
        self._need("recency_half_life", "sampling", "recency")
        self._need("priority_exponent", "sampling", "loss", required=False)
        if self.buffer_dir is not None and self.buffer_device is not None:
            raise ValueError(
                f"buffer_dir={self.buffer_dir} keeps the history in files and buffer_device={self.buffer_device} "
                "in memory; set one of them"
            )

    def _check_learning(self) -> None:
        if self.latent_matching is not None:
            keys = {"student", "teacher", "weight"}
            if set(self.latent_matching) != keys:
                raise ValueError(
                    f"latent_matching must have the keys student, teacher and weight, got "
                    f"{sorted(map(str, self.latent_matching))}"
                )
        if self.learning_rate_schedule == "constant" and self.learning_rate_iterations is not None:
            raise ValueError(
                f"learning_rate_iterations={self.learning_rate_iterations} has no effect with "
                "learning_rate_schedule=constant; set it to linear or cosine"
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

    def _need(self, name: str, other: str, value: str, required: bool = True) -> None:
        """Check that an option is set where another has a value, and not where it has not."""
        given, active = getattr(self, name), getattr(self, other) == value
        if given is not None and not active:
            raise ValueError(
                f"{name}={given} has no effect with {other}={getattr(self, other)}; set {other}={value}"
            )
        if required and active and given is None:
            raise ValueError(f"{other}={value} needs {name}")


_HISTORY_OPTIONS = (
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
OPTION_NAMES = tuple(field.name for field in fields(DaggerOptions))


def reject_unknown(options: dict[str, Any]) -> None:
    """Raise on options that rsl_rl's ``Distillation`` would swallow.

    Raises:
        TypeError: If an option is neither ours nor rsl_rl's.
    """
    stock = set(inspect.signature(Distillation.__init__).parameters) - {"self", "kwargs"}
    # rsl_rl's construct_algorithm always passes these two, as None.
    passed_as_none = {"rnd_cfg", "symmetry_cfg"}
    for name, value in options.items():
        if name in stock or name in OPTION_NAMES or (name in passed_as_none and value is None):
            continue
        near = difflib.get_close_matches(name, stock | set(OPTION_NAMES), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"DaggerDistillation got an unknown option {name!r}{hint}")
