"""Target 2: time per environment step of collecting, rsl_rl's loop against this project's.

Both sides: the packaged teacher, the task's student driving, the same environment; policies, simulator, storage,
checks and statistics included, with a writer, as in a run. Checked first: both sides store the same rollout.

The last lines compare this project's loop with itself without the copy that keeps labels with their states: there,
policies read the environment's tensors, which are stored after the step, as rsl_rl does. Both store the same bits,
as this environment returns new tensors.

Run: python benchmarks/rollout.py [--device cuda] [--sizes 4096 65536] [--copy]
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial

import torch
from report import Target, in_turn, medians, record
from rsl_rl.utils import check_nan
from setups import STUDENTS, make_runner
from tensordict import TensorDict

from foundation.distill.algorithm.step_recorder import StepRecorder
from foundation.distill.rollout.collector import Collector

LIMITS = {100: 2.5, 4096: 1.5}


def stock_rollout(runner) -> None:
    """Collect one rollout as ``OnPolicyRunner.learn`` does."""
    with torch.inference_mode():
        obs = runner.env.get_observations().to(runner.device)
        for _ in range(runner.cfg["num_steps_per_env"]):
            actions = runner.alg.act(obs)
            obs, rewards, dones, extras = runner.env.step(actions.to(runner.env.device))
            check_nan(obs, rewards, dones)
            obs, rewards, dones = obs.to(runner.device), rewards.to(runner.device), dones.to(runner.device)
            runner.alg.process_env_step(obs, rewards, dones, extras)
            runner.logger.process_env_step(rewards, dones, extras)
    runner.logger.ep_extras.clear()


def our_rollout(runner, collector: Collector) -> None:
    collector.collect(runner.env.get_observations())
    runner.logger.count_deferred_episodes()
    runner.logger.ep_extras.clear()


def pair(student: str, num_envs: int, device: str, log_dir: str, cuda_graph: bool = False) -> tuple:
    runners = []
    for side in ("stock", "ours"):
        overrides = [*STUDENTS[student], f"agent.cuda_graph={cuda_graph and side == 'ours'}"]
        runner = make_runner(side, overrides, num_envs, log_dir=log_dir, device=device)
        runner.logger.init_logging_writer()
        runner.alg.train_mode()
        runners.append(runner)
    stock, ours = runners
    return stock, ours, ours.make_collector()


def check(stock, ours, collector: Collector) -> None:
    """Assert that both sides store the same rollout, as long as rounding does not grow."""
    torch.manual_seed(0)
    stock_rollout(stock)
    torch.manual_seed(0)
    our_rollout(ours, collector)
    for name in ("actions", "privileged_actions", "rewards"):
        a, b = (getattr(runner.alg.storage, name)[:20] for runner in (stock, ours))
        # An episode may end a step apart where rounding decides it.
        assert ((a - b).abs() < 1e-3).float().mean() > 0.999, name
    stock.alg.storage.clear()
    ours.alg.storage.clear()


def measure(student: str, num_envs: int, device: str, repeats: int) -> tuple[float, float]:
    """Return microseconds per environment step of both sides."""
    with tempfile.TemporaryDirectory() as log_dir:
        stock, ours, collector = pair(student, num_envs, device, log_dir)
        check(stock, ours, collector)

        def run(runner, rollout) -> None:
            rollout()
            runner.alg.storage.clear()
            if device != "cpu":
                torch.cuda.synchronize()

        sides = {
            "stock": lambda: run(stock, lambda: stock_rollout(stock)),
            "ours": lambda: run(ours, lambda: our_rollout(ours, collector)),
        }
        seconds = medians(in_turn(sides, repeats))
        steps = ours.cfg["num_steps_per_env"]
        return seconds["stock"] / steps * 1e6, seconds["ours"] / steps * 1e6


class AfterTheStep(StepRecorder):
    """Stores observations after the step, and gives the policies those of the environment."""

    def record_observations(self, obs: TensorDict) -> TensorDict:
        self._seen = obs
        return obs

    def finish_step(self, rewards: torch.Tensor, dones: torch.Tensor) -> None:
        super().record_observations(self._seen)
        super().finish_step(rewards, dones)


def cost_of_copy(num_envs: int, device: str, repeats: int) -> tuple[float, float]:
    """Return microseconds per environment step without and with the copy before the step."""
    with tempfile.TemporaryDirectory() as log_dir:
        runner = make_runner("ours", [], num_envs, log_dir=log_dir, device=device)
        runner.logger.init_logging_writer()
        runner.alg.train_mode()
        alg, collector = runner.alg, runner.make_collector()
        models = [alg.student_model, *alg.teachers]
        recorders = {"without": AfterTheStep(alg.storage, models, alg.label_range), "with": alg.recorder}
        state = runner.env.state_dict()

        def run(side: str) -> None:
            alg.recorder = recorders[side]
            our_rollout(runner, collector)
            alg.storage.clear()
            if device != "cpu":
                torch.cuda.synchronize()

        stored = []
        for side in recorders:
            torch.manual_seed(0)
            runner.env.load_state_dict(state)
            run(side)
            names = ("actions", "privileged_actions", "rewards", "dones")
            stored.append([getattr(alg.storage, name).clone() for name in names])
            stored[-1] += [values.clone() for values in alg.storage.observations.values()]
        assert all(torch.equal(first, second) for first, second in zip(*stored, strict=True))
        seconds = medians(in_turn({side: partial(run, side) for side in recorders}, repeats))
        steps = runner.cfg["num_steps_per_env"]
        return seconds["without"] / steps * 1e6, seconds["with"] / steps * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(LIMITS))
    parser.add_argument("--copy", action="store_true", help="measure the copy before the step alone")
    args = parser.parse_args()
    targets, details = [], {}
    for num_envs in args.sizes:
        for student in [] if args.copy else STUDENTS:
            stock, ours = measure(student, num_envs, args.device, repeats=15 if num_envs < 1000 else 5)
            details[f"{student}, {num_envs}"] = {"stock_us": stock, "ours_us": ours, "ratio": stock / ours}
            print(f"{student:12} {num_envs:6}  rsl_rl {stock:8.0f} us, ours {ours:8.0f} us a step", flush=True)
            if student == "feed-forward":
                limit = LIMITS.get(num_envs, 1.5)
                text = f"{ours:.0f} us against {stock:.0f} us a step"
                targets.append(Target(f"2 rollout, {num_envs} environments", f">= {limit:g}", stock / ours, text))
        without, with_copy = cost_of_copy(num_envs, args.device, repeats=41 if num_envs < 1000 else 11)
        details[f"copy before the step, {num_envs}"] = {"without_us": without, "with_us": with_copy}
        name = f"2 copy before the step, {num_envs} environments"
        text = f"{with_copy:.0f} us with it, {without:.0f} us a step without"
        targets.append(Target(name, "<= 1.02", with_copy / without, text))
    record("rollout", targets, details)


if __name__ == "__main__":
    main()
