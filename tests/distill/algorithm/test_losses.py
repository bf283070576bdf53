"""Losses against torch's own and against plain loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from foundation.distill.algorithm.losses import gaussian_kl
from foundation.distill.observations import select_groups
from tests.support.runners import fill_rollout, stock_runner
from tests.support.toy import RNN, runner_cfg


def losses(runner) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a rollout's rows and the loss of each of their transitions."""
    fill_rollout(runner)
    runner.alg.dataset.append(runner.alg.phases)
    rows = runner.alg.history[:]
    return rows, runner.alg.imitation.losses(rows)


def watch_teacher_obs(runner) -> list[torch.Tensor]:
    """Return a list that collects the teacher's observations, step by step."""
    seen: list[torch.Tensor] = []
    original = runner.alg.process_env_step

    def spy(*args):
        seen.append(runner.alg.transition.observations["teacher"].clone())
        original(*args)

    runner.alg.process_env_step = spy
    return seen


def student_mean(runner, rows) -> torch.Tensor:
    model = runner.alg.student
    return model.mlp(model.obs_normalizer(rows["obs/student"]))


@pytest.mark.parametrize("kind", ["mse", "huber"])
def test_weights_multiply_each_actions_loss(kind):
    runner = stock_runner(loss_type=kind, action_weights=[3.0, 0.5], max_buffer_size=60)
    rows, got = losses(runner)
    function = {"mse": nn.functional.mse_loss, "huber": nn.functional.huber_loss}[kind]
    each = function(student_mean(runner, rows), rows["teacher_actions"], reduction="none")
    torch.testing.assert_close(got, (each * torch.tensor([3.0, 0.5])).mean(-1))


def test_weights_also_act_in_rsl_rls_own_update(tmp_path):
    def first_layer(weights):
        runner = stock_runner(
            use_dagger=False, use_two_stage_training=False, gradient_length=5, action_weights=weights
        )
        torch.manual_seed(1)
        runner.learn(1)
        return runner.alg.student.mlp[2].weight.detach()

    plain, none, first = first_layer([1.0, 1.0]), first_layer(None), first_layer([1.0, 0.0])
    assert torch.equal(plain, none)
    initial = stock_runner(use_dagger=False, use_two_stage_training=False, gradient_length=5).alg.student
    assert torch.equal(first[1], initial.mlp[2].weight[1])  # what has no weight is not trained
    assert not torch.equal(first[0], initial.mlp[2].weight[0])


def test_the_closed_form_of_the_divergence_is_torchs():
    torch.manual_seed(0)
    mean_p, mean_q = torch.randn(2, 50, 3, dtype=torch.float64)
    std_p, std_q = torch.rand(2, 50, 3, dtype=torch.float64) + 0.1
    torch.testing.assert_close(
        gaussian_kl(mean_p, std_p, mean_q, std_q), kl_divergence(Normal(mean_p, std_p), Normal(mean_q, std_q))
    )


STD_NET = {"class_name": "HeteroscedasticGaussianDistribution", "init_std": 0.3, "std_type": "log"}


@pytest.mark.parametrize("teacher", [{}, {"distribution_cfg": STD_NET}])
@pytest.mark.parametrize("recurrent", [False, True])
def test_kl_is_the_divergence_from_the_teachers_gaussian_to_the_students(teacher, recurrent):
    from rsl_rl.runners import DistillationRunner

    from tests.support.toy import ToyEnv

    torch.manual_seed(0)
    student = {**RNN, "rnn_type": "gru"} if recurrent else {}
    cfg = runner_cfg(student=student, teacher=teacher, loss_type="kl", max_buffer_size=120, gradient_length=5)
    runner = DistillationRunner(ToyEnv(), cfg, None, "cpu")
    runner.alg.teacher_loaded = True
    teacher_obs = watch_teacher_obs(runner)
    rows, got = losses(runner)
    model = runner.alg.teacher
    with torch.no_grad():
        raw = model.mlp(model.obs_normalizer(torch.cat(teacher_obs)))
        model.distribution.update(raw)
        p = Normal(model.output_mean, model.output_std)
    if recurrent:
        assert got.shape == (12, 5)
        # Windows of 5 steps of 6 environments, two in each rollout of 10.
        std = p.stddev.view(2, 5, 6, -1).permute(0, 2, 1, 3).reshape(12, 5, -1)
        mean = p.mean.view(2, 5, 6, -1).permute(0, 2, 1, 3).reshape(12, 5, -1)
        obs = select_groups(rows, ["student"])
        student_actions = runner.alg.dataset.layout.run(runner.alg.student, obs, rows)
        expected = kl_divergence(Normal(mean, std), Normal(student_actions, torch.full_like(std, 0.1)))
    else:
        expected = kl_divergence(p, Normal(student_mean(runner, rows), torch.full_like(p.mean, 0.1)))
    torch.testing.assert_close(got, expected.mean(-1), atol=1e-5, rtol=1e-4)


def test_with_kl_the_students_standard_deviation_becomes_the_teachers():
    runner = stock_runner(loss_type="kl", max_buffer_size=10_000, learning_rate=1e-2, num_learning_epochs=20)
    with torch.no_grad():
        runner.alg.student.distribution.std_param.fill_(0.5)
    runner.learn(20)
    assert runner.alg.student.distribution.std_param.mean().item() == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("role", ["student", "teacher"])
def test_kl_without_a_gaussian_is_refused(role):
    from rsl_rl.runners import DistillationRunner

    from tests.support.toy import ToyEnv

    cfg = runner_cfg(**{role: {"distribution_cfg": None}}, loss_type="kl")
    with pytest.raises(
        ValueError, match=f"loss_type=kl needs a Gaussian {role}, and this one has no standard deviation"
    ):
        DistillationRunner(ToyEnv(), cfg, None, "cpu")


LATENT = {"student": "mlp.0", "teacher": "mlp.0", "weight": 0.7}


class TestLatentMatching:
    def test_it_adds_the_weighted_square_difference_of_the_modules_outputs(self):
        plain = stock_runner(max_buffer_size=60)
        rows, without = losses(plain)
        runner = stock_runner(max_buffer_size=60, latent_matching=LATENT)
        teacher_obs = watch_teacher_obs(runner)
        rows, got = losses(runner)
        model, teacher = runner.alg.student, runner.alg.teacher
        mine = model.mlp[0](model.obs_normalizer(rows["obs/student"]))
        theirs = teacher.mlp[0](teacher.obs_normalizer(torch.cat(teacher_obs)))
        torch.testing.assert_close(got - without, 0.7 * (mine - theirs).square().mean(-1), atol=1e-5, rtol=1e-4)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"student": "mlp.9"},
                r"latent_matching\.student='mlp\.9' is no module of the student; it has .*mlp\.0",
            ),
            ({"teacher": "mlp.2"}, "mlp.0 of the student, 8 wide, with mlp.2 of the teacher, 2 wide"),
        ],
    )
    def test_modules_that_do_not_exist_or_differ_in_width_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            stock_runner(latent_matching=LATENT | options)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, 0.5 + 0.5 * 0.5**0.5, 0.5, 0.5 - 0.5 * 0.5**0.5]),
        ("constant", [1.0] * 4),
        ("inverse_sqrt", [1.0, 1.1**-0.5, 1.2**-0.5, 1.3**-0.5]),
    ],
)
@pytest.mark.parametrize("use_dagger", [True, False])
def test_the_learning_rate_follows_its_closed_form(kind, expected, use_dagger):
    horizon = {} if kind in ("constant", "inverse_sqrt") else {"learning_rate_iterations": 4}
    runner = stock_runner(
        learning_rate=0.01, learning_rate_schedule=kind, gradient_length=5, use_dagger=use_dagger, **horizon
    )
    rates = []
    for _ in range(4):
        runner.learn(1)
        rates.append(runner.alg.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 * share for share in expected])
    if horizon:
        with pytest.raises(ValueError, match="learning rate of zero: raise learning_rate_iterations, which is 4"):
            runner.learn(1)
