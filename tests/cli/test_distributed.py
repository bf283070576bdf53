"""``foundation train --distributed``: restarts by torchrun, machines that share a folder, wrong launches."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foundation.cli import train
from foundation.distill.checkpoint.manifest import Manifest, newest_intact

ROOT = Path(__file__).parents[2]
TORCHRUN = ["timeout", "150", sys.executable, "-m", "torch.distributed.run"]
SMALL = ["-m", "foundation.rsl_rl.train", "--task", "distillation", "--distributed"]
SMALL += ["--num_envs", "20", "--max_iterations", "6", "agent.num_steps_per_env=20", "agent.save_interval=1"]
SMALL += ["agent.algorithm.phase1_iterations=1"]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def only_run(folder: Path) -> Path:
    (run,) = (folder / "logs" / "rsl_rl" / "distillation").iterdir()
    return run


@pytest.mark.slow
def test_torchrun_restarts_a_killed_run_from_its_last_checkpoint(tmp_path):
    another = tmp_path / "logs" / "rsl_rl" / "distillation" / "9999-01-01_00-00-00"
    another.mkdir(parents=True)
    (another / "torchrun.json").write_text('{"until": 1, "torchrun": "another"}')
    mortal = ["env.expert={}", "agent.obs_groups.teacher=[expert]"]
    mortal += ["agent.teacher.class_name=tests.support.ranks:MortalTeacher"]
    done = subprocess.run(
        [*TORCHRUN, "--standalone", "--nproc_per_node", "2", "--max_restarts", "1", *SMALL, *mortal],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=170,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) <= 1
    assert all("rank 0 of 2 stops: another process of the run has ended" in line for line in errors)
    first, second, _ = sorted((tmp_path / "logs" / "rsl_rl" / "distillation").iterdir())
    assert newest_intact(first)[0] == first / "model_1.pt"
    assert f"[Run] continuing from logs/rsl_rl/distillation/{first.name}/model_1.pt" in done.stdout
    assert newest_intact(second)[0] == second / "model_5.pt"
    assert len(Manifest.read(second / "model_5.manifest.json").of_ranks) == 2
    assert torch.load(second / "model_5.pt", weights_only=True)["iter"] == 5


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--distributed"], {}, "--distributed needs torchrun: torchrun --nproc_per_node 2"),
        ([], {"WORLD_SIZE": "4"}, "torchrun has started 4 processes; add --distributed"),
        (["--distributed", "--dashboard"], {"WORLD_SIZE": "2"}, "--dashboard shows the fleet of one process"),
        (["--distributed", "--task", "point_ctrl"], {"WORLD_SIZE": "2"}, "--distributed is for students"),
    ],
)
def test_a_wrong_launch_is_one_line_before_any_process_waits(words, environment, message, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        train.main(["--task", "distillation", *words])
    error = capsys.readouterr().err
    assert caught.value.code == 2
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def _namespaces_can_be_made() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


@contextlib.contextmanager
def two_networks():
    """Yield two network namespaces with a cable between them: two machines with one file system."""
    names = [f"foundation{os.getpid()}{end}" for end in "ab"]

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "cable0", "netns", names[0], "type", "veth", "peer", "cable1", "netns", names[1])
        for number, name in enumerate(names):
            ip("-n", name, "address", "add", f"10.99.0.{number + 1}/24", "dev", f"cable{number}")
            ip("-n", name, "link", "set", f"cable{number}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(not _namespaces_can_be_made(), reason="network namespaces need root and iproute2")
def test_two_machines_train_one_student_and_save_one_checkpoint(tmp_path):
    with two_networks() as networks:
        nodes = [
            subprocess.Popen(
                ["ip", "netns", "exec", network, *TORCHRUN, "--nnodes", "2", "--node_rank", str(number)]
                + ["--nproc_per_node", "1", "--master_addr", "10.99.0.1", "--master_port", "29511", *SMALL],
                cwd=tmp_path, env=ENVIRONMENT | {"GLOO_SOCKET_IFNAME": f"cable{number}"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )
            for number, network in enumerate(networks)
        ]  # fmt: skip
        outputs = [node.communicate(timeout=300)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], outputs
    manifest = Manifest.read(only_run(tmp_path) / "model_5.manifest.json")
    assert len(manifest.of_ranks) == 2
    manifest.verify(only_run(tmp_path))
