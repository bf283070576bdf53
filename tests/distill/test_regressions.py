"""Combinations of options that once failed together."""

from __future__ import annotations

import math

import pytest
import torch
from tensordict import TensorDict

from foundation.distill import AggregatedBuffer, DaggerRunner
from foundation.distill.checkpoint import CheckpointError
from tests.support.rows import phase_rows
from tests.support.runners import aggregate, collect, fill_rollout, make, stock_runner, student, weights
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint


@pytest.mark.parametrize("options", [{"gradient_length": 4}, {"gradient_length": 5, "burn_in": 3}])
def test_kl_of_padded_windows_is_finite(options):
    runner = make(student=student("gru"), loss_type="kl", **options)
    collect(runner)
    assert math.isfinite(runner.alg.update()["behavior"])
    assert all(value.isfinite().all() for value in weights(runner).values())


@pytest.mark.parametrize(("num_envs", "length"), [(6, 1), (1, 5)])
def test_burn_in_takes_no_step_from_other_windows(num_envs, length):
    runner = make(ToyEnv(num_envs), student=student("gru"), gradient_length=length, burn_in=2)
    collect(runner)
    aggregate(runner)
    assert runner.alg.history.num_transitions() == 10 * num_envs


def test_balanced_windows_with_burn_in_belong_to_the_phase_that_they_train():
    runner = make(
        student=student("gru"), gradient_length=5, burn_in=3, eviction="balanced", max_buffer_size=100,
        phase1_iterations=2,
    )  # fmt: skip
    runner.learn(8)
    history = runner.alg.history[:]
    first = history["trained"].to(torch.uint8).argmax(1)
    phases = history["phase"][torch.arange(len(history)), first]
    assert (phases == 1).sum() == 5  # a quarter of 20 rows
    assert (phases == 2).sum() == 15


def test_balanced_takes_more_rows_than_its_own_phase_has_from_the_other():
    buffer = AggregatedBuffer(phase_rows(0, 1), 40, "cpu", eviction="balanced")
    buffer.append(phase_rows(0, 35, phase=1))
    buffer.append(phase_rows(35, 5, phase=2))
    buffer.append(phase_rows(40, 38, phase=2))
    assert sorted(buffer[:]["id"].tolist()) == [33, 34, *range(40, 78)]


def test_a_filter_may_release_more_than_the_history_holds():
    class Long(ToyEnv):
        max_episode_length = 40

    runner = make(Long(), episode_filter="time_outs", max_buffer_size=200)
    runner.learn(5)
    assert len(runner.alg.history) == 200


def test_a_finished_run_with_a_falling_learning_rate_can_be_loaded_and_says_what_to_raise():
    options = {"learning_rate_schedule": "linear", "learning_rate_iterations": 2, "max_buffer_size": 1000}
    finished = stock_runner(**options)
    finished.learn(2)
    again = stock_runner(**options)
    assert again.alg.load(finished.alg.save(), None, True)
    cfg = runner_cfg(**options)
    runner = DaggerRunner(ToyEnv(), cfg, None, "cpu")
    runner.alg.teacher_loaded = True
    with pytest.raises(
        ValueError, match="iteration 2 has a learning rate of zero: raise learning_rate_iterations"
    ):
        runner.learn(3)
    assert runner.env.actions == []


@pytest.mark.parametrize(
    "options", [{"loss_type": "kl"}, {"latent_matching": {"student": "mlp.0", "teacher": "mlp.0", "weight": 1.0}}]
)
def test_a_trained_student_can_be_exported(options):
    runner = stock_runner(max_buffer_size=1000, **options)
    runner.learn(1)
    policy = runner.alg.get_policy().eval()
    exported = torch.jit.script(policy.as_jit())
    obs = ToyEnv().get_observations()
    torch.testing.assert_close(exported(obs["student"]), policy(obs))


def test_a_history_in_files_survives_loading_its_own_state(tmp_path):
    buffer = AggregatedBuffer(phase_rows(0, 1), 20, "cpu", folder=tmp_path)
    buffer.append(phase_rows(0, 9))
    buffer.load_state_dict(buffer.state_dict())
    assert buffer[:]["id"].tolist() == list(range(9))


@pytest.mark.parametrize("eviction", ["reservoir", "balanced"])
def test_a_growing_history_may_go_on_in_the_same_size(eviction):
    buffer, copy = (
        AggregatedBuffer(phase_rows(0, 1), 50, "cpu", eviction=eviction, initial_capacity=10) for _ in range(2)
    )
    buffer.append(phase_rows(0, 10))
    copy.load_state_dict(buffer.state_dict())
    copy.append(phase_rows(10, 10))
    assert copy[:]["id"].tolist() == list(range(20))


@pytest.mark.parametrize("option", [{"sampling": "uniform"}, {"eviction": "reservoir"}])
def test_a_history_kept_with_other_options_is_refused(option):
    state = AggregatedBuffer(phase_rows(0, 1), 50, "cpu").state_dict()
    other = AggregatedBuffer(phase_rows(0, 1), 50, "cpu", **option)
    with pytest.raises(ValueError, match=f"set {next(iter(option))}=(passes|fifo)"):
        other.load_state_dict(state)


def test_after_an_interrupt_in_a_rollout_nothing_is_glued_to_it(tmp_path):
    class Interrupting(ToyEnv):
        def step(self, actions):
            if len(self.actions) == 25:
                raise KeyboardInterrupt
            return super().step(actions)

    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")

    def build(name, env):
        torch.manual_seed(0)
        cfg = runner_cfg(
            student=student("gru"), gradient_length=5, burn_in=3, max_buffer_size=1000,
            teacher_checkpoint=str(tmp_path / "teacher.pt"),
        )  # fmt: skip
        return DaggerRunner(env, cfg, str(tmp_path / name), "cpu")

    first = build("first", Interrupting())
    with pytest.raises(KeyboardInterrupt):
        first.learn(5)
    again = build("again", ToyEnv())
    again.load(str(first.last_checkpoint))
    again.learn(1)
    history = again.alg.history[:]
    place, done = history["obs/student"][..., :2], history["dones"]
    jumps = (place[:, 1:] - place[:, :-1]).norm(dim=-1)
    assert jumps[~done[:, :-1] & (history["phase"][:, :-1] > 0)].max() < 0.5  # actions move by about 0.1
    assert jumps.max() > 0.5  # a new episode begins elsewhere


def test_relabelling_reaches_what_a_filter_holds_back_and_an_empty_history(tmp_path):
    paths = [str(tmp_path / f"{seed}.pt") for seed in (7, 8)]
    for seed, path in zip((7, 8), paths, strict=True):
        torch.save(teacher_checkpoint(seed), path)
    runner = stock_runner(store_teacher_obs=True, episode_filter="time_outs", max_buffer_size=1000)
    runner.alg.relabel(paths[1])
    fill_rollout(runner)
    runner.alg.update()
    runner.alg.relabel(paths[0])
    (held,) = runner.alg.dataset.filter.held_back
    model = runner.alg.teacher
    with torch.no_grad():
        expected = model(TensorDict({"teacher": held["obs/teacher"]}, batch_size=[len(held)]))
    torch.testing.assert_close(held["teacher_actions"], expected)


@pytest.mark.parametrize("option", [{"episode_filter": "time_outs"}, {"buffer_dir": "x"}])
def test_what_needs_a_single_process_is_refused_in_a_distributed_run(option, monkeypatch):
    alg = stock_runner().alg
    cls, several = type(alg), {"global_rank": 0, "local_rank": 0, "world_size": 2}
    with pytest.raises(ValueError, match="works in a single process only"):
        cls(alg.student, alg.teacher, alg.storage, multi_gpu_cfg=several, **option)


def test_a_checkpoint_of_other_sampling_is_one_clear_error(tmp_path):
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")

    def build(name, **options):
        cfg = runner_cfg(teacher_checkpoint=str(tmp_path / "teacher.pt"), max_buffer_size=1000, **options)
        return DaggerRunner(ToyEnv(), cfg, str(tmp_path / name), "cpu")

    build("first").learn(1)
    with pytest.raises(CheckpointError, match="set sampling=passes"):
        build("second", sampling="loss").load(str(tmp_path / "first" / "model_0.pt"))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"episode_filter": "time_outs"}, "was kept without an episode_filter"),
        ({"episode_filter": "time_outs"}, {}, "was kept with an episode_filter"),
        ({}, {"store_teacher_obs": True}, "field 'obs/teacher' differs; keep"),
    ],
)
def test_a_run_continued_with_another_layout_is_one_clear_error(tmp_path, monkeypatch, first, second, message):
    monkeypatch.chdir(tmp_path)
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")

    def build(name, **options):
        cfg = runner_cfg(teacher_checkpoint=str(tmp_path / "teacher.pt"), max_buffer_size=1000, **options)
        return DaggerRunner(ToyEnv(), cfg, str(tmp_path / name), "cpu")

    build("first", **first).learn(1)
    with pytest.raises(CheckpointError, match=message):
        build("second", **second).load(str(tmp_path / "first" / "model_0.pt"))


def test_continuing_without_dagger_says_that_the_history_is_not_used(tmp_path, capsys):
    torch.save(teacher_checkpoint(), tmp_path / "teacher.pt")

    def build(name, **options):
        cfg = runner_cfg(teacher_checkpoint=str(tmp_path / "teacher.pt"), gradient_length=5, **options)
        return DaggerRunner(ToyEnv(), cfg, str(tmp_path / name), "cpu")

    build("first").learn(1)
    build("second", use_dagger=False).load(str(tmp_path / "first" / "model_0.pt"))
    assert "use_dagger is off: the history of the earlier run is not used" in capsys.readouterr().out
