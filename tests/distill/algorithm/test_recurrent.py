"""Recurrent students and teachers: windows against a plain loop over single steps."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerRunner
from foundation.distill.history.rows import LOSS_MASK
from tests.support.runners import RightTeacher, aggregate, collect, make, student
from tests.support.toy import GAUSSIAN, MODEL, CueEnv, ToyEnv, runner_cfg, teacher_checkpoint

KINDS = ("gru", "lstm")


def short_episodes() -> ToyEnv:
    """Return an environment whose episodes end in the middle of windows, at another step in each environment."""
    env = ToyEnv()
    env.max_episode_length = 7
    env.episode_length_buf = torch.arange(env.num_envs) % 7
    return env


def plain_loss(model, seen: list[dict], env: int, first: int, start: int, stop: int) -> torch.Tensor:
    """Return the summed loss over steps [start, stop) of one environment, one step after the other.

    The state is the recorded one at step ``first``, and is reset where an episode ended.
    """
    hidden = [None if part is None else part[:, env : env + 1].clone() for part in seen[first]["hidden"]]
    state = None if hidden[0] is None else (hidden[0] if len(hidden) == 1 else tuple(hidden))
    total = torch.zeros(())
    for t in range(first, stop):
        x = model.obs_normalizer(seen[t]["obs"][env : env + 1])
        out, state = model.rnn.rnn(x[None], state)
        action = model.mlp(out[0])
        if t >= start:
            total = total + (action - seen[t]["label"][env]).square().mean()
        if seen[t]["dones"][env]:
            state = None
    return total


def gradients(model) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("burn_in", [0, 3])
def test_the_gradient_of_windows_is_that_of_a_loop_over_single_steps_with_resets(kind, layers, burn_in):
    runner = make(short_episodes(), student=student(kind, layers), gradient_length=4, burn_in=burn_in)
    alg, model = runner.alg, runner.alg.student
    seen = collect(runner)
    aggregate(runner)
    seen += collect(runner)
    aggregate(runner)
    assert torch.stack([s["dones"] for s in seen]).any(1).sum() > 5  # episodes end inside windows

    rows = alg.history[:]
    model.zero_grad()
    losses, counts = alg.imitation.losses(rows), rows[LOSS_MASK]
    (losses * counts).sum().backward()
    batched = gradients(model)

    model.zero_grad()
    total = torch.zeros(())
    for env in range(6):
        for rollout in (0, 10):
            for start in (0, 4, 8):
                first = max(0, rollout + start - burn_in)
                total = total + plain_loss(model, seen, env, first, rollout + start, rollout + min(start + 4, 10))
    total.backward()
    assert counts.sum() == 120
    assert (losses * counts).sum().item() == pytest.approx(total.item(), rel=1e-6)
    for name, expected in gradients(model).items():
        torch.testing.assert_close(batched[name], expected, atol=1e-6, rtol=1e-5, msg=name)


def test_without_resets_the_gradient_would_differ():
    runner = make(short_episodes(), student=student("gru"), gradient_length=4)
    alg = runner.alg
    collect(runner)
    aggregate(runner)
    rows = alg.history[:]
    with_resets = alg.imitation.losses(rows)
    rows["dones"] = torch.zeros_like(rows["dones"])
    without = alg.imitation.losses(rows)
    assert (with_resets - without).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("burn_in", [0, 3, 10])
def test_the_hidden_state_at_a_windows_start_is_the_one_the_rollout_had(kind, burn_in):
    runner = make(short_episodes(), student=student(kind), gradient_length=4, burn_in=burn_in)
    alg = runner.alg
    seen = collect(runner)
    alg.update()
    seen += collect(runner)
    aggregate(runner)
    newest = alg.history[len(alg.history) - 18 :]
    for window, start in enumerate((10, 14, 18)):
        for part, expected in enumerate(seen[start - burn_in]["hidden"]):
            got = newest[f"hidden/{part}"][6 * window : 6 * window + 6]
            expected = torch.zeros_like(got.transpose(0, 1)) if expected is None else expected
            assert torch.equal(got.transpose(0, 1), expected)
    assert newest["hidden/0"].abs().max() > 0


def test_a_rollout_begins_with_the_hidden_state_that_the_one_before_ended_with():
    runner = make(student=student("gru"), gradient_length=4)
    collect(runner)
    ended_with = runner.alg.student.get_hidden_state().clone()
    runner.alg.update()
    assert torch.equal(collect(runner)[0]["hidden"][0], ended_with)
    assert ended_with.abs().max() > 0


@pytest.mark.parametrize("length", [3, 4, 7, 10, 15])
def test_every_step_of_a_rollout_is_trained_exactly_once_whatever_the_length_of_windows(length):
    runner = make(student=student("gru"), gradient_length=length, burn_in=2)
    seen = collect(runner)
    runner.alg.dataset.append(runner.alg.phases)
    rows = runner.alg.history[:]
    trained = rows["obs/student"][rows[LOSS_MASK]]
    expected = torch.cat([s["obs"] for s in seen])
    assert runner.alg.history.num_transitions() == 60

    def ordered(values):
        return sorted(map(tuple, values.tolist()))

    assert ordered(trained) == ordered(expected)


@pytest.mark.parametrize(
    ("mode", "trained"),
    [
        ({}, True),
        ({"use_two_stage_training": False}, True),
        ({"use_dagger": False}, True),
        ({"use_dagger": False, "use_two_stage_training": False}, False),  # as in rsl_rl
    ],
)
@pytest.mark.parametrize("kind", [*KINDS, "mlp"])
def test_the_last_steps_move_the_weights_where_the_length_does_not_divide_the_rollout(kind, mode, trained):
    def weight(change_last_label: bool) -> torch.Tensor:
        model = None if kind == "mlp" else student(kind)
        runner = make(short_episodes(), student=model, gradient_length=4, num_learning_epochs=1, **mode)
        collect(runner)
        if change_last_label:
            runner.alg.storage.privileged_actions[9] += 1.0
        torch.manual_seed(0)
        runner.alg.update()
        return runner.alg.student.mlp[0].weight.detach().clone()

    assert torch.equal(weight(False), weight(False))
    assert torch.equal(weight(False), weight(True)) != trained


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_for_left_over_steps_has_the_gradient_of_a_plain_loop(kind):
    runner = make(
        short_episodes(), student=student(kind), gradient_length=4, num_learning_epochs=1, use_dagger=False
    )
    seen = collect(runner)
    model = runner.alg.student
    before = model.get_hidden_state()
    loss = runner.alg.stock_update.loss_of_left_out_steps()
    assert model.get_hidden_state() is before
    model.zero_grad()
    loss.backward()
    got = gradients(model)
    model.zero_grad()
    sum(plain_loss(model, seen, env, 8, 8, 10) / 6 for env in range(6)).backward()
    for name, expected in gradients(model).items():
        torch.testing.assert_close(got[name], expected, atol=1e-6, rtol=1e-5, msg=name)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("use_dagger", [True, False])
@pytest.mark.parametrize("use_two_stage", [True, False])
def test_recurrent_students_learn_in_every_mode(tmp_path, kind, use_dagger, use_two_stage):
    runner = make(
        student=student(kind), log_dir=tmp_path, use_dagger=use_dagger, use_two_stage_training=use_two_stage,
        phase1_iterations=20, gradient_length=5, learning_rate=1e-2, runner=DaggerRunner,
    )  # fmt: skip
    collect(runner)
    first = runner.alg.update()["behavior"]
    runner.learn(40)
    collect(runner)
    assert runner.alg.update()["behavior"] < 0.2 * first


def test_with_both_switches_off_recurrent_students_have_the_weights_of_rsl_rl_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    cfg = runner_cfg(
        student=student("lstm"), num_learning_epochs=2, gradient_length=5, max_grad_norm=1.0,
        use_dagger=False, use_two_stage_training=False,
    )  # fmt: skip
    stock_cfg = runner_cfg(
        class_name="Distillation", student=student("lstm"), num_learning_epochs=2, gradient_length=5,
        max_grad_norm=1.0,
    )  # fmt: skip
    states = []
    for configuration in (cfg, stock_cfg):
        torch.manual_seed(0)
        runner = DistillationRunner(ToyEnv(), configuration, None, "cpu")
        runner.alg.teacher_loaded = True
        torch.manual_seed(1)
        runner.learn(4)
        states.append(runner.alg.student.state_dict())
    for name, value in states[1].items():
        assert torch.equal(states[0][name], value), name


class TestRecurrentTeacher:
    @pytest.mark.parametrize("use_dagger", [True, False])
    @pytest.mark.parametrize("kind", KINDS)
    def test_its_labels_are_those_of_one_uninterrupted_sequence_reset_at_dones(self, kind, use_dagger):
        env = short_episodes()
        runner = make(env, teacher=student(kind), use_dagger=use_dagger, gradient_length=5)
        labels, observed = [], []
        for _ in range(3):
            with torch.inference_mode():
                obs = env.get_observations()
                for _ in range(10):
                    actions = runner.alg.act(obs)
                    labels.append(runner.alg.transition.privileged_actions.clone())
                    observed.append(obs["teacher"].clone())
                    obs, rewards, dones, extras = env.step(actions)
                    observed[-1] = (observed[-1], dones.bool())
                    runner.alg.process_env_step(obs, rewards, dones, extras)
            runner.alg.update()
        teacher = runner.alg.teacher
        with torch.no_grad():
            for index in range(env.num_envs):
                state = None
                for (obs, dones), label in zip(observed, labels, strict=True):
                    out, state = teacher.rnn.rnn(teacher.obs_normalizer(obs[index : index + 1])[None], state)
                    torch.testing.assert_close(teacher.mlp(out[0])[0], label[index], atol=1e-6, rtol=1e-5)
                    if dones[index]:
                        state = None

    def test_rsl_rls_own_algorithm_forgets_it(self):
        cfg = runner_cfg(class_name="Distillation", teacher=student("gru"), gradient_length=5)
        alg = DistillationRunner(ToyEnv(), cfg, None, "cpu").alg
        alg.act(ToyEnv().get_observations())
        assert alg.teacher.get_hidden_state() is not None
        alg.update()
        assert alg.teacher.get_hidden_state() is None


def cue_runner(tmp_path, recurrent: bool) -> DistillationRunner:
    torch.manual_seed(0)
    model = {**MODEL, "obs_normalization": False, "hidden_dims": [16]}
    cfg = runner_cfg(
        steps=16, student=model | (student("gru") | {"rnn_hidden_dim": 16} if recurrent else {}), teacher=model,
        use_two_stage_training=False, max_buffer_size=50_000, num_learning_epochs=2, mini_batch_size=512,
        gradient_length=6, learning_rate=5e-3,
    )  # fmt: skip
    for role in ("student", "teacher"):
        cfg[role]["distribution_cfg"] = {**GAUSSIAN, "init_std": 0.05}
    runner = DistillationRunner(CueEnv(), cfg, str(tmp_path), "cpu")
    # A teacher that is right: its action is the cue.
    runner.alg.teacher = runner.alg._raw_teacher = RightTeacher()
    runner.alg.teacher_loaded = True
    return runner


def mean_return(model) -> float:
    """Fly 40 episodes of 500 environments with the mean action."""
    env = CueEnv(500, seed=5)
    model.eval()
    model.reset()
    total = 0.0
    with torch.inference_mode():
        obs = env.get_observations()
        for _ in range(40 * env.max_episode_length):
            obs, reward, dones, _ = env.step(model(obs))
            model.reset(dones)
            total += reward.mean().item()
    return total / 40


def test_a_recurrent_student_reaches_the_optimum_of_a_task_that_needs_memory_and_no_other_can(tmp_path):
    recurrent = cue_runner(tmp_path / "gru", recurrent=True)
    recurrent.learn(60)
    assert mean_return(recurrent.alg.student) > 0.98 * CueEnv.OPTIMUM
    forgetful = cue_runner(tmp_path / "mlp", recurrent=False)
    forgetful.learn(60)
    # 20 000 episodes: the mean of the five blind steps has a standard deviation of at most 5 / sqrt(20000).
    assert mean_return(forgetful.alg.student) < CueEnv.OPTIMUM_WITHOUT_MEMORY + 4 * 5 / 20_000**0.5


def test_a_resumed_recurrent_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path):
    teacher_path = tmp_path / "teacher.pt"
    torch.save(teacher_checkpoint(), teacher_path)

    def build(name, seed=0):
        torch.manual_seed(seed)
        cfg = runner_cfg(
            student=student("lstm"), gradient_length=4, burn_in=3, phase1_iterations=2, max_buffer_size=150,
            mini_batch_size=16, max_updates_per_iteration=5, teacher_checkpoint=str(teacher_path),
        )  # fmt: skip
        return DaggerRunner(ToyEnv(), cfg, str(tmp_path / name), "cpu")

    whole = build("whole")
    whole.learn(6)
    build("first").learn(3)
    second = build("second", seed=99)
    second.load(str(tmp_path / "first" / "model_2.pt"))
    second.learn(3)
    for name, value in whole.alg.student.state_dict().items():
        assert torch.equal(second.alg.student.state_dict()[name], value), name


def test_burn_in_of_a_feed_forward_student_or_longer_than_a_rollout_is_refused():
    with pytest.raises(
        ValueError, match=r"burn_in=3 has no effect on a feed-forward student; set student\.class_name"
    ):
        make(burn_in=3)
    with pytest.raises(ValueError, match=r"burn_in must be at most num_steps_per_env \(10\), got 11"):
        make(burn_in=11, student=student("gru"))
