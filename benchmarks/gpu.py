"""Target 8: a run on an NVIDIA GPU. Says so and ends where there is none.

With 4096 and 65 536 environments: that no step of a rollout lets the host wait for the GPU, as torch checks it;
environment steps per second with the policies in the loop; a pass over a full history on the GPU as a share of the
rate of large matrix products; and the seconds to a student with 95 % of its teacher's return. The simulator by
itself: ``python benchmarks/simulator.py --device cuda``.

Run: python benchmarks/gpu.py
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import torch
from report import Target, record
from rollout import check, our_rollout, pair
from time_to_student import SHARE, teacher_return, time_to
from update import FULL, PASS, filled, gradient_steps

DEVICE = "cuda:0"


def collect(num_envs: int) -> tuple[float, bool]:
    """Return environment steps per second, and whether a rollout's steps were free of synchronisations."""
    with tempfile.TemporaryDirectory() as log_dir:
        stock, ours, collector = pair("feed-forward", num_envs, DEVICE, log_dir)
        check(stock, ours, collector)
        del stock
        our_rollout(ours, collector)
        ours.alg.storage.clear()
        finish = collector._finish

        def checked_until_here(*args) -> None:
            torch.cuda.set_sync_debug_mode("default")
            finish(*args)

        collector._finish = checked_until_here
        torch.cuda.set_sync_debug_mode("error")
        try:
            our_rollout(ours, collector)
            free = True
        except RuntimeError as error:
            print(error)
            free = False
        finally:
            torch.cuda.set_sync_debug_mode("default")
        collector._finish = finish
        seconds = []
        for _ in range(5):
            ours.alg.storage.clear()
            torch.cuda.synchronize()
            start = time.perf_counter()
            our_rollout(ours, collector)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
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
    weights = [layer.weight.numel() for layer in alg._raw_student.mlp if isinstance(layer, torch.nn.Linear)]
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
        rate, free = collect(num_envs)
        name = f"8 rollout without synchronisation, {num_envs} environments"
        targets.append(Target(name, ">= 1", float(free), f"{rate / 1e6:.2f} M steps/s with the policies"))
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
