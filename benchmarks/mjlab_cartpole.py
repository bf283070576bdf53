"""mjlab's cartpole swing-up with hidden velocities: DAgger against Distillation in equal environment steps.

``make bench-mjlab`` trains three seeds of each, writes ``benchmarks/results/mjlab_cartpole.json`` and the table in
``docs/INTEGRATIONS.md``; about half an hour. The teacher is the one of ``tests/integrations``.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import torch
from equal_steps import Choice, compare, stock_algorithm, table
from report import RESULTS, ROOT, write_blocks

RESULT = RESULTS / "mjlab_cartpole.json"
TEACHER = ROOT / "tests" / "integrations" / "assets" / "mjlab_cartpole_teacher.pt"
TASK, NUM_ENVS, STEPS, EPISODE_S = "Cartpole-Swingup-Student", 64, 32, 10.0
ITERATIONS = 100


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

    def make_runner(seed: int, choice: Choice | None) -> Any:
        env.seed(seed)
        env.reset()
        return make_ours(env, seed) if choice is None else make_stock(env, seed, choice)

    results = compare(make_runner, lambda policy: mean_return(policy, env), ITERATIONS)
    results["environment_steps"] = ITERATIONS * NUM_ENVS * STEPS
    RESULT.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    write_blocks(ROOT / "docs" / "INTEGRATIONS.md", {"students of cartpole": table(results)})


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


def make_stock(env: Any, seed: int, choice: Choice) -> Any:
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
    cfg["algorithm"] = stock_algorithm(choice)
    torch.manual_seed(seed)
    runner = DistillationRunner(env, cfg, None, "cpu")
    runner.load(str(TEACHER))
    return runner


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


if __name__ == "__main__":
    main()
