"""The algorithm under rsl_rl's own runner, against rsl_rl's own algorithm and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from rsl_rl.runners import DistillationRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from foundation.distill.checkpoint import CheckpointError
from foundation.distill.history import capacity
from tests.support.runners import assert_equal, fill_rollout, learn, stock_runner, weights
from tests.support.toy import ToyEnv, runner_cfg, teacher_checkpoint

BOTH_OFF = {"use_dagger": False, "use_two_stage_training": False}


class TestFourModes:
    @pytest.mark.parametrize("loss_type", ["mse", "huber"])
    def test_with_both_switches_off_the_weights_are_those_of_rsl_rl_bit_for_bit(self, tmp_path, loss_type):
        options = {
            "num_learning_epochs": 2,
            "gradient_length": 5,
            "learning_rate": 1e-3,
            "max_grad_norm": 1.0,
        }
        options["loss_type"] = loss_type
        ours = learn(stock_runner(tmp_path / "ours", **options, **BOTH_OFF), tmp_path, 5)
        stock = learn(stock_runner(tmp_path / "stock", class_name="Distillation", **options), tmp_path, 5)
        assert_equal(weights(ours), weights(stock))

    def test_with_dagger_the_weights_differ_from_those_of_rsl_rl(self, tmp_path):
        options = {"num_learning_epochs": 2, "gradient_length": 5}
        ours = learn(stock_runner(tmp_path / "ours", **options, max_buffer_size=1000), tmp_path, 5)
        stock = learn(stock_runner(tmp_path / "stock", class_name="Distillation", **options), tmp_path, 5)
        assert not torch.equal(weights(ours)["mlp.0.weight"], weights(stock)["mlp.0.weight"])

    @pytest.mark.parametrize("use_dagger", [True, False])
    @pytest.mark.parametrize("use_two_stage", [True, False])
    def test_the_teacher_drives_exactly_the_first_phase(self, tmp_path, use_dagger, use_two_stage):
        env = ToyEnv()
        runner = stock_runner(
            tmp_path,
            env=env,
            use_dagger=use_dagger,
            use_two_stage_training=use_two_stage,
            phase1_iterations=2,
            max_buffer_size=10_000,
        )
        teacher_actions = []
        original = runner.alg.process_env_step

        def spy(*args):
            teacher_actions.append(runner.alg.transition.privileged_actions.clone())
            original(*args)

        runner.alg.process_env_step = spy
        runner.learn(4)
        drives = [torch.equal(a, b) for a, b in zip(env.actions, teacher_actions, strict=True)]
        assert drives == [use_two_stage] * 20 + [False] * 20


class TestAggregation:
    def test_every_transition_of_every_rollout_is_stored_with_both_actions_and_its_phase(self, tmp_path):
        env = ToyEnv()
        runner = stock_runner(tmp_path, env=env, phase1_iterations=2, max_buffer_size=10_000)
        seen = []
        original = runner.alg.process_env_step

        def spy(obs, rewards, dones, extras):
            t = runner.alg.transition
            seen.append(
                (
                    t.observations["student"].clone(),
                    t.privileged_actions.clone(),
                    t.actions.clone(),
                    dones.clone(),
                )
            )
            original(obs, rewards, dones, extras)

        runner.alg.process_env_step = spy
        runner.learn(3)
        stored = runner.alg.history[:]
        obs, teacher, student, dones = (torch.cat(column) for column in zip(*seen, strict=True))
        assert torch.equal(stored["obs/student"], obs)
        assert torch.equal(stored["teacher_actions"], teacher)
        assert torch.equal(stored["student_actions"], student)
        assert torch.equal(stored["dones"], dones.bool())
        assert stored["phase"].tolist() == [1] * 120 + [2] * 60
        assert not torch.equal(teacher, student)

    def test_the_normaliser_has_the_statistics_of_the_whole_history(self, tmp_path):
        runner = learn(stock_runner(tmp_path, phase1_iterations=1, max_buffer_size=10_000), tmp_path, 4)
        data = runner.alg.history[:]["obs/student"].double()
        normaliser = runner.alg.student.obs_normalizer
        np.testing.assert_allclose(normaliser.mean, data.mean(0), atol=1e-5)
        np.testing.assert_allclose(normaliser.std, data.std(0, unbiased=False), atol=1e-5)
        newest = data[-60:]
        assert (newest.mean(0) - data.mean(0)).abs().max() > 1e-2  # the newest rollout alone would fail

    def test_the_update_equals_a_plain_loop_over_the_same_mini_batches(self, tmp_path):
        options = {
            "num_learning_epochs": 3,
            "num_mini_batches": 4,
            "max_grad_norm": 0.5,
            "learning_rate": 0.01,
        }
        runner = stock_runner(tmp_path, max_buffer_size=10_000, **options)
        runner.learn(1)
        alg = runner.alg
        alg.train_mode()
        history = alg.history
        before = weights(runner)
        torch.manual_seed(5)
        reference = nn.Sequential(nn.Linear(3, 8), nn.ELU(), nn.Linear(8, 2))
        reference.load_state_dict({k[4:]: v for k, v in before.items() if k.startswith("mlp.")})
        optimizer = torch.optim.Adam(reference.parameters(), lr=0.01)
        moments = alg.optimizer.state_dict()["state"]
        order = [name for name, _ in alg.student.named_parameters()]
        for parameter, index in zip(
            reference.parameters(),
            [order.index(f"mlp.{n}") for n, _ in reference.named_parameters()],
            strict=True,
        ):
            optimizer.state[parameter] = {k: v.clone() for k, v in moments[index].items()}

        fill_rollout(runner)
        newest = alg.storage.observations["student"].flatten(0, 1).clone()
        drawn, draw = [], history.sampler.draw

        def spy(*args):
            for slots in draw(*args):
                drawn.append(slots)
                yield slots

        history.sampler.draw = spy
        alg.update()
        data = torch.cat([history[:]["obs/student"]])
        labels = history[:]["teacher_actions"]
        assert torch.equal(data[-60:], newest)
        mean, std = alg.student.obs_normalizer.mean, alg.student.obs_normalizer.std
        losses = []
        for epoch in range(3):
            mini_batches = drawn[4 * epoch : 4 * epoch + 4]
            assert torch.equal(torch.cat(mini_batches).sort().values, torch.arange(120))
            for index in mini_batches:
                prediction = reference((data[index] - mean) / (std + alg.student.obs_normalizer.eps))
                loss = nn.functional.mse_loss(prediction, labels[index])
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
                optimizer.step()
                losses.append(loss.item())
        for name, value in reference.state_dict().items():
            torch.testing.assert_close(alg.student.state_dict()[f"mlp.{name}"], value, atol=1e-6, rtol=1e-5)
        assert len(losses) == 12

    def test_a_budget_bounds_the_gradient_steps_of_an_iteration(self, tmp_path):
        def steps(budget):
            runner = stock_runner(
                tmp_path, max_buffer_size=10_000, mini_batch_size=10, num_learning_epochs=2,
                max_updates_per_iteration=budget,
            )  # fmt: skip
            runner.learn(3)
            return int(runner.alg.optimizer.state_dict()["state"][1]["step"])

        assert steps(None) == 2 * (6 + 12 + 18)
        assert steps(15) == 12 + 15 + 15

    def test_a_teacher_driven_student_learns_the_teacher(self, tmp_path):
        runner = stock_runner(
            tmp_path, phase1_iterations=20, max_buffer_size=10_000, num_learning_epochs=20, learning_rate=1e-2
        )
        fill_rollout(runner)
        first = runner.alg.update()["behavior"]
        runner.learn(20)
        runner.alg.eval_mode()
        with torch.inference_mode():
            obs = ToyEnv(200, seed=3).get_observations()
            error = (runner.alg.student(obs) - runner.alg.teacher(obs)).square().mean().item()
        assert error < 0.02 * first


class TestConsoleAndMetrics:
    def test_the_buffer_and_the_switch_are_announced_once_in_the_documented_words(self, tmp_path, capsys):
        runner = stock_runner(tmp_path, phase1_iterations=2, max_buffer_size=1_000_000)
        out = capsys.readouterr().out
        assert "[DAgger] Initialized aggregated buffer with capacity: 100000 transitions\n" in out
        assert "[DAgger] Maximum buffer size: 1000000 transitions\n" in out
        runner.learn(4)
        out = capsys.readouterr().out
        rule = "=" * 80 + "\n"
        banner = (
            f"{rule}{rule}  SWITCHING TO PHASE 2: Now using STUDENT actions to update environment\n"
            f"  Iteration: 2\n{rule}{rule}"
        )
        assert out.count(banner) == 1
        assert out.count("SWITCHING") == 1
        position = out.index(banner)
        assert "Learning iteration 1/4" in out[:position]
        assert "Learning iteration 2/4" in out[position:]

    def test_the_metrics_reach_tensorboard_under_rsl_rls_own_runner(self, tmp_path):
        runner = stock_runner(tmp_path, phase1_iterations=2, max_buffer_size=150)
        runner.learn(4)
        runner.logger.writer.flush()
        events = EventAccumulator(str(tmp_path))
        events.Reload()

        def series(tag):
            return [event.value for event in events.Scalars(tag)]

        assert series("Distillation/training_phase") == [1, 1, 2, 2]
        assert series("Distillation/buffer_size") == [60, 120, 150, 150]
        assert series("Distillation/buffer_capacity") == [150] * 4
        assert len(series("Loss/behavior")) == 4
        assert len(series("Train/mean_reward")) == 3  # the first episode ends in the second rollout

    def test_the_logged_size_is_the_size_after_the_iteration(self, tmp_path):
        runner = stock_runner(tmp_path, max_buffer_size=150)
        for expected in (60, 120, 150):
            extras = {}
            runner.alg.log_metrics(extras)
            logged = extras["log"]
            fill_rollout(runner)
            runner.alg.update()
            assert logged["Distillation/buffer_size"] == expected == len(runner.alg.history)


class TestBadInput:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"use_dager": True}, TypeError, "unknown option 'use_dager'; did you mean 'use_dagger'?"),
            ({"use_dagger": "false"}, TypeError, "use_dagger must be True or False, got 'false'"),
            ({"phase1_iterations": "x"}, TypeError, "phase1_iterations must be a whole number.*, got 'x'"),
            ({"foo": 1}, TypeError, "unknown option 'foo'$"),
            ({"num_mini_batches": 2, "mini_batch_size": 5}, ValueError, "exclude each other"),
            ({"num_learning_epochs": 0}, ValueError, "num_learning_epochs must be at least 1, got 0"),
            (
                {"max_updates_per_iteration": 0},
                ValueError,
                "max_updates_per_iteration must be at least 1, got 0",
            ),
            (
                {"max_buffer_size": 59},
                ValueError,
                r"at least one rollout \(60 = num_envs \* num_steps_per_env\), got 59",
            ),
            ({"phase1_iterations": -1}, ValueError, "phase1_iterations must be at least 0, got -1"),
            ({"loss_type": "l7"}, ValueError, "l7"),
            (
                {"use_dagger": False, "gradient_length": 11, "num_learning_epochs": 1},
                ValueError,
                r"gradient_length must be at most .* \(10\), or no gradient step is ever made; got 11",
            ),
        ],
    )
    def test_an_option_that_cannot_work_is_refused_by_name(self, options, error, message):
        with pytest.raises(error, match=message):
            stock_runner(**options)

    def test_a_history_larger_than_memory_is_refused_with_the_size_that_fits(self, monkeypatch):
        monkeypatch.setattr(capacity, "available_bytes", lambda device: 1_000_000)
        with pytest.raises(
            ValueError,
            match=r"max_buffer_size=1000000 needs .* MB free; set max_buffer_size to at most (\d+)",
        ) as caught:
            stock_runner()
        largest = int(str(caught.value).split("at most ")[1].split(",")[0])
        stock_runner(max_buffer_size=largest)
        with pytest.raises(ValueError, match="needs"):
            stock_runner(max_buffer_size=math.ceil(1.01 * largest))

    def test_dagger_settings_without_dagger_are_reported(self, capsys):
        stock_runner(**BOTH_OFF, mini_batch_size=5)
        assert "use_dagger is off: num_mini_batches, mini_batch_size" in capsys.readouterr().out


class TestTeacherCheckpoint:
    def test_the_option_loads_the_teacher_without_the_runners_help(self, tmp_path):
        path = tmp_path / "teacher.pt"
        torch.save(teacher_checkpoint(), path)
        runner = DistillationRunner(ToyEnv(), runner_cfg(teacher_checkpoint=str(path)), None, "cpu")
        assert_equal(runner.alg.teacher.state_dict(), teacher_checkpoint()["actor_state_dict"])
        runner.learn(1)

    def test_a_teacher_of_another_size_is_refused_with_both_sizes(self, tmp_path):
        path = tmp_path / "teacher.pt"
        torch.save(teacher_checkpoint(), path)
        cfg = runner_cfg(teacher_checkpoint=str(path))
        cfg["teacher"]["hidden_dims"] = [9]
        with pytest.raises(
            CheckpointError,
            match=r"hidden_dims\[0\] is 8 in the file and 9 in the model; set hidden_dims=\[8\]",
        ):
            DistillationRunner(ToyEnv(), cfg, None, "cpu")

    def test_play_scripts_that_load_the_actor_get_the_student(self, tmp_path):
        trained = learn(stock_runner(tmp_path / "a"), tmp_path, 1)
        other = stock_runner(seed=99)
        other.alg.load(trained.alg.save(), {"actor": True}, True)
        assert_equal(weights(other), weights(trained))
