"""Checksums of everything that training computes, to prove that a change of the code changed no result.

    python -m tests.golden.record           compare with the checksums that are kept (``make golden``)
    python -m tests.golden.record --write   keep those of the present code

A case trains a student for a few iterations and sums up the checkpoint (models, optimiser, progress), the training
state (random generators, history's bookkeeping, hidden states, environment), the history's rows, the metrics and
the console. Checksums hold on one kind of machine; the students' weights beside them hold, up to rounding, on all.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import random
import re
import struct
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch

import foundation
from foundation.distill import DaggerRunner, PpoRunner
from tests.golden.cases import ITERATIONS, STUDENTS, cases
from tests.support.run_state import NoisyEnv
from tests.support.toy import ImageEnv, ppo_cfg, runner_cfg, teacher_checkpoint

HERE = Path(__file__).parent
CHECKSUMS = HERE / "checksums.json"
WEIGHTS = HERE / "weights.pt"
# What differs from run to run: measured times, and where files lie.
_TIMES = re.compile(
    r"(Steps per second|Computation|Collection time|Learning time|Iteration time|Time elapsed|ETA|Total time|"
    r"Storing git diff)[^\n]*"
)
_UNEQUAL = ("tot_time",)


class TaughtEnv(NoisyEnv):
    """Also tells which of two teachers labels each environment."""

    def get_observations(self):
        obs = super().get_observations()
        obs["teacher_id"] = (torch.arange(self.num_envs) % 2)[:, None]
        return obs


class PixelEnv(ImageEnv):
    """An image environment that can be set back, as resuming needs it."""

    def state_dict(self):
        return {"column": self.column.clone(), "length": self.episode_length_buf.clone()}

    def load_state_dict(self, state):
        self.column, self.episode_length_buf = state["column"].clone(), state["length"].clone()


def digest(value: Any) -> str:
    """Return a checksum of nested containers of tensors and plain values."""
    sha = hashlib.sha256()
    _feed(sha, value)
    return sha.hexdigest()[:16]


def _feed(sha: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        sha.update(f"{value.dtype}{tuple(value.shape)}".encode())
        sha.update(value.detach().cpu().numpy().tobytes())
    elif isinstance(value, np.ndarray):
        _feed(sha, torch.from_numpy(np.ascontiguousarray(value)))
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            if key not in _UNEQUAL:
                sha.update(str(key).encode())
                _feed(sha, value[key])
    elif isinstance(value, (list, tuple)):
        sha.update(f"[{len(value)}".encode())
        for item in value:
            _feed(sha, item)
    elif isinstance(value, float):
        sha.update(struct.pack("<d", value))
    else:
        sha.update(repr(value).encode())


def metrics_of(run_dir: Path) -> dict[str, list]:
    """Return the logged scalars by name, without those that measure time."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events = EventAccumulator(str(run_dir), size_guidance={SCALARS: 0})
    events.Reload()
    names = [name for name in events.Tags()["scalars"] if not name.startswith("Perf/") and "/time" not in name]
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in names}


def seed() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    random.seed(0)


def make_runner(student: str, options: dict[str, Any], run_dir: str | None, **runner: Any) -> DaggerRunner:
    """Return a case's runner, in a working directory with the teachers' files."""
    several = isinstance(options.get("teacher_checkpoint"), list)
    settings: dict[str, Any] = {
        "phase1_iterations": 2,
        "max_buffer_size": 150,
        "mini_batch_size": 16,
        "max_updates_per_iteration": 5,
        "gradient_length": 4,
        "teacher_checkpoint": "teacher_0.pt",
    }
    if student == "cnn":
        settings |= {"max_buffer_size": 800, "teacher_checkpoint": "pixel_teacher.pt"}
    seed()
    cfg = runner_cfg(student=STUDENTS[student], **(settings | options)) | runner
    if student == "cnn":
        cfg["obs_groups"]["student"] = ["camera"]
    env = PixelEnv() if student == "cnn" else TaughtEnv() if several else NoisyEnv()
    return DaggerRunner(env, cfg, run_dir, "cpu")


def write_teachers() -> None:
    for number in range(2):
        torch.save(teacher_checkpoint(seed=7 + number), f"teacher_{number}.pt")
    torch.manual_seed(3)
    runner = PpoRunner(PixelEnv(), ppo_cfg(4), None)
    torch.save(runner.alg.save() | {"iter": 0, "infos": None}, "pixel_teacher.pt")


def sums_of(runner: Any, run_dir: str, console: str) -> dict[str, str]:
    last = ITERATIONS - 1
    read = {"map_location": "cpu", "weights_only": True}
    parts = {
        "checkpoint": torch.load(f"{run_dir}/model_{last}.pt", **read),
        "state": torch.load(f"{run_dir}/resume/state_{last}.pt", **read),
        "metrics": metrics_of(Path(run_dir)),
        "console": _TIMES.sub("", console),
    }
    history = getattr(runner.alg, "history", None)
    if history is not None:
        parts["history"] = dict(history[:].items())
    return {name: digest(part) for name, part in parts.items()}


def train(name: str, student: str, options: dict[str, Any]) -> dict[str, str]:
    """Return a case's checksums."""
    run_dir = "run_" + re.sub(r"\W+", "_", name)
    with contextlib.redirect_stdout(io.StringIO()) as console:
        runner = make_runner(student, options, run_dir)
        runner.learn(ITERATIONS)
    return sums_of(runner, run_dir, console.getvalue())


def train_reseeded(student: str, options: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the student's weights in a run in which the order of the draws within a rollout does not matter.

    While the teacher acts, the student's noise may be drawn step by step or for the whole rollout at once. It
    trains nobody, but what is drawn later depends on it, unless torch's generator is seeded after every rollout.
    """
    with contextlib.redirect_stdout(io.StringIO()):
        runner = make_runner(student, options, None)
        update = runner.alg.update

        def reseeded() -> dict[str, float]:
            torch.manual_seed(runner.alg.num_updates)
            losses = update()
            torch.manual_seed(1000 + runner.alg.num_updates)
            return losses

        runner.alg.update = reseeded  # pyright: ignore
        runner.learn(ITERATIONS)
    return runner.alg.student.state_dict()


def train_teacher() -> dict[str, str]:
    """Return the checksums of a PPO run."""
    seed()
    with contextlib.redirect_stdout(io.StringIO()) as console:
        runner = PpoRunner(NoisyEnv(), ppo_cfg(12) | {"save_interval": 1}, "run_ppo")
        runner.learn(ITERATIONS)
    return sums_of(runner, "run_ppo", console.getvalue())


def fly(task: str, family: str) -> dict[str, str]:
    """Return the checksums of some flights of random actions."""
    overrides = [f"env.randomization.family={family}", "env.randomization.num_vehicles=64", "env.episode_steps=40"]
    env = foundation.make_env(task, num_envs=37, seed=3, overrides=overrides)
    generator = torch.Generator().manual_seed(5)
    steps = [env.step(0.5 * torch.randn(37, 4, generator=generator)) for _ in range(100)]
    trace = [[dict(obs.items()), rewards, dones, extras["time_outs"], dict(extras["log"])] for
             obs, rewards, dones, extras in steps]  # fmt: skip
    return {"steps": digest(trace), "state": digest(env.state_dict()), "episodes": digest(env.last_episode())}


def checksums() -> dict[str, dict[str, str]]:
    """Return the checksums of every case, in a working directory of their own."""
    with working_directory():
        sums = {name: train(name, student, options) for name, (student, options) in cases().items()}
        sums["PPO"] = train_teacher()
        for task in ("point_ctrl", "distillation"):
            for family in ("none", "cf2x", "foundation"):
                sums[f"flight: {task}, {family}"] = fly(task, family)
    return sums


@contextlib.contextmanager
def working_directory() -> Iterator[None]:
    """Work in a temporary folder with the teachers' files."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            write_teachers()
        yield


def main() -> int:
    """Record or compare; return 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the present checksums and weights")
    args = parser.parse_args()
    sums = checksums()
    if args.write:
        CHECKSUMS.write_text(json.dumps(sums, indent=1) + "\n")
        with working_directory():
            torch.save({name: train_reseeded(*case) for name, case in cases().items()}, WEIGHTS)
        print(f"kept {sum(map(len, sums.values()))} checksums of {len(sums)} cases")
        return 0
    kept = json.loads(CHECKSUMS.read_text())
    differing = [
        f"{case}: {part}"
        for case in sorted(kept.keys() | sums.keys())
        for part in sorted(kept.get(case, {}).keys() | sums.get(case, {}).keys())
        if kept.get(case, {}).get(part) != sums.get(case, {}).get(part)
    ]
    print("\n".join(f"differs: {line}" for line in differing))
    print(f"{len(differing)} of {sum(map(len, kept.values()))} checksums of {len(kept)} cases differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
