"""The checks that refuse options which cannot work, or cannot take effect."""

from __future__ import annotations

import os
from typing import Any

from foundation.distill.algorithm.label_range import clip_limits
from foundation.distill.algorithm.learning_rate import LEARNING_RATES
from foundation.distill.algorithm.losses import LOSSES
from foundation.distill.algorithm.mixing import MIXINGS, SCHEDULES
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
    "init_dataset",
    "sampling",
    "recency_half_life",
    "priority_exponent",
    "latent_matching",
    "on_nan",
)
"""Options that have no effect without a history."""


def check_options(options: Any, defaults: Any) -> None:
    """Check every value, then their combinations.

    Args:
        options: The options, a :class:`~foundation.distill.DaggerOptions`.
        defaults: Their class, whose attributes are the defaults.

    Raises:
        TypeError: If a switch is not True or False or a count not a whole number.
        ValueError: If a value cannot work or cannot take effect.
    """
    _check_types(options)
    _check_values(options)
    _check_mixing(options)
    _check_history(options, defaults)
    _check_learning(options, defaults)


def _check_types(options: Any) -> None:
    for name in _SWITCHES:
        if not isinstance(getattr(options, name), bool):
            raise TypeError(f"{name} must be True or False, got {getattr(options, name)!r}")
    for name in ("phase1_iterations", "burn_in", *_COUNTS):
        value = getattr(options, name)
        is_share = name == "phase1_iterations" and isinstance(value, float) and 0.0 < value < 1.0
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)) and not is_share:
            share = ", or a share of the run between 0 and 1" if name == "phase1_iterations" else ""
            raise TypeError(f"{name} must be a whole number{share}, got {value!r}")


def _check_values(options: Any) -> None:
    for name in _COUNTS:
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name in ("burn_in", "phase1_iterations"):
        if getattr(options, name) < 0:
            raise ValueError(f"{name} must be at least 0, got {getattr(options, name)}")
    for name in ("max_grad_norm", "disagreement_threshold"):
        value = getattr(options, name)
        if value is not None and not value > 0.0:
            raise ValueError(f"{name} must be positive, got {value}")
    if options.label_clip is not None:
        clip_limits(options.label_clip)
    folder = options.init_dataset
    if folder is not None and (not isinstance(folder, (str, os.PathLike)) or not str(folder)):
        raise ValueError(f"init_dataset must name the folder of one dataset, or be None, got {folder!r}")
    if options.on_nan not in ON_NAN:
        raise ValueError(f"on_nan must be one of {', '.join(ON_NAN)}, got {options.on_nan!r}")


def _check_mixing(options: Any) -> None:
    SCHEDULES.check(options)
    schedule = options.schedule()
    if not options.use_two_stage_training and options.teacher_schedule != "two_stage":
        raise ValueError(
            f"teacher_schedule={options.teacher_schedule} has no effect with use_two_stage_training=False, which "
            "leaves the driving to the student; set it to True"
        )
    if options.teacher_mixing is None:
        return
    MIXINGS.check(options)
    if schedule.is_two_stage:
        raise ValueError(
            f"teacher_mixing={options.teacher_mixing} has no effect with teacher_schedule="
            f"{options.teacher_schedule}, where one of the two drives at a time; choose another schedule"
        )


def _check_history(options: Any, defaults: Any) -> None:
    if not options.use_dagger:
        for name in _OF_THE_HISTORY:
            if getattr(options, name) != getattr(defaults, name):
                raise ValueError(
                    f"{name}={getattr(options, name)} has no effect with use_dagger=False, which keeps no "
                    "history; drop it, or set use_dagger=True"
                )
        return
    SAMPLERS.check(options)
    EVICTIONS.check(options)
    if options.num_mini_batches is not None and options.mini_batch_size is not None:
        raise ValueError(
            f"num_mini_batches={options.num_mini_batches} and mini_batch_size={options.mini_batch_size} exclude "
            "each other; set one of them"
        )
    if options.buffer_dir is not None and options.buffer_device is not None:
        raise ValueError(
            f"buffer_dir={options.buffer_dir} keeps the history in files and buffer_device="
            f"{options.buffer_device} in memory; set one of them"
        )


def _check_learning(options: Any, defaults: Any) -> None:
    LOSSES.check(options)
    LEARNING_RATES.check(options)
    if options.latent_matching is not None and set(options.latent_matching) != {"student", "teacher", "weight"}:
        raise ValueError(
            f"latent_matching must have the keys student, teacher and weight, got "
            f"{sorted(map(str, options.latent_matching))}"
        )
    several = isinstance(options.teacher_checkpoint, (list, tuple))
    if options.teacher_id != defaults.teacher_id and not several:
        raise ValueError(
            f"teacher_id={options.teacher_id} has no effect with a single teacher; list several in "
            "teacher_checkpoint"
        )
    if several and len(options.teacher_checkpoint) < 2:
        raise ValueError(
            f"a list of teacher_checkpoint must name at least two, got {list(options.teacher_checkpoint)}; "
            "give a single one as text"
        )
