"""Isaac Lab's published package as a host, on the CPU and without Isaac Sim; run by `make test-isaaclab`.

Its command line trains and plays its own task Isaac-Cartpole on its Newton backend. NVIDIA's server of assets is
not asked: the robot is the copy of its cart-pole in Newton's package, and there is no ground plane, which nothing
touches.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("isaaclab", reason="Isaac Lab is not installed: make test-isaaclab")
onnxruntime = pytest.importorskip("onnxruntime")

import gymnasium  # noqa: E402
import newton  # noqa: E402
from isaaclab.utils import configclass  # noqa: E402
from isaaclab_rl.entrypoints import PlaybackRequest, TrainingRequest, play, train  # noqa: E402
from isaaclab_rl.entrypoints.backends import cli_args_rsl_rl, play_rsl_rl, train_rsl_rl  # noqa: E402
from isaaclab_rl.rsl_rl import (  # noqa: E402
    RslRlDistillationAlgorithmCfg,
    RslRlDistillationRunnerCfg,
    RslRlMLPModelCfg,
    RslRlOnPolicyRunnerCfg,
    RslRlPpoActorCriticRecurrentCfg,
    RslRlPpoAlgorithmCfg,
    RslRlRNNModelCfg,
    RslRlVecEnvWrapper,
    check_rsl_rl_version,
    create_rsl_rl_runner,
    handle_deprecated_rsl_rl_cfg,
)
from isaaclab_tasks.utils import resolve_task_config  # noqa: E402
from rsl_rl.models import RNNModel  # noqa: E402
from rsl_rl.runners import DistillationRunner  # noqa: E402
from tensordict import TensorDict  # noqa: E402

from foundation.distill import DaggerOptions, RslRlModelCfg  # noqa: E402
from foundation.integrations.isaaclab import DaggerCfg, DistillationCfg, register_distillation  # noqa: E402
from tests.support.toy import RNN, ToyEnv, runner_cfg, teacher_checkpoint  # noqa: E402

ROOT = Path(__file__).parents[2]
CARTPOLE, AGENT = "Isaac-Cartpole", "rsl_rl_cfg_entry_point"
HIDDEN = ("joint_vel_rel",)
NAMES = (f"Student{number}" for number in itertools.count())
"""Names of tasks that are registered once."""
ASSET = Path(newton.__file__).parent / "examples" / "assets" / "cartpole_single_pendulum.usda"
pytestmark = pytest.mark.timeout(600)

register_distillation("Student", teacher_task=CARTPOLE, student="gru", hidden_terms=HIDDEN, max_iterations=3)


# Its algorithm and runner, on an environment of our own.

NOISE = RslRlMLPModelCfg.GaussianDistributionCfg(init_std=0.1)
LAYERS = {"hidden_dims": [8], "activation": "elu", "obs_normalization": True, "distribution_cfg": NOISE}


@configclass
class ToyCfg(DistillationCfg):
    """What `tests.support.toy.runner_cfg` says, as a user of Isaac Lab writes it."""

    num_steps_per_env = 10
    save_interval = 100
    device = "cpu"
    obs_groups = {"student": ["student"], "teacher": ["teacher"]}  # noqa: RUF012
    student = RslRlMLPModelCfg(**LAYERS)
    teacher = RslRlMLPModelCfg(**LAYERS)
    algorithm = DaggerCfg(
        num_learning_epochs=4, phase1_iterations=2, learning_rate=1e-3, learning_rate_schedule="constant"
    )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("toy") / "teacher.pt"
    torch.save(teacher_checkpoint(), path)
    return str(path)


def hosted(cfg: DistillationCfg, env: ToyEnv | None = None, log_dir: Path | None = None) -> DistillationRunner:
    """Return the runner that Isaac Lab's scripts make of a configuration."""
    cfg = handle_deprecated_rsl_rl_cfg(cfg, check_rsl_rl_version())
    torch.manual_seed(0)
    return create_rsl_rl_runner(env or ToyEnv(), cfg, log_dir=log_dir and str(log_dir))


def alone(student: dict, **algorithm) -> DistillationRunner:
    """Return rsl_rl's runner of the same configuration without Isaac Lab."""
    cfg = runner_cfg(student=student, phase1_iterations=2, learning_rate_schedule="constant", **algorithm)
    torch.manual_seed(0)
    return DistillationRunner(ToyEnv(), cfg | {"max_iterations": ToyCfg().max_iterations}, None, "cpu")


def trained(runner: DistillationRunner) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    runner.learn(4)
    return runner.alg.get_policy().state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("memory", [{}, {**RNN, "rnn_type": "gru"}])
def test_a_run_of_isaac_labs_configuration_gives_the_weights_of_one_without_isaac_lab(memory, teacher):
    def cfg(**changes):
        own = ToyCfg()
        if memory:
            own.student = RslRlRNNModelCfg(**LAYERS, **memory)
        own.algorithm = own.algorithm.replace(teacher_checkpoint=teacher, gradient_length=5, **changes)
        return own

    expected = trained(alone(memory, teacher_checkpoint=teacher, gradient_length=5))
    assert same(trained(hosted(cfg())), expected)
    assert not same(trained(hosted(cfg(phase1_iterations=1))), expected)


def test_isaac_labs_own_classes_need_nothing_but_the_class_name_of_the_algorithm(teacher):
    cfg = RslRlDistillationRunnerCfg(
        num_steps_per_env=10, max_iterations=1500, save_interval=100, experiment_name="toy", device="cpu",
        obs_groups=ToyCfg().obs_groups, student=RslRlMLPModelCfg(**LAYERS), teacher=RslRlMLPModelCfg(**LAYERS),
        algorithm=RslRlDistillationAlgorithmCfg(
            class_name="foundation.distill:DaggerDistillation", num_learning_epochs=4, learning_rate=1e-3,
            gradient_length=5, max_grad_norm=1.0,
        ),
    )  # fmt: skip
    runner, plain = hosted(cfg), alone({}, gradient_length=5)
    plain.alg.options.phase1_iterations = 75  # a twentieth of the run is the default
    plain.alg.set_run_length(1500)
    for one in (runner, plain):
        one.load(teacher)
    assert same(trained(runner), trained(plain))


def test_a_network_of_ours_is_a_network_of_isaac_lab(teacher):
    cfg, memory = ToyCfg(), {**RNN, "rnn_type": "gru"}
    noise = {"class_name": "GaussianDistribution", "init_std": 0.1, "std_type": "scalar"}
    cfg.student = RslRlModelCfg(hidden_dims=[8], distribution_cfg=noise, **memory)
    cfg.algorithm.teacher_checkpoint = teacher
    assert same(trained(hosted(cfg)), trained(alone(memory, teacher_checkpoint=teacher)))


def test_every_option_is_there_with_the_classs_default_and_none_is_missing():
    ours, theirs = vars(DaggerCfg()), vars(DaggerOptions())
    in_rsl_rl = {"class_name", "learning_rate", "optimizer"}
    assert ours.keys() == theirs.keys() | in_rsl_rl
    assert {name for name in theirs if ours[name] != theirs[name]} == {"learning_rate_schedule"}
    assert MISSING not in ours.values()
    cfg = runner_cfg()
    del cfg["algorithm"]["learning_rate"]
    rates = DistillationRunner(ToyEnv(), cfg, None, "cpu").alg.learning_rates
    own = ToyCfg()
    own.algorithm = DaggerCfg()
    own_rates = hosted(own).alg.learning_rates
    assert [own_rates.at(it) for it in (0, 5, 50)] == [rates.at(it) for it in (0, 5, 50)]


def test_the_teacher_by_option_passes_the_guard_that_demands_a_checkpoint_of_rsl_rls_class(tmp_path):
    args = argparse.Namespace(checkpoint=None)
    assert train_rsl_rl._resolve_checkpoint(args, ToyCfg(), str(tmp_path)) is None
    stock = ToyCfg()
    stock.algorithm = RslRlDistillationAlgorithmCfg()
    with pytest.raises(ValueError, match="requires --checkpoint"):
        train_rsl_rl._resolve_checkpoint(args, stock, str(tmp_path))


@pytest.mark.parametrize("optimizer", [True, False])
def test_a_run_continues_from_its_checkpoint_with_the_optimiser_or_without(optimizer, teacher, tmp_path):
    cfg = ToyCfg()
    cfg.algorithm.teacher_checkpoint = teacher
    trained(runner := hosted(cfg, log_dir=tmp_path))
    again = hosted(ToyCfg())  # its teacher comes with the checkpoint
    parts = cli_args_rsl_rl.checkpoint_load_cfg(optimizer, runner_class="DistillationRunner")
    again.load(str(tmp_path / "model_3.pt"), load_cfg=parts, map_location="cpu")
    assert same(again.alg.get_policy().state_dict(), runner.alg.get_policy().state_dict())
    assert bool(again.alg.optimizer.state_dict()["state"]) == optimizer
    assert (again.current_learning_iteration, again.alg.iteration) == (3, 4)
    trained(again)


# Settings of its command line.


def settings(*words: str):
    return resolve_task_config("Student", AGENT, overrides=words)[1]


@pytest.mark.parametrize("through_hydra", [False, True])
@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("phase1_iterations=0.2", 0.2),
        ("max_grad_norm=None", None),
        ("action_weights=(1.0,2.0)", (1.0, 2.0)),
        ("label_clip=(-1.0,0.5)", (-1.0, 0.5)),
        ("label_clip=2.0", 2.0),
        ("use_two_stage_training=false", False),
        ("teacher_checkpoint=logs/rsl_rl/a run/model_1.pt", "logs/rsl_rl/a run/model_1.pt"),
        ("teacher_checkpoint=('a.pt','b.pt')", ("a.pt", "b.pt")),
        ("latent_matching={'student':'mlp.0','teacher':'mlp.0','weight':0.5}",
         {"student": "mlp.0", "teacher": "mlp.0", "weight": 0.5}),
        ("sampling=tests.integrations.test_isaaclab:Sampler", "tests.integrations.test_isaaclab:Sampler"),
    ],
)  # fmt: skip
def test_settings_arrive_as_they_are_written_also_beside_hydras_own(word, value, through_hydra):
    name = word.split("=")[0]
    cfg = settings(f"agent.algorithm.{word}", *(["++agent.num_steps_per_env=7"] if through_hydra else []))
    assert cfg.num_steps_per_env == (7 if through_hydra else 16)
    found = cfg.to_dict()["algorithm"][name]
    # OmegaConf has no tuples; where None was the default, Isaac Lab leaves it at that.
    assert (tuple(found) if isinstance(found, list) else found) == value
    assert not isinstance(found, str) or type(found) is str


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("agent.algorithm.phase1_iteration=3", "DaggerCfg has no option .*did you mean 'phase1_iterations'"),
        ("agent.max_iteration=3", "DistillationCfg has no option .*did you mean 'max_iterations'"),
        ("agent.keep_last=1", "keep_last needs foundation.distill:DaggerRunner, and Isaac Lab takes"),
    ],
)
def test_settings_that_nothing_reads_are_refused_before_a_simulation_starts(word, message):
    with pytest.raises(ValueError, match=message):
        settings(word)


# Registered tasks.


def test_a_registered_task_takes_environment_and_teacher_from_the_teachers_task():
    env, agent = resolve_task_config("Student", AGENT, overrides=())
    assert set(vars(env.observations)) == {"policy", "student"}
    assert (env.observations.student.joint_vel_rel, env.observations.policy.joint_vel_rel is None) == (None, False)
    assert agent.obs_groups == {"student": ["student"], "teacher": ["policy"], "actor": ["student"]}
    assert (agent.student.rnn_type, agent.student.hidden_dims) == ("gru", [32, 32])
    assert (agent.teacher.hidden_dims, agent.teacher.obs_normalization) == ([32, 32], False)
    assert (agent.num_steps_per_env, agent.max_iterations) == (16, 3)
    assert (agent.experiment_name, agent.clip_actions) == ("cartpole_distillation", None)


@pytest.mark.parametrize(
    ("task", "options", "words", "teacher"),
    [
        ("Isaac-Cartpole-Direct", {}, (), {"class_name": "MLPModel", "hidden_dims": [32, 32]}),
        ("Isaac-Cartpole-Camera", {}, ("presets=resnet18",), {"hidden_dims": [256, 128]}),
        ("Isaac-Cartpole-Camera", {}, (), {"class_name": "CNNModel", "hidden_dims": [64]}),
        ("Isaac-Velocity-Flat-AnymalD", {"teacher_agent": "rsl_rl_recurrent_cfg_entry_point"}, (),
         {"class_name": "RNNModel", "rnn_type": "lstm"}),
    ],
)  # fmt: skip
def test_teachers_of_direct_tasks_of_presets_and_of_other_agents_are_described(task, options, words, teacher):
    register_distillation(name := next(NAMES), teacher_task=task, **options)
    agent = resolve_task_config(name, AGENT, overrides=words)[1]
    assert {key: getattr(agent.teacher, key) for key in teacher} == teacher
    assert agent.student.hidden_dims == agent.teacher.hidden_dims


@configclass
class OldStyle(RslRlOnPolicyRunnerCfg):
    """A teacher's run as it was described before rsl_rl 4."""

    num_steps_per_env = 16
    max_iterations = 5
    save_interval = 50
    experiment_name = "old"
    obs_groups = {"actor": ["policy"], "critic": ["policy"]}  # noqa: RUF012
    policy = RslRlPpoActorCriticRecurrentCfg(
        init_noise_std=0.5, actor_obs_normalization=True, critic_obs_normalization=True, activation="elu",
        actor_hidden_dims=[24], critic_hidden_dims=[8], rnn_type="gru", rnn_hidden_dim=12, rnn_num_layers=1,
    )  # fmt: skip
    algorithm = RslRlPpoAlgorithmCfg()


def test_a_teacher_whose_run_is_described_in_the_deprecated_way_is_described_in_todays():
    own = gymnasium.spec(CARTPOLE).kwargs | {AGENT: OldStyle}
    gymnasium.register("Old", entry_point="isaaclab.envs:ManagerBasedRLEnv", kwargs=own)
    register_distillation(name := next(NAMES), teacher_task="Old", learning_rate=1e-4)
    agent = handle_deprecated_rsl_rl_cfg(resolve_task_config(name, AGENT, overrides=())[1], check_rsl_rl_version())
    teacher = agent.to_dict()["teacher"]
    assert {key: teacher[key] for key in ("class_name", "hidden_dims", "rnn_hidden_dim")} == {
        "class_name": "RNNModel", "hidden_dims": [24], "rnn_hidden_dim": 12,
    }  # fmt: skip
    assert (teacher["distribution_cfg"]["init_std"], teacher["obs_normalization"]) == (0.5, True)
    # Whoever sets the rate alone gets just that rate.
    assert (agent.algorithm.learning_rate, agent.algorithm.learning_rate_schedule) == (1e-4, "constant")


WRONG = [
    ({"teacher_task": "Isaac-Cart-pole"}, "did you mean 'Isaac-Cartpole'"),
    ({"teacher_task": "CartPole-v1"}, "teacher_task is no task of Isaac Lab"),
    (
        {"teacher_agent": "rsl_rl_entry_point"},
        "teacher_agent is no configuration of Isaac-Cartpole, .*did you mean",
    ),
    ({"student": "transformer"}, "student must be mlp, gru, lstm or a configuration, got 'transformer'"),
    ({"hidden_terms": HIDDEN, "student_groups": ("policy",)}, "give hidden_terms or student_groups"),
    ({"phase1_iteration": 3}, "no option 'phase1_iteration'; did you mean 'phase1_iterations'"),
    ({"keep_last": 3}, "no option 'keep_last'"),
    ({"teacher_fraction": 0.5}, "teacher_fraction"),
    ({"class_name": "a:B"}, "no option 'class_name'"),
    ({"task_id": "Student"}, "there is already a task 'Student'"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_a_registration_that_cannot_work_is_one_clear_error(wrong, message):
    with pytest.raises(ValueError, match=message) as caught:
        register_distillation(**({"task_id": "Wrong", "teacher_task": CARTPOLE} | wrong))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_terms": ("joint_vel",)}, "hidden_terms has no term of policy, 'joint_vel'; did you mean"),
        ({"hidden_terms": ("joint_pos_rel", *HIDDEN)}, "hidden_terms leave the student nothing to read"),
        ({"student_groups": ("polic",)}, "student_groups has no group of the .*did you mean 'policy'"),
        ({"teacher_task": "Isaac-Cartpole-Direct", "hidden_terms": HIDDEN}, "need a manager-based task"),
        ({"teacher_task": "Student", "hidden_terms": HIDDEN}, "already has an observation group 'student'"),
        ({"teacher_task": "Student"}, "trains no actor; name the task and agent that trained the teacher"),
    ],
)  # fmt: skip
def test_what_only_the_environment_can_tell_is_an_error_where_the_task_is_used(wrong, message):
    register_distillation(name := next(NAMES), **({"teacher_task": CARTPOLE} | wrong))
    with pytest.raises(ValueError, match=message) as caught:
        resolve_task_config(name, AGENT, overrides=())
    assert "\n" not in str(caught.value)


# Its commands, on its own task and its Newton backend.


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> tuple[str, ...]:
    """Settings that need no server of assets, in a folder where Isaac Lab's commands write their logs."""
    folder = tmp_path_factory.mktemp("isaaclab")
    robot = folder / "cartpole.usda"
    robot.write_text(
        '#usda 1.0\n(\n    defaultPrim = "cartpole"\n    metersPerUnit = 1\n    upAxis = "Z"\n)\n'
        f'def "cartpole" (references = @{ASSET}@</cartpole>)\n{{\n}}\n'
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield "agent.device=cpu", "env.scene.ground=None", f"env.scene.robot.spawn.usd_path={robot}"


@pytest.fixture(scope="module")
def cartpole_teacher(scene) -> Path:
    """A checkpoint that Isaac Lab's own training has written."""
    train(TrainingRequest("rsl_rl", CARTPOLE, num_envs=8, max_iterations=1, device="cpu", hydra_args=scene))
    (path,) = Path.cwd().glob("logs/rsl_rl/cartpole/*/model_0.pt")
    return path


@pytest.fixture(scope="module")
def run(scene, cartpole_teacher) -> Path:
    """Folder of a student's run of three iterations."""
    words = (
        *scene,
        f"agent.algorithm.teacher_checkpoint={cartpole_teacher}",
        "agent.algorithm.phase1_iterations=1",
    )
    train(TrainingRequest("rsl_rl", "Student", num_envs=8, device="cpu", hydra_args=words))
    (path,) = Path.cwd().glob("logs/rsl_rl/cartpole_distillation/*/model_2.pt")
    return path.parent


def saved_student(run: Path) -> RNNModel:
    """Return the student of a checkpoint, built without Isaac Lab."""
    obs = TensorDict({"student": torch.zeros(1, 2)}, batch_size=[1])
    noise = {"class_name": "GaussianDistribution", "init_std": 0.1}
    student = RNNModel(
        obs, {"student": ["student"]}, "student", 1, [32, 32], "elu", True, noise,
        rnn_type="gru", rnn_hidden_dim=64, rnn_num_layers=1,
    )  # fmt: skip
    student.load_state_dict(torch.load(run / "model_2.pt", weights_only=True)["student_state_dict"])
    return student.eval()


def test_isaac_labs_training_distils_the_teacher_of_the_option(run, cartpole_teacher):
    saved = torch.load(run / "model_2.pt", weights_only=True)
    teacher = torch.load(cartpole_teacher, weights_only=True)["actor_state_dict"]
    assert all(torch.equal(saved["teacher_state_dict"][key], value) for key, value in teacher.items())
    assert saved["student_state_dict"]["rnn.rnn.weight_ih_l0"].shape[1] == 2
    agent = yaml.unsafe_load((run / "params" / "agent.yaml").read_text())
    assert agent["algorithm"].keys() == {one.name for one in fields(DaggerCfg)}
    assert agent["algorithm"]["phase1_iterations"] == 1


@pytest.fixture(scope="module")
def played(scene, run) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """What the policy of Isaac Lab's player saw, which episodes had begun, and what it did."""
    seen, step_env = [], RslRlVecEnvWrapper.step

    def step(env, actions):
        seen.append((env.get_observations()["student"].clone(), env.episode_length_buf == 0, actions.clone()))
        return step_env(env, actions)

    def some_steps(once, **_):
        with torch.inference_mode():
            for _ in range(30):
                once()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(play_rsl_rl, "run_playback", some_steps)
        patch.setattr(RslRlVecEnvWrapper, "step", step)
        words = (*scene, "env.episode_length_s=0.2")
        play(PlaybackRequest("rsl_rl", "Student", num_envs=3, device="cpu", hydra_args=words))
    return seen


def test_isaac_labs_player_flies_the_newest_student_with_a_memory_of_its_episode_alone(played, run):
    student, forgetful = saved_student(run), saved_student(run)
    assert sum(begun.any() for _, begun, _ in played) >= 3
    differs = False
    with torch.inference_mode():
        for seen, begun, actions in played:
            obs = TensorDict({"student": seen}, batch_size=[3])
            student.reset(begun.long())
            expected = student(obs)
            torch.testing.assert_close(actions, expected, rtol=0, atol=0)
            differs |= not torch.allclose(forgetful(obs), expected)
    assert differs


@pytest.mark.usefixtures("played")
def test_the_files_of_isaac_labs_export_give_the_students_actions(run):
    session = onnxruntime.InferenceSession(str(run / "exported" / "policy.onnx"))
    script = torch.jit.load(str(run / "exported" / "policy.pt"))
    names = [one.name for one in session.get_inputs()]
    student, hidden = saved_student(run), torch.zeros(1, 1, 64).numpy()
    for step in range(5):
        obs = torch.randn(1, 2, generator=torch.Generator().manual_seed(step))
        actions, hidden = session.run(None, dict(zip(names, (obs.numpy(), hidden), strict=True)))
        with torch.no_grad():
            expected = student(TensorDict({"student": obs}, batch_size=[1]))
            torch.testing.assert_close(script(obs), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.from_numpy(actions), expected, rtol=1e-4, atol=1e-5)


PLUG_IN = next(
    block
    for block in re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "INTEGRATIONS.md").read_text(), re.S | re.M)
    if "integrations.isaaclab" in block
)
"""The page's module of a user's package, named by an entry point."""


def command(*words: str) -> subprocess.CompletedProcess[str]:
    """Run Isaac Lab's command beside a package that registers a task."""
    package = Path.cwd() / "package"
    info = package / "mine-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (package / "mine.py").write_text(PLUG_IN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[isaaclab.tasks]\nmine = mine\n")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(package), str(ROOT)])}
    words = (sys.executable, "-m", "isaaclab", *words)
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=500)


def test_the_command_trains_a_task_of_an_entry_point_with_our_options_as_settings(scene, cartpole_teacher):
    words = "train --task Cartpole-Student --num_envs 8 --device cpu --max_iterations 3 --experiment_name mine"
    words += " agent.algorithm.phase1_iterations=0.5 agent.algorithm.max_buffer_size=5000"
    done = command(*words.split(), *scene, f"agent.algorithm.teacher_checkpoint={cartpole_teacher}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Distillation/buffer_size: 384.0000" in done.stdout
    phases = re.findall(r"training_phase: (\d)", done.stdout)
    assert phases == ["1", "1", "2"]
    (folder,) = Path.cwd().glob("logs/rsl_rl/mine/*")
    assert "max_buffer_size: 5000\n" in (folder / "params" / "agent.yaml").read_text()
    assert {path.name for path in folder.glob("*.pt")} == {"model_0.pt", "model_2.pt"}


def test_leapp_exports_the_student_without_what_it_does_not_read(scene, run):
    pytest.importorskip("leapp")
    task = "Cartpole-Student"
    words = f"export --rl_library rsl_rl --task {task} --device cpu --disable_graph_visualization".split()
    done = command("leapp", *words, "--checkpoint", str(run / "model_2.pt"), *scene)
    assert done.returncode == 0, done.stdout + done.stderr
    graph = yaml.safe_load((run / task / f"{task}.yaml").read_text())["models"][task]
    assert {one["name"] for one in graph["inputs"]} == {"robot_joint_pos", "actor_state_in"}
