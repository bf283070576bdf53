"""Target 8: a run on an NVIDIA GPU. Says so and ends where there is none.

With 4096 and 65 536 environments: that an iteration lets the host wait for the GPU only when it ends, as torch
checks it; environment steps per second with the policies in the loop, launched one by one and as one CUDA graph.
A pass over a full history on the GPU as a share of the rate of large matrix products. The seconds to a student
with 95 % of its teacher's return. The simulator by itself: ``python benchmarks/simulator.py --device cuda``.

Run: python benchmarks/gpu.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from unittest import mock

import torch
from report import Target, record
from rollout import check, our_rollout, pair
from time_to_student import SHARE, teacher_return, time_to
from update import FULL, PASS, filled, gradient_steps

from foundation.distill.rollout.collector import Collector

DEVICE = "cuda:0"


def synchronises_once(runner, collector: Collector) -> bool:
    """Return whether an iteration synchronises with the GPU only at its end."""
    read = runner.alg.scalars.read

    def read_at_the_end(**scalars) -> dict:
        torch.cuda.set_sync_debug_mode("default")
        return read(**scalars)

    obs = runner.env.get_observations()
    torch.cuda.set_sync_debug_mode("error")
    try:
        with mock.patch.object(runner.alg.scalars, "read", read_at_the_end):
            collector.collect(obs)
            runner.alg.update()
    except RuntimeError as error:
        print(error)
        return False
    finally:
        torch.cuda.set_sync_debug_mode("default")
    runner.logger.count_deferred_episodes()
    runner.logger.ep_extras.clear()
    return True


def collect(num_envs: int, cuda_graph: bool) -> tuple[float, bool]:
    """Return environment steps per second, and whether iterations synchronised only at their ends."""
    with tempfile.TemporaryDirectory() as log_dir:
        stock, ours, collector = pair("feed-forward", num_envs, DEVICE, log_dir, cuda_graph)
        check(stock, ours, collector)
        del stock
        for _ in range(3):  # records the graph and fills the history
            our_rollout(ours, collector)
            ours.alg.update()
        free = synchronises_once(ours, collector)
        seconds = []
        for _ in range(5):
            torch.cuda.synchronize()
            start = time.perf_counter()
            our_rollout(ours, collector)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
            ours.alg.storage.clear()
    return num_envs * ours.cfg["num_steps_per_env"] / statistics.median(seconds), free


def matrix_rate() -> float:
    """Return operations per second of large matrix products in float32."""
    a, b = (torch.randn(8192, 8192, device=DEVICE) for _ in range(2))
    for _ in range(3):
        a @ b
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(10):
        a @ b
    torch.cuda.synchronize()
    return 10 * 2 * 8192**3 / (time.perf_counter() - start)


def whole_pass() -> tuple[float, float]:
    """Return transitions per second of a pass over a full history, and its share of the matrix rate."""
    mini_batch = "agent.algorithm.mini_batch_size=65536"
    alg = filled(
        "feed-forward", [*PASS, mini_batch, "agent.algorithm.max_updates_per_iteration=null"], FULL, DEVICE
    )
    gradient_steps(alg)
    start = time.perf_counter()
    rate = gradient_steps(alg) / (time.perf_counter() - start)
    weights = [layer.weight.numel() for layer in alg.student_model.mlp if isinstance(layer, torch.nn.Linear)]
    # A product forward, one for the weights' gradients and one for the inputs' but the first's, of two operations
    # a weight each.
    return rate, (6 * sum(weights) - 2 * weights[0]) * rate / matrix_rate()


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if not torch.cuda.is_available():
        print("skipped: no NVIDIA GPU")
        return
    targets = []
    for num_envs in (4096, 65536):
        (stepwise, free), (rate, free_too) = (collect(num_envs, cuda_graph) for cuda_graph in (False, True))
        targets += [
            Target(
                f"8 iteration with a single wait, {num_envs} environments",
                ">= 1",
                float(free and free_too),
                f"{stepwise / 1e6:.2f} M steps/s with the policies",
            ),
            Target(
                f"8 rollout as a CUDA graph against launches one by one, {num_envs} environments",
                ">= 1",
                rate / stepwise,
                f"{rate / 1e6:.2f} against {stepwise / 1e6:.2f} M steps/s with the policies",
            ),
        ]
    rate, share = whole_pass()
    targets.append(
        Target("8 whole pass, share of the matrix rate", ">= 0", share, f"{rate / 1e6:.1f} M transitions/s")
    )
    run = time_to(SHARE * teacher_return(DEVICE), "ours", [], 0, 4096, DEVICE)
    text = f"{run['wall']:.2f} s, {run['iterations']} iterations"
    targets.append(Target("8 seconds to a flying student, 4096 environments", ">= 0", run["wall"], text))
    record("gpu", targets)


if __name__ == "__main__":
    main()
