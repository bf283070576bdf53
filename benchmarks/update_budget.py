"""How many gradient steps an iteration of DAgger needs: the measurement behind the task's default.

Every setting distils the packaged teacher with the same seeds, in one process, and is then flown on the same
episodes. "stock" is rsl_rl's own Distillation. Before anything is timed, both switches off are checked to give
the weights of rsl_rl's Distillation bit for bit.

Run: python benchmarks/update_budget.py [--iterations 40] [--seeds 2] [--json FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import tempfile
import time
from pathlib import Path

import torch
from rsl_rl.runners import DistillationRunner

from foundation.evaluation.flights import FlightMetrics, fly
from foundation.rsl_rl.cli import packaged_teacher
from foundation.tasks import create_env, load_task
from foundation.tasks.config import compose

BUDGETS = {
    "stock": ["agent.algorithm.class_name=Distillation", "agent.algorithm.num_learning_epochs=1"],
    "5": ["agent.algorithm.max_updates_per_iteration=5"],
    "10": ["agent.algorithm.max_updates_per_iteration=10"],
    "25": ["agent.algorithm.max_updates_per_iteration=25"],
    "50": ["agent.algorithm.max_updates_per_iteration=50"],
    "100": ["agent.algorithm.max_updates_per_iteration=100"],
    "4 passes": ["agent.algorithm.max_updates_per_iteration=null"],
}
OWN_OPTIONS = (
    "use_two_stage_training",
    "phase1_iterations",
    "use_dagger",
    "max_buffer_size",
    "num_mini_batches",
    "mini_batch_size",
    "max_updates_per_iteration",
    "teacher_checkpoint",
)


def train(overrides: list[str], iterations: int, seed: int, log_dir: str) -> tuple[DistillationRunner, float]:
    """Return a trained runner of rsl_rl's own class, and the seconds that learning took."""
    env_cfg, agent_cfg = compose(load_task("distillation"), overrides)
    cfg = agent_cfg.to_dict()
    cfg["algorithm"]["teacher_checkpoint"] = str(packaged_teacher())
    if cfg["algorithm"]["class_name"] == "Distillation":
        for name in OWN_OPTIONS:
            del cfg["algorithm"][name]
    torch.manual_seed(seed)
    env = create_env("distillation", env_cfg, "cpu", seed)
    with contextlib.redirect_stdout(io.StringIO()):
        runner = DistillationRunner(env, cfg, log_dir, "cpu")
        runner.load(str(packaged_teacher()))
        start = time.perf_counter()
        runner.learn(iterations, init_at_random_ep_len=True)
    return runner, time.perf_counter() - start


def check_both_off_is_stock(log_dir: str) -> None:
    """Assert that our algorithm with both switches off trains as rsl_rl's does."""
    off = ["agent.algorithm.use_dagger=false", "agent.algorithm.use_two_stage_training=false"]
    epochs = ["agent.algorithm.num_learning_epochs=1"]
    ours, _ = train(off + epochs, 2, 0, log_dir)
    stock, _ = train(BUDGETS["stock"], 2, 0, log_dir)
    for name, value in stock.alg.student.state_dict().items():
        assert torch.equal(ours.alg.student.state_dict()[name], value), name


def flown(policy, seed: int = 1000, num_envs: int = 512) -> FlightMetrics:
    env_cfg, _ = compose(load_task("distillation"), flags={"env.num_envs": num_envs})
    return fly(create_env("distillation", env_cfg, "cpu", seed), policy)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--iterations", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows, teacher_return = [], None
    with tempfile.TemporaryDirectory() as log_dir:
        check_both_off_is_stock(log_dir)
        print(f"{args.iterations} iterations of 100 x 100 steps, a quarter of them driven by the teacher")
        print("  updates  share of return  worst seed  RMSE [m]  seconds  x stock")
        for name, overrides in BUDGETS.items():
            shares, errors, seconds = [], [], []
            for seed in range(args.seeds):
                phase1 = [f"agent.algorithm.phase1_iterations={args.iterations // 4}"]
                runner, elapsed = train(overrides + phase1, args.iterations, seed, log_dir)
                runner.alg.eval_mode()
                if teacher_return is None:
                    teacher_return = flown(runner.alg.teacher).mean_return
                metrics = flown(runner.alg.student)
                shares.append(metrics.mean_return / teacher_return)
                errors.append(metrics.position_rmse_m)
                seconds.append(elapsed)
            row = {
                "updates": name,
                "share_of_return": sum(shares) / len(shares),
                "worst_share": min(shares),
                "position_rmse_m": sum(errors) / len(errors),
                "seconds": sum(seconds) / len(seconds),
            }
            rows.append(row)
            print(
                f"{name:>9}  {row['share_of_return']:>15.2%}  {row['worst_share']:>10.2%}  "
                f"{row['position_rmse_m']:>8.4f}  {row['seconds']:>7.1f}  "
                f"{row['seconds'] / rows[0]['seconds']:>7.2f}",
                flush=True,
            )
    if args.json is not None:
        args.json.write_text(json.dumps({"iterations": args.iterations, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
