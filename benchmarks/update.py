"""Target 3: an update costs the same however long the history is, and comes close to the limit of computing.

The limit is the same network, loss and optimiser trained on one resident mini-batch of 2048 transitions in a tight
loop of plain torch. Checked first: a gradient step on a mini-batch of the history changes the weights as that loop
does on the same transitions, and the full history holds a million.

Run: python benchmarks/update.py [--device cuda]
"""

from __future__ import annotations

import argparse
import copy
import time

import torch
from report import Target, in_turn, medians, record
from setups import STUDENTS, make_runner
from torch import nn

SMALL, FULL = 20_000, 1_000_000
PASS = ["agent.algorithm.mini_batch_size=2048", "agent.algorithm.num_learning_epochs=1"]


def filled(student: str, overrides: list[str], transitions: int, device: str, side: str = "ours"):
    """Return an algorithm whose history holds numbered random rollouts."""
    alg = make_runner(side, [*STUDENTS[student], *overrides], device=device).alg
    for _ in range(transitions // alg.rollout_size):
        for step in range(alg.storage.num_transitions_per_env):
            alg.dataset.layout.before_step(step)
        alg.storage.observations["student"].normal_()
        alg.storage.privileged_actions.normal_()
        alg.storage.dones.bernoulli_(0.002)
        alg.dataset.append(alg.phases)
    assert 0.95 * transitions < alg.history.num_transitions() <= transitions
    return alg


def gradient_steps(alg) -> int:
    """Do the gradient steps of an iteration; return the number of transitions trained on."""
    samples = 0

    def counted():
        nonlocal samples
        for batch in alg.dataset.mini_batches():
            samples += batch["dones"].numel()
            yield batch

    alg.imitation.train(counted())
    synchronize(alg)
    return samples


def synchronize(alg) -> None:
    if torch.device(alg.device).type == "cuda":
        torch.cuda.synchronize()


class TightLoop:
    """The network in plain torch on one resident mini-batch."""

    def __init__(self, alg, batch) -> None:
        student = copy.deepcopy(alg.student_model)
        self.parameters = list(student.parameters())
        self.optimizer = torch.optim.Adam(self.parameters, lr=alg.learning_rate, fused=True)
        self.target = batch["teacher_actions"].clone()
        obs = batch["obs/student"].clone()
        if student.is_recurrent:
            # Sequences first, without resets: all the recurrent network has to compute.
            obs, self.target = obs.transpose(0, 1).contiguous(), self.target.transpose(0, 1).contiguous()
            hidden = batch["hidden/0"].transpose(0, 1).contiguous()
            self.forward = lambda: student.mlp(student.rnn.rnn(student.obs_normalizer(obs), hidden)[0])
        else:
            self.forward = lambda: student.mlp(student.obs_normalizer(obs))
        self.samples = batch["dones"].numel()

    def step(self) -> None:
        loss = nn.functional.mse_loss(self.forward(), self.target)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()


def check_same_step(alg) -> None:
    """Assert that a gradient step on the history is the tight loop's on the same transitions."""
    batch = next(iter(alg.dataset.mini_batches()))
    if "dones" in batch.keys() and batch["dones"].ndim == 2:  # noqa: SIM118 - iterating a TensorDict yields rows
        batch["dones"][:] = False
        batch["trained"][:] = True
    loop = TightLoop(alg, batch)
    loop.step()
    alg.imitation.train([batch])
    for ours, theirs in zip(alg.student_model.parameters(), loop.parameters, strict=True):
        # Both hold the gradients of that step, clipped.
        assert (ours.grad is None) == (theirs.grad is None)
        if ours.grad is not None:
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-6)


def flatness(student: str, device: str, side: str = "ours") -> tuple[Target, dict]:
    small, full = (filled(student, [], size, device, side) for size in (SMALL, FULL))
    for alg in (small, full):
        gradient_steps(alg)
    seconds = medians(in_turn({"small": lambda: gradient_steps(small), "full": lambda: gradient_steps(full)}, 15))
    text = f"{seconds['full'] * 1e3:.0f} ms at 1 000 000, {seconds['small'] * 1e3:.0f} ms at 20 000 transitions"
    ratio = seconds["full"] / seconds["small"]
    name = f"3 update at a full history, {student}" + (", class defaults" if side == "class" else "")
    return Target(name, "<= 1.1", ratio, text), seconds


def flatness_of_class_defaults(student: str, device: str) -> tuple[Target, dict]:
    return flatness(student, device, "class")


def whole_pass(student: str, device: str) -> tuple[Target, dict]:
    without_bound = [*PASS, "agent.algorithm.max_updates_per_iteration=null"]
    check_same_step(filled(student, without_bound, SMALL, device))
    alg = filled(student, without_bound, FULL, device)
    loop = TightLoop(alg, next(iter(alg.dataset.mini_batches())))
    rates: dict[str, list[float]] = {"pass": [], "tight": []}
    for _ in range(3):
        start = time.perf_counter()
        samples = gradient_steps(alg)
        rates["pass"].append(samples / (time.perf_counter() - start))
        start = time.perf_counter()
        for _ in range(200):
            loop.step()
        synchronize(alg)
        rates["tight"].append(200 * loop.samples / (time.perf_counter() - start))
    median = {name: sorted(values)[1] for name, values in rates.items()}
    text = f"{median['pass'] / 1e3:.0f} k against {median['tight'] / 1e3:.0f} k transitions/s"
    return Target(f"3 whole pass, {student}", ">= 0.7", median["pass"] / median["tight"], text), median


_MEASURES = {"flatness": flatness, "flatness, class defaults": flatness_of_class_defaults, "pass": whole_pass}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    targets, details = [], {}
    for student in STUDENTS:
        for name, measure in _MEASURES.items():
            target, figures = measure(student, args.device)
            targets.append(target)
            details[f"{student}, {name}"] = figures
    record("update", targets, details)


if __name__ == "__main__":
    main()
