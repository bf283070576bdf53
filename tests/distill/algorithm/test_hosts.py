"""What is stored is what both policies saw, whatever the environment does to its tensors afterwards."""

from __future__ import annotations

import pytest
import torch
import yaml
from rsl_rl.algorithms import Distillation
from rsl_rl.runners import DistillationRunner
from torch.utils.tensorboard import SummaryWriter

from foundation.distill import DaggerRunner, PpoRunner
from foundation.distill.algorithm.label_range import LabelRange
from tests.distill.algorithm.test_losses import LATENT
from tests.distill.algorithm.test_teachers import TwoTeachersEnv
from tests.distill.algorithm.test_types import RUNNERS, train
from tests.support.hosts import HostEnv, ReusingEnv
from tests.support.runners import assert_equal, make, student, weights
from tests.support.toy import ToyEnv, ppo_cfg, runner_cfg, teacher_checkpoint

OPTIONS = {
    "two_stage": {"phase1_iterations": 1},
    "stock_update": {"use_dagger": False},
    "recurrent": {"student": student("gru"), "phase1_iterations": 1, "gradient_length": 5},
    "recurrent_stock_update": {"student": student("lstm"), "use_dagger": False, "gradient_length": 5},
    "plain_loop": {"use_fast_paths": False, "phase1_iterations": 1},
    "kl": {"loss_type": "kl", "phase1_iterations": 1},
    "latent_matching": {"latent_matching": LATENT, "phase1_iterations": 1},
    "mixed_steps": {"teacher_schedule": "constant", "teacher_fraction": 0.5, "teacher_mixing": "step"},
    "gate": {"use_two_stage_training": False, "disagreement_threshold": 0.3},
    "filter": {"episode_filter": "time_outs", "phase1_iterations": 1},
    "teacher_obs": {"store_teacher_obs": True, "phase1_iterations": 1},
    "several_teachers_obs": {"teachers": "obs", "phase1_iterations": 1},
    "several_teachers_extras": {"teachers": "extras", "phase1_iterations": 1},
}


class LoggingEnv(HostEnv):
    """Logs its mean place, as a tensor, in every step."""

    def step(self, actions):
        obs, rewards, dones, extras = super().step(actions)
        return obs, rewards, dones, extras | {"log": {"place": self.env.place.mean()}}


def trained(wrap, runner_class, tmp_path, monkeypatch, **options):
    """Train on an environment that ``wrap`` has wrapped; return the runner, and the logged scalars by name."""
    tmp_path.mkdir()
    scalars: dict[str, list[float]] = {}
    monkeypatch.setattr(
        SummaryWriter, "add_scalar", lambda _, name, value, *__, **___: scalars.setdefault(name, []).append(value)
    )
    teachers = options.pop("teachers", None)
    env = ToyEnv() if teachers is None else TwoTeachersEnv(teachers)
    if teachers is not None:
        options["teacher_checkpoint"] = [str(tmp_path / f"teacher{seed}.pt") for seed in (7, 8)]
        for seed, path in zip((7, 8), options["teacher_checkpoint"], strict=True):
            torch.save(teacher_checkpoint(seed), path)
    runner = make(wrap(LoggingEnv(env)), runner=runner_class, log_dir=tmp_path, **options)
    torch.manual_seed(1)
    runner.learn(3)
    timings = ("Perf/", "Train/mean_reward/time", "Train/mean_episode_length/time")
    # str: NaN equals NaN.
    return runner, {name: str(values) for name, values in scalars.items() if not name.startswith(timings)}


@pytest.mark.parametrize("runner_class", RUNNERS)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_host_that_overwrites_its_tensors_trains_the_same_student(options, runner_class, tmp_path, monkeypatch):
    fresh, logged = trained(lambda env: env, runner_class, tmp_path / "fresh", monkeypatch, **options)
    reused, logged_too = trained(ReusingEnv, runner_class, tmp_path / "reused", monkeypatch, **options)
    assert_equal(weights(fresh), weights(reused))
    assert logged == logged_too
    assert "Episode/place" in logged
    if fresh.alg.history is not None:
        assert len(fresh.alg.history) == len(reused.alg.history) > 0
        assert_equal(fresh.alg.history[:].to_dict(), reused.alg.history[:].to_dict())


def test_a_host_that_overwrites_its_tensors_trains_the_same_teacher(tmp_path):
    runs = []
    for wrap in (lambda env: env, ReusingEnv):
        torch.manual_seed(0)
        env = wrap(LoggingEnv(ToyEnv()))
        runs.append(PpoRunner(env, ppo_cfg(10, schedule="fixed"), str(tmp_path), "cpu"))
        runs[-1].learn(3)
    fresh, reused = (runner.alg.actor.state_dict() for runner in runs)
    assert_equal(dict(fresh), dict(reused))


def test_rsl_rls_own_distillation_is_trained_on_the_wrong_states_by_such_a_host():
    """Negative control: the wrapper does what makes the tests above fail without copies."""

    def trained_stock(wrap):
        torch.manual_seed(0)
        cfg = runner_cfg("Distillation", gradient_length=5)
        runner = DistillationRunner(wrap(ToyEnv()), cfg, None, "cpu")
        assert type(runner.alg) is Distillation
        runner.alg.teacher_loaded = True
        runner.learn(1)
        return runner

    fresh, reused = weights(trained_stock(lambda env: env)), weights(trained_stock(ReusingEnv))
    assert any(not torch.equal(fresh[name], reused[name]) for name in fresh)


class MoreGroupsEnv(HostEnv):
    """Adds observation groups."""

    def __init__(self, env, **groups) -> None:
        super().__init__(env)
        self.groups = groups

    def get_observations(self):
        return super().get_observations().update(self.groups)

    def step(self, actions):
        obs, *others = super().step(actions)
        return obs.update(self.groups), *others


class TestGroups:
    @pytest.mark.parametrize("use_dagger", [True, False])
    @pytest.mark.parametrize("value", [float("inf"), float("nan")])
    def test_values_that_nobody_reads_may_be_anything(self, value, use_dagger):
        unread = {"unread": torch.full((6, 2), value), "phase": torch.zeros(6, 1, dtype=torch.complex64)}
        got = train(MoreGroupsEnv(ToyEnv(), **unread), use_dagger=use_dagger)
        assert_equal(weights(got), weights(train(ToyEnv(), use_dagger=use_dagger)))

    @pytest.mark.parametrize("value", [float("inf"), float("nan")])
    def test_a_teacher_is_trained_beside_values_that_nobody_reads(self, value, tmp_path):
        actors = []
        for env in (ToyEnv(), MoreGroupsEnv(ToyEnv(), unread=torch.full((6, 2), value))):
            torch.manual_seed(0)
            runner = PpoRunner(env, ppo_cfg(10, schedule="fixed"), str(tmp_path), "cpu")
            runner.learn(2)
            actors.append(dict(runner.alg.actor.state_dict()))
        assert_equal(*actors)
        cfg = ppo_cfg(10)
        cfg["obs_groups"]["critic"] = ["teacher", "unread"]
        runner = PpoRunner(MoreGroupsEnv(ToyEnv(), unread=torch.full((6, 2), float("nan"))), cfg, None, "cpu")
        with pytest.raises(ValueError, match="NaN or infinity in observations/unread of environments"):
            runner.learn(1)

    @pytest.mark.parametrize("use_dagger", [True, False])
    @pytest.mark.parametrize("role", ["student", "teacher"])
    def test_values_that_are_read_must_be_finite(self, role, use_dagger):
        env = MoreGroupsEnv(ToyEnv(), extra=torch.full((6, 2), float("inf")))
        cfg = runner_cfg(use_dagger=use_dagger)
        cfg["obs_groups"][role].append("extra")
        runner = DaggerRunner(env, cfg, None, "cpu")
        runner.alg.teacher_loaded = True
        with pytest.raises(ValueError, match=r"NaN or infinity in .*observations/extra"):
            runner.learn(1)

    @pytest.mark.parametrize("kind", [None, "gru"])
    def test_a_group_without_columns_changes_nothing(self, kind):
        options = {} if kind is None else {"student": student(kind)}
        env = MoreGroupsEnv(ToyEnv(), empty=torch.zeros(6, 0))
        cfg = runner_cfg(phase1_iterations=1, max_buffer_size=10_000, **options)
        cfg["obs_groups"]["student"].append("empty")
        torch.manual_seed(0)
        runner = DaggerRunner(env, cfg, None, "cpu")
        runner.alg.teacher_loaded = True
        torch.manual_seed(1)
        runner.learn(3)
        assert_equal(weights(runner), weights(train(ToyEnv(), **options)))


class ColumnsEnv(HostEnv):
    """Returns rewards and done flags of shape (N, 1)."""

    def step(self, actions):
        obs, rewards, dones, extras = super().step(actions)
        return obs, rewards[:, None], dones[:, None].bool(), extras


class TestShapes:
    @pytest.mark.parametrize(
        "options", [OPTIONS[name] for name in ("two_stage", "recurrent", "plain_loop", "filter")]
    )
    def test_rewards_and_done_flags_may_be_columns(self, options, tmp_path):
        runs = []
        for name, env in (("rows", ToyEnv()), ("columns", ColumnsEnv(ToyEnv()))):
            runner = make(env, runner=DaggerRunner, log_dir=tmp_path / name, **options)
            torch.manual_seed(1)
            runner.learn(6)
            runs.append(runner)
        assert_equal(weights(runs[0]), weights(runs[1]))
        assert list(runs[0].logger.rewbuffer) == list(runs[1].logger.rewbuffer) != []

    def test_rsl_rls_own_runner_refuses_columns_where_its_logger_would_misread_them(self, tmp_path):
        make(ColumnsEnv(ToyEnv())).learn(1)
        with pytest.raises(ValueError, match=r"rewards \(6, 1\) and done flags \(6, 1\) must be of shape \(N,\)"):
            make(ColumnsEnv(ToyEnv()), log_dir=tmp_path).learn(1)

    @pytest.mark.parametrize("name", sorted(OPTIONS))
    def test_one_environment_is_enough(self, name, tmp_path):
        options = dict(OPTIONS[name])
        teachers = options.pop("teachers", None)
        if teachers is not None:
            pytest.skip("assigns two teachers to at least two environments")
        runner = make(ToyEnv(num_envs=1), runner=DaggerRunner, log_dir=tmp_path, **options)
        before = weights(runner)
        runner.learn(3)
        assert any(not torch.equal(before[key], value) for key, value in weights(runner).items())


def test_one_hot_teacher_ids_are_the_numbers_of_their_ones(tmp_path):
    paths = [str(tmp_path / f"teacher{seed}.pt") for seed in (7, 8)]
    for seed, path in zip((7, 8), paths, strict=True):
        torch.save(teacher_checkpoint(seed), path)

    class OneHotEnv(TwoTeachersEnv):
        def get_observations(self):
            obs = super().get_observations()
            return obs.set("teacher_id", torch.nn.functional.one_hot(self.ids, 2).float())

    numbers, one_hot = (train(env, teacher_checkpoint=paths) for env in (TwoTeachersEnv("obs"), OneHotEnv("obs")))
    assert_equal(weights(numbers), weights(one_hot))
    with pytest.raises(ValueError, match="one-hot teacher ids must have one non-zero entry per environment"):
        one_hot.alg.ensemble.assign(torch.ones(6, 2))


class ClippingEnv(HostEnv):
    """Applies actions from -0.1 to 0.1, and says so as hosts do."""

    clip_actions = 0.1

    def step(self, actions):
        return super().step(actions.clamp(-0.1, 0.1))


class TestLabelClip:
    @pytest.mark.parametrize(
        "options", [OPTIONS[name] for name in ("two_stage", "plain_loop", "stock_update", "kl")]
    )
    @pytest.mark.parametrize(("clip", "low", "high"), [(0.2, -0.2, 0.2), ((-0.1, 0.3), -0.1, 0.3)])
    def test_labels_are_the_teachers_actions_clipped(self, options, clip, low, high):
        env = ToyEnv()
        runner = make(env, runner=DaggerRunner, label_clip=clip, **options)
        labels, update = [], runner.alg.update

        def recorded():
            storage = runner.alg.storage
            with torch.no_grad():
                unclipped = runner.alg.teacher(storage.observations.flatten(0, 1))
            expected = unclipped.clamp(low, high)
            assert not torch.allclose(expected, unclipped)
            labels.append((storage.privileged_actions.flatten(0, 1).clone(), expected))
            return update()

        runner.alg.update = recorded
        runner.learn(2)
        for got, expected in labels:
            torch.testing.assert_close(got, expected)
        # The teacher's actions are applied as they are labelled.
        if runner.alg.schedule.phase1_iterations:
            torch.testing.assert_close(torch.stack(env.actions[:10]).flatten(0, 1), labels[0][0])

    def test_relabelling_clips_too(self, tmp_path):
        torch.save(teacher_checkpoint(8), tmp_path / "teacher.pt")
        runner = train(ToyEnv(), label_clip=0.1, store_teacher_obs=True)
        runner.alg.relabel(tmp_path / "teacher.pt")
        assert runner.alg.history[:]["teacher_actions"].abs().max().item() == pytest.approx(0.1)

    @pytest.mark.parametrize(("clip", "hints"), [(None, 1), (0.1, 0)])
    def test_labels_far_outside_the_range_that_is_applied_are_reported_once(self, clip, hints, caplog):
        train(ClippingEnv(ToyEnv()), label_clip=clip)
        assert caplog.text.count("lie far outside the range that the environment applies, [-0.1, 0.1]") == hints

    @pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1.0), (-2.0, 0.5)])
    def test_the_hint_names_the_clip_that_brings_labels_into_the_range(self, low, high, caplog):
        labels = torch.tensor([[-9.0, 9.0]])
        labels_range = LabelRange(None, "cpu")
        labels_range.set_applied((torch.tensor(low), torch.tensor(high)))
        labels_range.report(labels)
        clip = yaml.safe_load(caplog.text.split("label_clip=")[1].split(" clips")[0])
        assert LabelRange(clip, "cpu").clip_(labels).tolist() == [[low, high]]

    def test_labels_in_the_range_are_not_reported(self, caplog):
        env = ClippingEnv(ToyEnv())
        env.clip_actions = 5.0
        train(env)
        assert "far outside" not in caplog.text
