"""Options that cannot work or take effect are refused at construction, by name."""

from __future__ import annotations

import pytest

from foundation.distill import DaggerOptions, RslRlDistillationAlgorithmCfg
from foundation.distill.runners.config import RslRlDistillationRunnerCfg, RslRlModelCfg
from tests.support.runners import stock_runner

NO_DAGGER = {"use_dagger": False, "gradient_length": 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0.0"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be positive, got -1.0"),
        (
            {"latent_matching": {"student": "mlp.0", "wieght": 1.0}},
            r"must have the keys .* got \['student', 'wieght'\]",
        ),
        ({"buffer_device": "gpu"}, "buffer_device must be cpu or the training's device cpu, got gpu"),
        ({"buffer_dir": "/dev/null/x"}, "buffer_dir=/dev/null/x cannot be written to"),
        ({"teacher_schedule": "cubic"}, "teacher_schedule must be one of two_stage, .*, got 'cubic'"),
        ({"teacher_mixing": "rollout"}, "teacher_mixing must be one of episode, step, got 'rollout'"),
        ({"teacher_mixing": "step"}, "teacher_mixing=step has no effect with teacher_schedule=two_stage"),
        ({"teacher_schedule": "exponential"}, "teacher_schedule=exponential needs teacher_decay"),
        ({"teacher_decay": 0.9}, "teacher_decay=0.9 has no effect with teacher_schedule=two_stage"),
        (
            {"teacher_schedule": "exponential", "teacher_decay": 2.0},
            r"teacher_decay must lie in \[0, 1\], got 2.0",
        ),
        ({"teacher_schedule": "constant"}, "teacher_schedule=constant needs teacher_fraction"),
        ({"teacher_fraction": 0.5}, "teacher_fraction=0.5 has no effect .* set teacher_schedule=constant"),
        ({"teacher_schedule": "constant", "teacher_fraction": -1.0}, "teacher_fraction must lie in"),
        ({"teacher_schedule": "linear", "phase1_iterations": 0}, "linear needs phase1_iterations of at least 1"),
        (
            {"teacher_schedule": "linear", "use_two_stage_training": False},
            "teacher_schedule=linear has no effect with use_two_stage_training=False",
        ),
        ({"disagreement_threshold": 0.0}, "disagreement_threshold must be positive, got 0.0"),
        ({"eviction": "lru"}, "eviction must be one of fifo, reservoir, balanced, got 'lru'"),
        ({"phase_floor": 0.2}, "phase_floor=0.2 has no effect with eviction=fifo; set eviction=balanced"),
        ({"eviction": "balanced", "phase_floor": 0.5}, "phase_floor must lie above 0 and below 0.5, got 0.5"),
        (
            {"eviction": "balanced", "max_buffer_size": 70},
            r"at least one rollout \(81 = .* beside the other phase's floor of 0.25\), got 70",
        ),
        ({"sampling": "newest"}, "sampling must be one of passes, uniform, recency, loss, got 'newest'"),
        ({"sampling": "recency"}, "sampling=recency needs recency_half_life"),
        ({"recency_half_life": 2.0}, "recency_half_life=2.0 has no effect with sampling=passes"),
        ({"sampling": "recency", "recency_half_life": 0.0}, "recency_half_life must be positive, got 0.0"),
        ({"priority_exponent": 0.5}, "priority_exponent=0.5 has no effect with sampling=passes"),
        ({"sampling": "loss", "priority_exponent": -1.0}, "priority_exponent must be at least 0, got -1.0"),
        ({"buffer_dir": "x", "buffer_device": "cpu"}, "set one of them"),
        ({"loss_type": "l7"}, "loss_type must be one of mse, huber, kl, got 'l7'"),
        ({"action_weights": [1.0]}, r"action_weights must be 2 numbers, .* got \[1.0\]"),
        ({"action_weights": [0.0, 0.0]}, "not all zero"),
        ({"learning_rate_schedule": "cosine"}, "learning_rate_schedule=cosine needs learning_rate_iterations"),
        ({"learning_rate_iterations": 9}, "learning_rate_iterations=9 has no effect"),
        ({"teacher_checkpoint": ["a.pt"]}, r"must name at least two, got \['a.pt'\]"),
        (NO_DAGGER | {"sampling": "uniform"}, "sampling=uniform has no effect with use_dagger=False"),
        (NO_DAGGER | {"eviction": "reservoir"}, "eviction=reservoir has no effect with use_dagger=False"),
        (NO_DAGGER | {"store_teacher_obs": True}, "store_teacher_obs=True has no effect with use_dagger=False"),
        (NO_DAGGER | {"episode_filter": "time_outs"}, "episode_filter=time_outs has no effect with use_dagger"),
        (NO_DAGGER | {"buffer_dir": "x"}, "buffer_dir=x has no effect with use_dagger=False"),
        (NO_DAGGER | {"burn_in": 2}, "burn_in=2 has no effect with use_dagger=False"),
        (NO_DAGGER | {"loss_type": "kl"}, "loss_type=kl needs use_dagger=True"),
    ],
)
def test_an_option_that_cannot_work_or_take_effect_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        stock_runner(**options)


@pytest.mark.parametrize("name", ["burn_in", "phase1_iterations", "num_mini_batches", "max_buffer_size"])
def test_a_count_that_is_no_whole_number_is_refused(name):
    with pytest.raises(TypeError, match=f"{name} must be a whole number.*, got 2.5"):
        DaggerOptions(**{name: 2.5})


@pytest.mark.parametrize("clip", [0.0, -1.0, (1.0, 1.0), (1.0, -1.0), (1.0,), "x", float("nan")])
def test_a_range_of_labels_without_width_is_refused(clip):
    with pytest.raises(ValueError, match="label_clip must be positive, or a pair of lowest and highest, got"):
        DaggerOptions(label_clip=clip)


@pytest.mark.parametrize("options", [{"rnn_type": "gru"}, {"rnn_hidden_dim": 4}, {"cnn_cfg": {}}])
def test_a_setting_of_another_model_class_is_refused_with_that_class(options):
    with pytest.raises(ValueError, match=r"has no effect on class_name=MLPModel; set class_name=(RNN|CNN)Model"):
        RslRlModelCfg(**options)


@pytest.mark.parametrize("widths", [[], [64, 0]])
def test_hidden_layers_without_width_are_refused(widths):
    with pytest.raises(ValueError, match="hidden_dims must be widths of at least 1"):
        RslRlModelCfg(hidden_dims=widths)


def test_settings_left_to_rsl_rl_do_not_reach_the_model():
    cfg = RslRlDistillationRunnerCfg(student=RslRlModelCfg(class_name="RNNModel", rnn_type="gru")).to_dict()
    assert cfg["student"]["rnn_type"] == "gru"
    assert not {"rnn_hidden_dim", "rnn_num_layers", "cnn_cfg"} & set(cfg["student"])
    assert not {"rnn_type", "rnn_hidden_dim"} & set(cfg["teacher"])


def test_the_public_defaults_are_those_that_users_rely_on():
    cfg = RslRlDistillationAlgorithmCfg()
    expected = {
        "num_learning_epochs": 4, "learning_rate": 1e-3, "max_grad_norm": 1.0, "gradient_length": 15,
        "use_two_stage_training": True, "phase1_iterations": 500, "use_dagger": True,
        "max_buffer_size": 1_000_000, "eviction": "fifo", "teacher_schedule": "two_stage",
        "class_name": "foundation.distill:DaggerDistillation",
    }  # fmt: skip
    assert {name: getattr(cfg, name) for name in expected} == expected
