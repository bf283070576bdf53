"""Every option can be set by a command line that is made from its type, as mjlab's is."""

from __future__ import annotations

from dataclasses import fields

import pytest
import tyro

from foundation.distill import RslRlDistillationAlgorithmCfg

GIVEN = {
    "num_learning_epochs": ("3", 3), "max_grad_norm": ("0.5", 0.5), "gradient_length": ("7", 7),
    "burn_in": ("2", 2), "use_two_stage_training": ("False", False), "phase1_iterations": ("0.25", 0.25),
    "teacher_schedule": ("linear", "linear"), "teacher_decay": ("0.9", 0.9), "teacher_fraction": ("0.5", 0.5),
    "teacher_mixing": ("step", "step"), "disagreement_threshold": ("0.3", 0.3), "use_dagger": ("False", False),
    "max_buffer_size": ("5000", 5000), "eviction": ("balanced", "balanced"), "phase_floor": ("0.1", 0.1),
    "episode_filter": ("time_outs", "time_outs"), "store_teacher_obs": ("True", True),
    "buffer_device": ("cpu", "cpu"), "buffer_dir": ("rows", "rows"), "init_dataset": ("flights-v0", "flights-v0"),
    "num_mini_batches": ("4", 4),
    "mini_batch_size": ("512", 512), "max_updates_per_iteration": ("None", None),
    "sampling": ("uniform", "uniform"),
    "recency_half_life": ("8", 8.0), "priority_exponent": ("0.4", 0.4), "loss_type": ("huber", "huber"),
    "action_weights": ("1 2.5", (1.0, 2.5)), "label_clip": ("-1 2", (-1.0, 2.0)),
    "learning_rate_schedule": ("cosine", "cosine"), "learning_rate_iterations": ("90", 90),
    "on_nan": ("skip", "skip"),
    "teacher_checkpoint": ("a.pt b.pt", ("a.pt", "b.pt")), "teacher_id": ("who", "who"),
    "use_fast_paths": ("False", False), "class_name": ("a:B", "a:B"), "learning_rate": ("0.01", 0.01),
    "optimizer": ("sgd", "sgd"), "rnd_cfg": ("None", None),
}  # fmt: skip
"""Words of a command line for each option, and the value that they stand for."""
NEEDED = {
    "teacher_decay": "--teacher-schedule exponential",
    "teacher_fraction": "--teacher-schedule constant",
    "teacher_mixing": "--teacher-schedule linear",
    "phase_floor": "--eviction balanced",
    "recency_half_life": "--sampling recency",
    "priority_exponent": "--sampling loss",
    "learning_rate_iterations": "--learning-rate-schedule cosine",
    "learning_rate_schedule": "--learning-rate-iterations 9",
    "teacher_id": "--teacher-checkpoint a.pt b.pt",
}
"""Options without which another one has no effect."""


def parsed(words: str) -> RslRlDistillationAlgorithmCfg:
    return tyro.cli(RslRlDistillationAlgorithmCfg, args=words.split())


@pytest.mark.parametrize("name", GIVEN)
def test_an_option_is_set_by_its_flag(name):
    words, value = GIVEN[name]
    flag = "--" + name.replace("_", "-")
    if isinstance(value, bool):
        words, flag = "", flag if value else f"--no-{flag[2:]}"
    got = getattr(parsed(f"{flag} {words} {NEEDED.get(name, '')}"), name)
    assert got == value
    assert type(got) is type(value)


def test_a_group_of_its_own_sets_latent_matching():
    words = "--latent-matching.student a --latent-matching.teacher b --latent-matching.weight 0.5"
    got = parsed(f"latent-matching:latent-matching {words}").latent_matching
    assert got == {"student": "a", "teacher": "b", "weight": 0.5}


def test_every_option_is_tried():
    assert set(GIVEN) | {"latent_matching"} == {item.name for item in fields(RslRlDistillationAlgorithmCfg)}


def test_text_where_a_number_belongs_is_refused():
    with pytest.raises(SystemExit):
        parsed("--max-buffer-size many")
