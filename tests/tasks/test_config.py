"""Settings on their way from the command line and from saved parameters: text stays text, all else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import foundation
from foundation.tasks import load_task
from foundation.tasks.config import compose, preview_agent
from foundation.tasks.saved_params import ConfigError, load_params, read_params, save_params

TASK = load_task("point_ctrl")
PARAMS = Path(foundation.__file__).parent / "tasks" / "point_ctrl" / "assets" / "teacher" / "params"
# YAML folds these three, whatever they are quoted with.
LINE_ENDS = "\x85\u2028\u2029"
TEXT = st.one_of(
    st.text("\\${}a\"'?!#:, \n=-_~&*|>%@`0123.eE+xo\0", max_size=20),
    st.text(st.characters(exclude_characters=LINE_ENDS), max_size=20),
).filter(lambda text: text != "???")  # OmegaConf's mark of a missing value


@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(text=TEXT)
def test_any_text_survives_being_composed_saved_and_composed_again(tmp_path_factory, text):
    run = tmp_path_factory.mktemp("run")
    flags = {"agent.run_name": text, "env.robot.spawn.usd_path": text}
    assert preview_agent(TASK, (), None, flags).run_name == text
    env, agent = compose(TASK, flags=flags)
    assert (agent.run_name, env.robot.spawn.usd_path) == (text, text)
    save_params(run, env, agent)
    params = load_params(run, "agent")
    assert params is not None
    assert params["run_name"] == text
    assert compose(TASK, params_dir=run / "params") == (env, agent)


def test_text_in_a_list_refers_to_nothing_either(monkeypatch):
    monkeypatch.setenv("SECRET", "seen")
    _, agent = compose(TASK, ['agent.obs_groups.actor=["${oc.env:SECRET}"]'])
    assert agent.obs_groups["actor"] == ["${oc.env:SECRET}"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("env.sim.dt=nan", "env.sim.dt must be a number of at most"),
        ("env.sim.dt=1e39", "env.sim.dt must be a number of at most"),
        ("env.sim.dt=1" + "0" * 400, "int too large"),
        (
            "env.sim.substeps=4294967296",
            "env.sim.substeps must be a whole number of at most 31 bits, got one of 33",
        ),
        ("agent.seed=" + "9" * 30, "agent.seed must be a whole number of at most 63 bits"),
        ("env.num_envs=" + "9" * 5000, "Exceeds the limit"),
        ("env.num_envs=" + "[" * 5000, "is not in Hydra's grammar"),
        ("agent.actor.cnn_cfg={a: " + "[" * 150 + "]" * 150 + "}", "recursion"),
        ("agent.actor.hidden_dims=[" + "1," * 6000 + "1]", r"has 12\d+ characters, at most 10000 are read"),
        ('agent.obs_groups="${x}"', "agent.obs_groups must be a group of settings"),
    ],
)
def test_values_out_of_all_bounds_are_refused_with_their_name(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        compose(TASK, [override])
    assert "\n" not in str(caught.value)


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text + LAUGHS, "aliases that stand for more than 100000 values"),
        (lambda text: "a: &a [*a]", "an alias of what it stands in"),
        (lambda text: text + LAUGHS.replace("[", "{<<: [").replace("]", "]}"), "aliases that stand for more than"),
        (lambda text: "- a\n- b", "holds a list, expected settings by name"),
        (lambda text: "", "holds a NoneType, expected settings by name"),
        (lambda text: "[" * 5000, "does not hold saved parameters"),
        (lambda text: "\0", "does not hold saved parameters"),
        (
            lambda text: text.replace("seed: 0", "seed: !!python/name:os.system"),
            "agent: .*'None'|do not fit agent",
        ),
        (lambda text: text.replace("seed: 0", 'seed: !!int ""'), "does not hold saved parameters"),
        (lambda text: text.replace("seed: 0", "seed: 0x" + "f" * 5000), "seed must be a whole number of at most"),
        (lambda text: text.replace("rnd_cfg: null", "rnd_cfg: {a: !!binary aGk=}"), "rnd_cfg.a is a bytes"),
        (lambda text: text.replace("rnd_cfg: null", f"rnd_cfg: {'{a: ' * 100}1{'}' * 100}"), "recursion"),
        (lambda text: text.replace("gamma: 0.99", "gamma: .nan"), "gamma must be a number"),
    ],
)
def test_a_file_of_anything_but_plain_settings_is_refused_in_one_line(tmp_path, change, message):
    for name in ("env", "agent"):
        (tmp_path / f"{name}.yaml").write_text((PARAMS / f"{name}.yaml").read_text())
    path = tmp_path / "agent.yaml"
    path.write_text(change(path.read_text()))
    for read in (lambda: compose(TASK, params_dir=tmp_path), lambda: preview_agent(TASK, (), tmp_path, {})):
        with pytest.raises(ConfigError, match=message) as caught:
            read()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["agent.student.class_name=MLPModel"],
            {"rnn_type": None, "skip_connection": None, "hidden_dims": [128, 128]},
        ),
        (["agent.student.hidden_dims=[32]", "agent.student.class_name=MLPModel"], {"hidden_dims": [32]}),
        (["agent.student.class_name=RNNModel"], {"rnn_type": "gru", "rnn_hidden_dim": 16, "encoder_dims": None}),
        (["agent.student.rnn_hidden_dim=32"], {"rnn_hidden_dim": 32, "skip_connection": True, "hidden_dims": []}),
        (["agent.student={class_name: MLPModel, hidden_dims: [4]}"], {"hidden_dims": [4], "encoder_dims": None}),
    ],
)
def test_settings_of_the_tasks_own_model_class_give_way_to_another_class(overrides, expected):
    student = compose(load_task("foundation"), overrides)[1].student
    assert {name: getattr(student, name) for name in expected} == expected


@pytest.mark.parametrize("setting", ["encoder_dims=[4]", "rnn_type=gru", "skip_connection=true"])
def test_a_setting_that_was_given_for_another_class_is_still_refused(setting):
    for order in (1, -1):
        overrides = [f"agent.student.{setting}", "agent.student.class_name=MLPModel"][::order]
        with pytest.raises(ConfigError, match="has no effect on class_name=MLPModel"):
            compose(load_task("foundation"), overrides)


def test_a_run_from_before_a_setting_existed_keeps_its_expert_and_its_network(tmp_path):
    env, agent = compose(load_task("foundation"), [])
    save_params(tmp_path, env, agent)
    for name, line in (("env", "near_command"), ("agent", "skip_connection")):
        path = tmp_path / "params" / f"{name}.yaml"
        kept = [text for text in path.read_text().splitlines() if not text.strip().startswith(line)]
        path.write_text("\n".join(kept))
    old_env, old_agent = compose(load_task("foundation"), [], params_dir=tmp_path / "params")
    assert (env.expert.near_command, agent.student.skip_connection) == (0.124, True)
    assert (old_env.expert.near_command, old_agent.student.skip_connection) == (1.0, None)


def test_a_run_from_before_other_model_classes_had_settings_keeps_its_network(tmp_path):
    env, agent = compose(load_task("foundation"), ["agent.student.class_name=MLPModel"])
    save_params(tmp_path, env, agent)
    path = tmp_path / "params" / "agent.yaml"
    later = ("rnn_", "cnn_cfg", "encoder_dims", "skip_connection")
    path.write_text(
        "\n".join(text for text in path.read_text().splitlines() if not text.strip().startswith(later))
    )
    _, old_agent = compose(load_task("foundation"), [], params_dir=tmp_path / "params")
    assert old_agent.student == agent.student


def test_a_saved_setting_that_is_written_twice_is_refused_by_its_name(tmp_path):
    (tmp_path / "env.yaml").write_text("sim:\n  dt: 0.01\n  dt: 0.02\n")
    with pytest.raises(ConfigError, match="the key 'dt' twice"):
        read_params(tmp_path / "env.yaml")
