"""Several teachers: each environment's labels come from its own."""

from __future__ import annotations

import pytest
import torch
from rsl_rl.runners import DistillationRunner

from foundation.distill.checkpoint import CheckpointError
from tests.support.runners import assert_equal, make, stock_runner
from tests.support.runners import student as rnn
from tests.support.toy import GAUSSIAN, MODEL, ToyEnv, runner_cfg, teacher_checkpoint


class TwoTeachersEnv(ToyEnv):
    """Tells each environment's teacher, which changes with every episode."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        self.max_episode_length = 5
        self.ids = torch.arange(self.num_envs) % 2

    def get_observations(self):
        obs = super().get_observations()
        if self.where == "obs":
            obs["teacher_id"] = self.ids[:, None].clone()
        return obs

    def step(self, actions):
        ending = self.episode_length_buf + 1 >= self.max_episode_length
        self.ids = torch.where(ending, 1 - self.ids, self.ids)
        obs, reward, dones, extras = super().step(actions)
        if self.where == "extras":
            extras["teacher_id"] = self.ids.clone()
        return obs, reward, dones, extras


@pytest.fixture
def checkpoints(tmp_path) -> list[str]:
    paths = []
    for seed in (7, 8):
        paths.append(str(tmp_path / f"teacher{seed}.pt"))
        torch.save(teacher_checkpoint(seed), paths[-1])
    return paths


def build(env, checkpoints, log_dir=None, **options) -> DistillationRunner:
    torch.manual_seed(0)
    cfg = runner_cfg(teacher_checkpoint=checkpoints, max_buffer_size=10_000, **options)
    return DistillationRunner(env, cfg, log_dir and str(log_dir), "cpu")


@pytest.mark.parametrize("where", ["obs", "extras"])
def test_every_label_is_that_of_the_teacher_assigned_in_the_step(checkpoints, where):
    env = TwoTeachersEnv(where)
    runner = build(env, checkpoints, store_teacher_obs=True, use_two_stage_training=False)
    ids = []
    original = runner.alg.process_env_step

    def spy(obs, rewards, dones, extras):
        ids.append(before[0].clone())
        before[0] = env.ids.clone()
        original(obs, rewards, dones, extras)

    before = [env.ids.clone()]
    runner.alg.process_env_step = spy
    runner.learn(3)
    rows = runner.alg.history[:]
    known = torch.cat(ids if where == "obs" else ids[1:])  # extras come with the first step's end
    assert torch.equal(rows["teacher_id"].long(), known)
    models = [stock_runner(seed=1).alg.teacher for _ in checkpoints]
    for model, path in zip(models, checkpoints, strict=True):
        model.load_state_dict(torch.load(path)["actor_state_dict"])
    with torch.no_grad():
        obs = rows.select("obs/teacher").rename_key_("obs/teacher", "teacher")
        labels = torch.stack([model.eval()(obs) for model in models])
    chosen = labels[known, torch.arange(len(known))]
    torch.testing.assert_close(rows["teacher_actions"], chosen)
    assert (labels[0] - labels[1]).abs().max() > 0.1


def test_each_teachers_mean_loss_is_returned_and_their_weighted_mean_is_the_whole(checkpoints):
    runner = build(TwoTeachersEnv("obs"), checkpoints, num_learning_epochs=1, mini_batch_size=10_000)
    from tests.support.runners import fill_rollout

    fill_rollout(runner)
    losses = runner.alg.update()
    ids = runner.alg.history[:]["teacher_id"]
    share = (ids == 1).double().mean().item()
    whole = (1 - share) * losses["behavior_teacher_0"] + share * losses["behavior_teacher_1"]
    assert whole == pytest.approx(losses["behavior"], rel=1e-5)
    assert losses["behavior_teacher_0"] != pytest.approx(losses["behavior_teacher_1"], rel=1e-2)


def test_recurrent_teachers_remember_what_happened_while_the_other_was_responsible(tmp_path):
    from rsl_rl.models import RNNModel

    obs = ToyEnv().get_observations()
    paths, models = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        options = {name: value for name, value in (MODEL | rnn("gru")).items() if name != "class_name"}
        model = RNNModel(
            obs, {"actor": ["teacher"]}, "actor", 2, **options, distribution_cfg=dict(GAUSSIAN)
        ).eval()
        models.append(model)
        paths.append(str(tmp_path / f"{seed}.pt"))
        torch.save({"actor_state_dict": model.state_dict()}, paths[-1])

    class Switching(TwoTeachersEnv):
        def step(self, actions):
            self.ids = 1 - self.ids  # every step, in the middle of episodes
            return ToyEnv.step(self, actions)

    env = Switching("obs")
    env.max_episode_length = 7
    runner = build(env, paths, teacher=rnn("gru"), store_teacher_obs=True, use_two_stage_training=False)
    runner.learn(2)
    rows = runner.alg.history[:]
    states = [None, None]
    for step in range(20):
        now = slice(6 * step, 6 * step + 6)
        x, labels = rows["obs/teacher"][now], []
        with torch.no_grad():
            for i, model in enumerate(models):
                out, states[i] = model.rnn.rnn(model.obs_normalizer(x)[None], states[i])
                states[i][:, rows["dones"][now]] = 0.0
                labels.append(model.mlp(out[0]))
        chosen = torch.stack(labels)[rows["teacher_id"][now].long(), torch.arange(6)]
        torch.testing.assert_close(rows["teacher_actions"][now], chosen, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("where", "options", "message"),
    [
        ("nowhere", {}, "2 teachers are configured, but neither observations nor extras .* hold 'teacher_id'"),
        (
            "obs",
            {"teacher_id": "student"},
            r"teacher ids must lie in \[0, 1\], one per entry of teacher_checkpoint",
        ),
    ],
)
def test_an_assignment_that_is_missing_or_names_no_teacher_is_refused(checkpoints, where, options, message):
    with pytest.raises(ValueError, match=message):
        build(TwoTeachersEnv(where), checkpoints, **options).learn(1)


def test_a_checkpoint_of_several_teachers_continues_only_with_as_many(checkpoints):
    env = TwoTeachersEnv("obs")
    saved = build(env, checkpoints).alg.save()
    with pytest.raises(
        CheckpointError, match="holds 2 teachers, the configuration one; set teacher_checkpoint to a"
    ):
        stock_runner().alg.load(saved, None, True)
    again = build(env, checkpoints)
    assert again.alg.load(saved, None, True)


class TestRelabelling:
    @pytest.mark.parametrize("recurrent", [False, True])
    def test_the_whole_history_has_the_other_teachers_labels(self, checkpoints, recurrent):
        runner = build(
            ToyEnv(), checkpoints[0], store_teacher_obs=True, gradient_length=4,
            student=rnn("gru") if recurrent else None,
        )  # fmt: skip
        runner.learn(3)
        before = runner.alg.history[:]
        runner.alg.relabel(checkpoints[1])
        after = runner.alg.history[:]
        model = stock_runner(seed=1).alg.teacher
        model.load_state_dict(torch.load(checkpoints[1])["actor_state_dict"])
        obs = before["obs/teacher"]
        with torch.no_grad():
            expected = model.eval().mlp(model.obs_normalizer(obs))
        torch.testing.assert_close(after["teacher_actions"], expected)
        assert not torch.allclose(before["teacher_actions"], expected)
        assert torch.equal(before["student_actions"], after["student_actions"])

    def test_without_the_teachers_observations_it_is_refused_and_the_teacher_stays(self, checkpoints):
        runner = build(ToyEnv(), checkpoints[0])
        weight = runner.alg.teacher.mlp[0].weight.clone()
        with pytest.raises(ValueError, match="set store_teacher_obs=True"):
            runner.alg.relabel(checkpoints[1])
        assert torch.equal(runner.alg.teacher.mlp[0].weight, weight)


def test_teachers_with_and_without_a_standard_deviation_may_be_mixed_where_the_loss_needs_none(checkpoints):
    state = torch.load(checkpoints[1])
    del state["actor_state_dict"]["distribution.std_param"]
    torch.save(state, checkpoints[1])
    runner = build(TwoTeachersEnv("obs"), checkpoints)
    runner.learn(1)
    again = build(TwoTeachersEnv("obs"), checkpoints)
    assert again.alg.load(runner.alg.save(), None, True)
    assert [model.distribution is None for model in again.alg.teachers] == [False, True]
    with pytest.raises(ValueError, match="loss_type=kl needs a Gaussian teacher, and this one has no standard"):
        build(TwoTeachersEnv("obs"), checkpoints, loss_type="kl")


@pytest.mark.parametrize("several", [False, True])
def test_a_teacher_in_the_users_home_is_found(several, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(teacher_checkpoint(7), tmp_path / "teacher.pt")
    files = ["~/teacher.pt"] * 2 if several else "~/teacher.pt"
    alg = make(TwoTeachersEnv("obs") if several else None, teacher_checkpoint=files).alg
    for teacher in alg.teachers:
        assert_equal(dict(teacher.state_dict()), dict(teacher_checkpoint(7)["actor_state_dict"]))


def test_a_folder_is_no_teacher(tmp_path):
    with pytest.raises(
        CheckpointError, match=f"teacher_checkpoint {tmp_path} is a folder; name a checkpoint in it"
    ):
        make(teacher_checkpoint=str(tmp_path))


def test_a_pointer_of_git_lfs_is_no_teacher(tmp_path):
    (tmp_path / "teacher.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    with pytest.raises(CheckpointError, match="a pointer of Git LFS instead of the file itself; run git lfs pull"):
        make(teacher_checkpoint=str(tmp_path / "teacher.pt"))
