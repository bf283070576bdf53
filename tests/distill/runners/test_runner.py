"""Our runners: console lines, best model, exact resume, interruption."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.checkpoint import CheckpointError, load_checkpoint
from tests.support.toy import ToyEnv, ppo_cfg, runner_cfg, teacher_checkpoint


@pytest.fixture
def teacher(tmp_path) -> str:
    path = tmp_path / "teacher.pt"
    torch.save(teacher_checkpoint(), path)
    return str(path)


def make(log_dir: Path, teacher: str, env=None, seed=0, **algorithm) -> DaggerRunner:
    torch.manual_seed(seed)
    options = {
        "phase1_iterations": 2,
        "max_buffer_size": 150,
        "mini_batch_size": 16,
        "max_updates_per_iteration": 5,
    }
    cfg = runner_cfg(teacher_checkpoint=teacher, **(options | algorithm))
    return DaggerRunner(env or ToyEnv(), cfg, str(log_dir), "cpu")


def plain(text: str) -> str:
    """Strip terminal codes."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_each_iteration_prints_phase_and_history_under_its_header(tmp_path, teacher, capsys):
    make(tmp_path / "run", teacher).learn(5)
    out = plain(capsys.readouterr().out)
    blocks = out.split("#" * 80 + "\n")[1:]
    assert len(blocks) == 5
    for iteration, (phase, progress, size) in enumerate(
        [
            ("Phase 1 (teacher actions)", "0/2 (Phase 1)", 60),
            ("Phase 1 (teacher actions)", "1/2 (Phase 1)", 120),
            ("Phase 2 (student actions)", "0/3 (Phase 2)", 150),
            ("Phase 2 (student actions)", "1/3 (Phase 2)", 150),
            ("Phase 2 (student actions)", "2/3 (Phase 2)", 150),
        ]
    ):
        header, empty, *rest = blocks[iteration].split("\n")
        assert header.strip() == f"Learning iteration {iteration}/5"
        assert empty.strip() == ""
        assert rest[:4] == [
            f"Training Phase: {phase}",
            f"Phase Iteration: {progress}",
            "",
            f"[DAgger] Aggregated 60 transitions. Total buffer size: {size}/150",
        ]


def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one_bit_for_bit(tmp_path, teacher):
    whole = make(tmp_path / "whole", teacher)
    whole.learn(6)

    first = make(tmp_path / "first", teacher)
    first.learn(3)
    torch.rand(17)  # whatever happens between two processes
    second = make(tmp_path / "second", teacher, seed=99)
    second.load(str(tmp_path / "first" / "model_2.pt"))
    assert second.current_learning_iteration == 3
    second.learn(3)

    for name, value in whole.alg.student.state_dict().items():
        assert torch.equal(second.alg.student.state_dict()[name], value), name
    expected, got = whole.alg.history.state_dict(), second.alg.history.state_dict()
    for name, values in whole.alg.history[:].items():
        assert torch.equal(second.alg.history[:][name], values), name
    assert torch.equal(expected["sampler"]["waiting"], got["sampler"]["waiting"])
    assert {p.name for p in (tmp_path / "second").iterdir() if not p.name.startswith("events")} == {
        "best_model.manifest.json", "best_model.pt", "git", "model_5.manifest.json", "model_5.pt", "resume",
    }  # fmt: skip


def test_without_the_training_state_a_resumed_run_differs_and_says_so(tmp_path, teacher, capsys):
    whole = make(tmp_path / "whole", teacher)
    whole.learn(6)
    make(tmp_path / "first", teacher).learn(3)
    (tmp_path / "first" / "model_2.manifest.json").unlink()
    second = make(tmp_path / "second", teacher, seed=99)
    second.load(str(tmp_path / "first" / "model_2.pt"))
    assert "no training state belongs to model_2.pt" in capsys.readouterr().out
    second.learn(3)
    expected = whole.alg.student.state_dict()["mlp.0.weight"]
    assert not torch.equal(second.alg.student.state_dict()["mlp.0.weight"], expected)


def test_a_history_that_no_longer_fits_is_refused_on_resume(tmp_path, teacher):
    make(tmp_path / "first", teacher).learn(3)
    smaller = make(tmp_path / "second", teacher, max_buffer_size=100)
    with pytest.raises(CheckpointError, match="set max_buffer_size to at least 150"):
        smaller.load(str(tmp_path / "first" / "model_2.pt"))


def test_the_best_model_is_never_one_that_only_the_teachers_reward_speaks_for(tmp_path, teacher):
    runner = make(tmp_path / "run", teacher, phase1_iterations=4)
    saved_at = []

    def note(path):
        if path.name == "best_model.pt":
            saved_at.append(runner.last_completed_iteration)

    runner.after_save.append(note)
    runner.learn(12)
    # Episodes of 12 steps begun by the teacher end within two iterations of 10 steps.
    assert saved_at
    assert min(saved_at) >= 4 + 2


def test_the_best_model_has_the_largest_mean_reward(tmp_path, teacher):
    runner = make(tmp_path / "run", teacher, phase1_iterations=0, use_two_stage_training=False)
    means = {}
    original = runner._after_iteration

    def spy(it):
        if runner.logger.rewbuffer and len(runner.logger.rewbuffer) >= 6:
            means[it] = sum(runner.logger.rewbuffer) / len(runner.logger.rewbuffer)
        original(it)

    runner.logger._on_iteration = spy
    runner.learn(12)
    best = load_checkpoint(tmp_path / "run" / "best_model.pt")
    assert best["iter"] == max(means, key=means.get)


def test_a_run_that_ends_in_phase_1_still_leaves_a_best_model(tmp_path, teacher):
    make(tmp_path / "run", teacher, phase1_iterations=9).learn(2)
    best = load_checkpoint(tmp_path / "run" / "best_model.pt")
    last = load_checkpoint(tmp_path / "run" / "model_1.pt")
    assert torch.equal(best["student_state_dict"]["mlp.0.weight"], last["student_state_dict"]["mlp.0.weight"])


def test_an_interrupt_leaves_a_checkpoint_that_continues_after_the_last_whole_iteration(tmp_path, teacher):
    class Interrupting(ToyEnv):
        def step(self, actions):
            if len(self.actions) == 35:
                raise KeyboardInterrupt
            return super().step(actions)

    runner = make(tmp_path / "run", teacher, env=Interrupting())
    with pytest.raises(KeyboardInterrupt):
        runner.learn(9)
    assert runner.last_checkpoint == tmp_path / "run" / "model_2.pt"
    again = make(tmp_path / "again", teacher)
    again.load(str(runner.last_checkpoint))
    assert again.current_learning_iteration == 3
    again.learn(1)


def test_annealing_takes_ppos_learning_rate_linearly_to_zero(tmp_path):
    cfg = ppo_cfg(5, learning_rate=0.01, schedule="fixed") | {"anneal_from": 0.5}
    runner = PpoRunner(ToyEnv(), cfg, str(tmp_path / "run"), "cpu")
    rates = []
    original = runner._after_iteration
    runner.logger._on_iteration = lambda it: (
        original(it),
        rates.append(runner.alg.optimizer.param_groups[0]["lr"]),
    )
    runner.learn(8)
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.0075, 0.005, 0.0025, 0.0])
    assert (tmp_path / "run" / "best_model.pt").exists()


def test_rsl_rls_own_runner_loads_our_checkpoints(tmp_path, teacher):
    ours = make(tmp_path / "run", teacher)
    ours.learn(3)
    cfg = runner_cfg(class_name="Distillation")
    stock = DistillationRunner(ToyEnv(), cfg, None, "cpu")
    stock.load(str(tmp_path / "run" / "model_2.pt"))
    assert stock.current_learning_iteration == 2
    for name, value in ours.alg.student.state_dict().items():
        assert torch.equal(stock.alg.student.state_dict()[name], value), name
