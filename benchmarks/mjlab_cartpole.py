"""mjlab's cartpole swing-up with hidden velocities: DAgger against Distillation in equal environment steps.

``make bench-mjlab`` trains three seeds of each, prints a table and writes
``benchmarks/results/mjlab_cartpole.json``; about half an hour. The teacher is the one of ``tests/integrations``.
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "mjlab_cartpole.json"
TEACHER = ROOT / "tests" / "integrations" / "assets" / "mjlab_cartpole_teacher.pt"
TASK, NUM_ENVS, STEPS, EPISODE_S = "Cartpole-Swingup-Student", 64, 32, 10.0
ITERATIONS, SEEDS = 100, (0, 1, 2)
STOCK_GRID = [(8, 2, 1e-3), (8, 2, 3e-3), (32, 8, 1e-3), (32, 8, 3e-3)]
"""Gradient length, epochs and learning rate that rsl_rl's Distillation is tuned over, on the first seed."""


def main() -> None:
    from foundation.integrations.mjlab import register_distillation

    register_distillation(
        TASK,
        teacher_task="Mjlab-Cartpole-Swingup",
        student="gru",
        hidden_terms=("cart_vel", "pole_vel"),
        teacher_checkpoint=str(TEACHER),
        max_iterations=ITERATIONS,
    )
    env = make_env()
    runner = make_ours(env, 0)
    results: dict[str, Any] = {
        "teacher": mean_return(runner.alg.teacher, env),
        "environment_steps": ITERATIONS * NUM_ENVS * STEPS,
        "tuning": [],
    }
    print(f"teacher {results['teacher']:.3f}", flush=True)
    for choice in STOCK_GRID:
        results["tuning"].append([*choice, train("stock", env, 0, choice)["return"]])
    best = max(results["tuning"], key=lambda row: row[-1])[:-1]
    results["ours"] = [train("ours", env, seed, None) for seed in SEEDS]
    results["stock"] = [train("stock", env, seed, tuple(best)) for seed in SEEDS]
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


def make_env() -> Any:
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.rl import RslRlVecEnvWrapper
    from mjlab.tasks.registry import load_env_cfg

    cfg = load_env_cfg(TASK)
    cfg.scene.num_envs, cfg.seed, cfg.episode_length_s = NUM_ENVS, 0, EPISODE_S
    return RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg, device="cpu"))


def make_ours(env: Any, seed: int) -> Any:
    from mjlab.tasks.registry import load_rl_cfg, load_runner_cls

    torch.manual_seed(seed)
    return load_runner_cls(TASK)(env, asdict(load_rl_cfg(TASK)) | {"logger": "tensorboard"}, None, "cpu")


def make_stock(env: Any, seed: int, choice: tuple[int, int, float]) -> Any:
    """Return rsl_rl's own runner and algorithm with the same networks."""
    from mjlab.tasks.registry import load_rl_cfg
    from rsl_rl.runners import DistillationRunner

    from foundation.distill.checkpoint.run_network import model_kwargs

    cfg = asdict(load_rl_cfg(TASK)) | {"logger": "tensorboard", "class_name": "DistillationRunner"}
    for name in ("student", "teacher"):
        cfg[name] = model_kwargs(cfg[name])
    # rsl_rl's own loading needs every weight of the file, its noise included.
    cfg["teacher"]["distribution_cfg"] = {
        "class_name": "GaussianDistribution",
        "init_std": 1.0,
        "std_type": "scalar",
    }
    gradient_length, epochs, learning_rate = choice
    cfg["algorithm"] = {
        "class_name": "Distillation",
        "gradient_length": gradient_length,
        "num_learning_epochs": epochs,
        "learning_rate": learning_rate,
        "rnd_cfg": None,
    }
    torch.manual_seed(seed)
    runner = DistillationRunner(env, cfg, None, "cpu")
    runner.load(str(TEACHER))
    return runner


def train(side: str, env: Any, seed: int, choice: tuple[int, int, float] | None) -> dict[str, float]:
    env.seed(seed)
    env.reset()
    runner = make_ours(env, seed) if choice is None else make_stock(env, seed, choice)
    start, cpu = time.perf_counter(), time.process_time()
    runner.learn(ITERATIONS, init_at_random_ep_len=True)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    runner.alg.eval_mode()
    result = {"return": mean_return(runner.alg.get_policy(), env), "seconds": seconds, "cpu_seconds": cpu}
    print(side, seed, choice, {name: round(value, 3) for name, value in result.items()}, flush=True)
    return result


@torch.no_grad()
def mean_return(policy: Any, env: Any) -> float:
    """Return the mean return of an episode of every environment, by mean actions; none ends before its time."""
    env.seed(1000)
    obs, _ = env.reset()
    policy.eval()
    policy.reset()
    total = torch.zeros(NUM_ENVS)
    for _ in range(int(env.max_episode_length)):
        obs, reward, dones, _ = env.step(policy(obs))
        total += reward
    assert bool(dones.all())
    return float(total.mean())


def table(results: dict[str, Any]) -> str:
    """Return the table in Markdown."""
    lines = ["| | return | of the teacher's | time |", "| --- | --- | --- | --- |"]
    lines.append(f"| teacher, PPO, sees velocities | {results['teacher']:.2f} | | |")
    for side, name in (("ours", "DAgger, defaults"), ("stock", "rsl_rl's Distillation, tuned")):
        runs = results[side]
        returns = [run["return"] for run in runs]
        shares = ", ".join(f"{100 * value / results['teacher']:.1f}" for value in returns)
        seconds = statistics.mean(run["seconds"] for run in runs)
        lines.append(f"| {name} | {statistics.mean(returns):.2f} | {shares} % | {seconds / 60:.1f} min |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
