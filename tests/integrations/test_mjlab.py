"""mjlab's published package as a host: command line, player and runners, on the CPU; run by `make test-mjlab`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tensordict import TensorDict

pytest.importorskip("mjlab", reason="mjlab is not installed: make test-mjlab")
onnxruntime = pytest.importorskip("onnxruntime")

import onnx  # noqa: E402
from mjlab.envs import ManagerBasedRlEnv  # noqa: E402
from mjlab.rl import MjlabOnPolicyRunner, RslRlModelCfg, RslRlVecEnvWrapper  # noqa: E402
from mjlab.scripts import play  # noqa: E402
from mjlab.tasks.registry import load_env_cfg, load_rl_cfg, load_runner_cls  # noqa: E402
from rsl_rl.runners import DistillationRunner  # noqa: E402

from foundation.distill import DaggerDistillation  # noqa: E402
from foundation.distill import RslRlModelCfg as OurModelCfg  # noqa: E402
from foundation.integrations.mjlab import distillation_runner, register_distillation  # noqa: E402
from tests.support.toy import ToyEnv, runner_cfg  # noqa: E402

ROOT = Path(__file__).parents[2]
TEACHER = Path(__file__).parent / "assets" / "mjlab_cartpole_teacher.pt"
SWINGUP, GO1 = "Mjlab-Cartpole-Swingup", "Mjlab-Velocity-Flat-Unitree-Go1"
VELOCITIES = ("cart_vel", "pole_vel")
pytestmark = pytest.mark.timeout(600)

register_distillation(
    "Student", teacher_task=SWINGUP, student="gru", hidden_terms=VELOCITIES, teacher_checkpoint=str(TEACHER)
)
register_distillation("Walker", teacher_task=GO1, num_steps_per_env=4)


def make_env(task: str, num_envs: int, episode_s: float | None = None) -> RslRlVecEnvWrapper:
    cfg = load_env_cfg(task)
    cfg.scene.num_envs, cfg.seed = num_envs, 0
    if episode_s is not None:
        cfg.episode_length_s = episode_s
    return RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, device="cpu"))


def make_runner(task: str, env: RslRlVecEnvWrapper, log_dir: Path | None = None, **cfg):
    settings = asdict(load_rl_cfg(task)) | {"logger": "tensorboard", "save_interval": 1} | cfg
    torch.manual_seed(0)
    return load_runner_cls(task)(env, settings, log_dir and str(log_dir), "cpu")


@pytest.fixture(scope="module")
def cartpoles():
    env = make_env("Student", 4, episode_s=1.0)
    yield env
    env.close()


@pytest.fixture(scope="module")
def run(cartpoles, tmp_path_factory) -> Path:
    """Folder of a run of three iterations."""
    folder = tmp_path_factory.mktemp("run")
    make_runner("Student", cartpoles, folder).learn(3)
    return folder


# The command line.

PLUG_IN = """
from foundation.integrations.mjlab import register_distillation

hidden = ("cart_vel", "pole_vel")
register_distillation("Mine", teacher_task="Mjlab-Cartpole-Swingup", student="gru", hidden_terms=hidden)
"""
"""A module of a user's package, named by an entry point."""


def command(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    package = folder / "package"
    info = package / "mine-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (package / "mine.py").write_text(PLUG_IN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[mjlab.tasks]\nmine = mine\n")
    path = os.pathsep.join([str(package), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", f"mjlab.scripts.{script}", *words],
        cwd=folder, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=500,
    )  # fmt: skip


def test_a_registered_task_trains_by_mjlabs_own_command_with_our_options_as_flags(tmp_path):
    words = "Mine --gpu-ids None --env.scene.num-envs 8 --agent.logger tensorboard --agent.max-iterations 3"
    words += " --agent.algorithm.phase1-iterations 1 --agent.algorithm.max-buffer-size 5000 --agent.keep-last 1"
    done = command(tmp_path, "train", *words.split(), "--agent.algorithm.teacher-checkpoint", str(TEACHER))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[DAgger] Aggregated 256 transitions. Total buffer size: 512/" in done.stdout
    assert "Training Phase: Phase 2 (student actions)" in done.stdout
    (folder,) = (tmp_path / "logs/rsl_rl/cartpole_distillation").iterdir()
    assert "max_buffer_size: 5000\n" in (folder / "params" / "agent.yaml").read_text()
    assert len(list((folder / "resume").glob("state_*.pt"))) == 1
    saved = torch.load(folder / "model_2.pt", weights_only=True)
    inputs = saved["student_state_dict"]["rnn.rnn.weight_ih_l0"].shape[1]
    assert (inputs, saved["teacher_state_dict"]["mlp.0.weight"].shape[1]) == (3, 5)


def test_a_misspelt_flag_ends_mjlabs_command_before_any_work(tmp_path):
    done = command(tmp_path, "train", "Mine", "--gpu-ids", "None", "--agent.algorithm.phase1-iteration", "3")
    assert done.returncode != 0
    assert not (tmp_path / "logs").exists()


# Its player.


class Watched:
    """Stands for mjlab's viewer: steps as that does, and keeps what the policy saw and did."""

    seen: list

    def __init__(self, env, policy, **_) -> None:
        self.env, self.policy = env, policy

    def run(self) -> None:
        type(self).seen = []
        for step in range(30):
            with torch.no_grad():
                obs = self.env.get_observations()
                begun = self.env.episode_length_buf.clone() == 0
                actions = self.policy(obs)
                type(self).seen.append((obs["student"].clone(), begun, actions.clone()))
                self.env.step(actions)
            if step == 20:  # as its reset button does
                self.env.reset()
                self.policy.reset()


def test_mjlabs_player_flies_the_student_with_a_memory_of_its_episode_alone(run, monkeypatch):
    monkeypatch.setattr(play, "ViserPlayViewer", Watched)
    cfg = play.PlayConfig(checkpoint_file=str(run / "model_2.pt"), num_envs=3, device="cpu", viewer="viser")
    play.run_play("Student", cfg)
    saved = torch.load(run / "model_2.pt", weights_only=True)["student_state_dict"]
    alg = make_runner("Student", make_env("Student", 3)).alg
    alg.student.load_state_dict(saved)
    alg.eval_mode()
    starts = [step for step, (_, begun, _) in enumerate(Watched.seen) if begun.all()]
    assert starts == [0, 21]
    for first, end in zip(starts, [*starts[1:], len(Watched.seen)], strict=True):
        alg.student.reset()
        for obs, _, actions in Watched.seen[first:end]:
            with torch.no_grad():
                expected = alg.student(_as_obs(obs))
            torch.testing.assert_close(actions, expected, rtol=0, atol=0)


def _as_obs(student: torch.Tensor) -> TensorDict:
    return TensorDict({"student": student}, batch_size=[len(student)])


def test_where_one_of_several_episodes_ends_its_memory_alone_is_cleared(run, cartpoles):
    runner = make_runner("Student", cartpoles)
    runner.load(str(run / "model_2.pt"), load_cfg={"actor": True}, strict=True, map_location="cpu")
    policy, student = runner.get_inference_policy("cpu"), runner.alg.student
    cartpoles.reset()
    with torch.no_grad():
        for _ in range(3):
            cartpoles.step(policy(cartpoles.get_observations()))
        before = student.get_hidden_state().clone()
        cartpoles.episode_length_buf = torch.tensor([3, 0, 3, 3])
        obs = cartpoles.get_observations()
        policy(obs)
        after = student.get_hidden_state().clone()
        student.reset()
        policy(obs)
    assert before.abs().sum() > 0.0
    torch.testing.assert_close(after[:, 1], student.get_hidden_state()[:, 1])
    assert not torch.allclose(after[:, 0], student.get_hidden_state()[:, 0])


# Its runners.


def test_the_step_counter_of_the_environment_continues_and_lies_where_mjlabs_runner_looks(run, cartpoles):
    saved = torch.load(run / "model_2.pt", weights_only=True)
    counter = saved["infos"]["env_state"]["common_step_counter"]
    assert counter >= 96
    cartpoles.unwrapped.common_step_counter = 0
    make_runner("Student", cartpoles).load(str(run / "model_2.pt"))
    assert cartpoles.unwrapped.common_step_counter == counter


def test_the_onnx_file_of_mjlabs_export_gives_the_students_actions(run, cartpoles, tmp_path):
    runner = make_runner("Student", cartpoles)
    runner.load(str(run / "model_2.pt"))
    runner.export_policy_to_onnx(str(tmp_path), "student.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "student.onnx"))
    names = [one.name for one in session.get_inputs()]
    hidden = torch.zeros(1, 1, 64).numpy()
    runner.alg.eval_mode()
    runner.alg.student.reset()
    for step in range(5):
        obs = torch.randn(1, 3, generator=torch.Generator().manual_seed(step))
        actions, hidden = session.run(None, dict(zip(names, (obs.numpy(), hidden), strict=True)))
        with torch.no_grad():
            expected = runner.alg.student(_as_obs(obs))
        torch.testing.assert_close(torch.from_numpy(actions), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("uploads", [True, False])
def test_checkpoints_go_to_the_logging_service_only_if_mjlab_says_so(uploads, cartpoles, tmp_path, monkeypatch):
    runner, sent = make_runner("Student", cartpoles, tmp_path, upload_model=uploads), []
    monkeypatch.setattr(runner.logger, "save_model", lambda path, it: sent.append(Path(path).name))
    runner.learn(1)
    assert ("model_0.pt" in sent) == uploads


def test_a_walking_robot_trains_and_its_runner_writes_onnx_after_each_save(tmp_path):
    env = make_env("Walker", 4)
    runner = make_runner("Walker", env, tmp_path / "run")
    assert isinstance(runner.alg, DaggerDistillation)
    runner.alg.teacher_loaded = True
    runner.learn(2)
    policy = tmp_path / "run" / "run.onnx"
    assert {entry.key for entry in onnx.load(policy).metadata_props} >= {"joint_names"}
    assert (tmp_path / "run" / "model_1.pt").is_file()
    env.close()


def test_what_a_host_does_after_a_save_does_not_change_the_training(cartpoles, tmp_path):
    class Drawing(MjlabOnPolicyRunner):
        def save(self, path, infos=None):
            super().save(path, infos)
            torch.rand(3)
            self.alg.get_policy().eval()

    finals = []
    for base in (MjlabOnPolicyRunner, Drawing):
        cartpoles.seed(0)
        cartpoles.reset()
        torch.manual_seed(0)
        cfg = asdict(load_rl_cfg("Student")) | {"logger": "tensorboard", "save_interval": 1}
        runner = distillation_runner(base)(cartpoles, cfg, str(tmp_path / base.__name__), "cpu")
        torch.manual_seed(1)
        runner.learn(3)
        finals.append(runner.alg.get_policy().state_dict())
        assert (tmp_path / base.__name__ / "model_2.pt").is_file()
    assert all(torch.equal(value, finals[1][key]) for key, value in finals[0].items())


# What is refused.


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"teacher_task": "Mjlab-Cartpole-Swing"}, "did you mean 'Mjlab-Cartpole-Swingup'"),
        ({"student": "transformer"}, "student must be mlp, gru, lstm or a configuration, got 'transformer'"),
        ({"hidden_terms": ("pole_velocity",)}, "hidden_terms has no term of actor, 'pole_velocity'; did you mean"),
        ({"hidden_terms": (*VELOCITIES, "cart_pos", "pole_angle")}, "hidden_terms leave the student nothing"),
        ({"student_groups": ("actors",)}, "student_groups has no group of .*did you mean 'actor'"),
        ({"hidden_terms": VELOCITIES, "student_groups": ("actor",)}, "give hidden_terms or student_groups"),
        ({"phase1_iteration": 3}, "no option 'phase1_iteration'; did you mean 'phase1_iterations'"),
        ({"teacher_fraction": 0.5}, "teacher_fraction"),
        ({"class_name": "a:B"}, "no option 'class_name'"),
        ({"obs_groups": {}}, "no option 'obs_groups'"),
        ({"teacher_task": "Student"}, "trains no actor; name the task that trained the teacher"),
    ],
)  # fmt: skip
def test_a_registration_that_cannot_work_is_one_clear_error(wrong, message):
    with pytest.raises(ValueError, match=message):
        register_distillation("Wrong", **({"teacher_task": SWINGUP} | wrong))


def test_a_network_of_mjlabs_own_configuration_is_taken_as_it_is():
    network = RslRlModelCfg(hidden_dims=(32,), class_name="RNNModel", rnn_type="lstm", rnn_hidden_dim=8)
    register_distillation("Own network", teacher_task=SWINGUP, student=network)
    student = load_rl_cfg("Own network").student
    assert (student.hidden_dims, student.rnn_type, student.rnn_hidden_dim) == ([32], "lstm", 8)
    ours = OurModelCfg(class_name="RNNModel", rnn_hidden_dim=16)
    register_distillation("Our network", teacher_task=SWINGUP, student=ours)
    assert load_rl_cfg("Our network").student == ours


def test_a_registered_task_learns_at_the_rates_of_the_class_alone_unless_told_otherwise(cartpoles):
    register_distillation("Slower", teacher_task=SWINGUP, learning_rate=1e-4)
    hosted = make_runner("Student", cartpoles).alg.learning_rates
    cfg = runner_cfg()
    del cfg["algorithm"]["learning_rate"]
    alone = DistillationRunner(ToyEnv(), cfg, None, "cpu").alg.learning_rates
    assert [hosted.at(it) for it in (0, 5, 50)] == [alone.at(it) for it in (0, 5, 50)]
    slower = make_runner("Slower", cartpoles).alg.learning_rates
    assert [slower.at(it) for it in (0, 50)] == [1e-4, 1e-4]
